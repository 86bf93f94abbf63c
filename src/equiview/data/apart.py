"""What is trained on must not be tested on: told by content, since a copy has another name and another place.

A mesh is its surface, whatever its file, frame and order of triangles; a folder of rendered views is the mesh it was
drawn from; captures, photos and videos are their pictures.
"""

import hashlib
import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import bad_input
from ..io import read_json
from ..render import open_views
from ..render.surface import same_surface, surface_numbers
from .captures.opening import capture_kind, open_capture
from .captures.photographs import Photographs
from .meshes import open_mesh
from .names import is_made, split_selection
from .open import LONG_SIDE, Kind, source_kind
from .sfm import CaptureConfig
from .sfm.photos import open_photos

_SURFACES = (Kind.MADE, Kind.MESH, Kind.VIEWS)


def check_apart(train: Sequence[str], test: Sequence[str]) -> None:
    """Check that no object and no picture of a capture is both trained on and tested on.

    Raises:
        EquiviewError: Two sources are one object, copied, exported again or rendered; or two selections of one capture,
            or of a copy of it, share pictures.
    """
    surfaces = _Surfaces()
    for one, other in itertools.product(test, train):
        kinds = source_kind(one), source_kind(other)
        if all(kind in _SURFACES for kind in kinds):
            if surfaces.same(one, other):
                fix = "Objects to test on must not be trained on: a copy of one, or views of it, tell nothing new."
                raise bad_input(f"{one} and {other}", "two objects", "one and the same surface", fix)
            continue
        both = 0 if any(kind in _SURFACES for kind in kinds) else _shared(one, other)
        if both:
            fix = "Choose pictures apart, such as @0::2 to train on and @1::2 to test on."
            raise bad_input(f"{one} and {other}", "no picture on both sides", f"{both} shared", fix)


class _Surfaces:
    """The surfaces of sources; each is opened once."""

    def __init__(self) -> None:
        self.numbers = cache(_numbers)

    def same(self, one: str, other: str) -> bool:
        """Say whether two sources show one object."""
        if is_made(one) and is_made(other):  # Their names say it, which no two objects of a run share.
            return False
        drawn = [open_views(one).meta.get("mesh_sha256") for one in (one, other) if source_kind(one) is Kind.VIEWS]
        if len(drawn) == 2 and drawn[0] is not None and drawn[0] == drawn[1]:
            return True
        numbers = self.numbers(one), self.numbers(other)
        return numbers[0] is not None and numbers[1] is not None and same_surface(numbers[0], numbers[1])


def _numbers(source: str) -> Float[np.ndarray, "31"] | None:
    """Return a source's surface; None for views that an earlier version drew, which do not say."""
    if source_kind(source) is not Kind.VIEWS:
        return surface_numbers(open_mesh(source))
    found = open_views(source).meta.get("surface")
    return None if found is None else np.array(found)


def _shared(one: str, other: str) -> int:
    """Return how many pictures two sources share; of photos without poses how many they could."""
    (path, chosen), (other_path, other_chosen) = split_selection(one), split_selection(other)
    if path.resolve() != other_path.resolve():
        if _origin(path) == _origin(other_path):  # Made of the same pictures, which have other names and sizes now.
            return len(open_capture(path if capture_kind(path) else other_path, long_side=LONG_SIDE).images)
        return _same_files(_files(one), _files(other))
    if source_kind(one) is Kind.CAPTURE:
        counts = [len(open_capture(path, long_side=LONG_SIDE).images)]
    else:  # How many will have a camera is not known yet, and selections may count from the end.
        counts = list(range(2, CaptureConfig().max_frames + 1))
    return max(len({*range(count)[chosen]} & {*range(count)[other_chosen]}) for count in counts)


def _origin(path: Path) -> Path:
    """Return what a folder of `equiview capture` was made of, else the path itself."""
    about = path / "capture.json"
    content = read_json(about) if about.is_file() else None
    made_of = content.get("source") if isinstance(content, dict) else None
    return split_selection(made_of)[0].resolve() if isinstance(made_of, str) else path.resolve()


def _files(source: str) -> set[Path]:
    """Return the pictures of a capture, those chosen, or of a folder of photos, all; a video is one file."""
    if source_kind(source) is Kind.CAPTURE:
        images = open_capture(source, long_side=LONG_SIDE).images
        return {one.path.resolve() for one in images.photographs} if isinstance(images, Photographs) else set()
    path = split_selection(source)[0]
    return {file.resolve() for file in open_photos(path).files} if path.is_dir() else {path.resolve()}


def _same_files(ones: set[Path], others: set[Path]) -> int:
    """Return how many files are in both, by what they hold; only files of one size are read."""
    sizes = {file.stat().st_size for file in ones} & {file.stat().st_size for file in others}
    digests = [
        {hashlib.sha256(file.read_bytes()).digest() for file in files if file.stat().st_size in sizes}
        for files in (ones, others)
    ]
    return len(digests[0] & digests[1])
