"""What a source shows: what is tested on is compared with what is trained on, now or through a record that lasts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import bad_input
from ..io import read_json
from ..render import open_views
from ..render.look import Look
from ..schema import as_array, as_list, as_record, as_text
from .captures.opening import capture_kind, open_capture
from .identity import mesh_look, picture_hashes
from .names import source_name, split_selection
from .open import LONG_SIDE, Kind, source_files, source_kind
from .sfm import CaptureConfig

_AGAIN = "Train the adapter again, or get it again."


def check_apart(train: Sequence[str], test: Sequence[str]) -> None:
    """Check that no picture of a capture and no object is both trained on and tested on, by what they show.

    Raises:
        EquiviewError: Two selections of one capture share pictures, perhaps as copies; or two meshes, or views of them,
            are one object under two names.
    """
    for one in test:
        for other in train:
            both = _shared(one, other)
            if both:
                fix = "Choose pictures apart, such as @0::2 to train on and @1::2 to test on."
                raise bad_input(f"{one} and {other}", "no picture on both sides", f"{both} shared", fix)
            if _same_object(one, other):
                fix = "Leave one out: a score on an object that was trained on says nothing of new ones."
                raise bad_input(f"{one} and {other}", "different objects to train on and to test on", "one object", fix)


_OBJECTS = (Kind.MADE, Kind.MESH, Kind.VIEWS)


def _same_object(one: str, other: str) -> bool:
    """Return whether two meshes, made objects or folders of rendered views show the same object."""
    kinds = source_kind(one), source_kind(other)
    if not all(kind in _OBJECTS for kind in kinds):
        return False
    if kinds == (Kind.MADE, Kind.MADE):  # These have one name each, and names are compared already.
        return False
    return same_content(content_of(one), content_of(other))


def _shared(one: str, other: str) -> int:
    """Return how many pictures two sources share; of photos without poses how many they could."""
    kinds = source_kind(one), source_kind(other)
    if any(kind in _OBJECTS for kind in kinds):
        return 0
    path, chosen = split_selection(one)
    other_path, other_chosen = split_selection(other)
    if path.resolve() != other_path.resolve():
        if _origin(path) == _origin(other_path):  # Made of the same pictures, which have other names and sizes now.
            return len(open_capture(path if capture_kind(path) else other_path, long_side=LONG_SIDE).images)
        return len(picture_hashes(source_files(one)) & picture_hashes(source_files(other)))
    if kinds[0] is Kind.CAPTURE:
        return len(source_files(one) & source_files(other))
    # How many will have a camera is not known yet, and selections may count from the end.
    counts = list(range(2, CaptureConfig().max_frames + 1))
    return max(len({*range(count)[chosen]} & {*range(count)[other_chosen]}) for count in counts)


def _origin(path: Path) -> Path:
    """Return what a folder of `equiview capture` was made of, else the path itself."""
    about = path / "capture.json"
    made_of = as_record(read_json(about), str(about)).get("source") if about.is_file() else None
    if made_of is None:
        return path.resolve()
    return split_selection(as_text(made_of, f"{about} source", "a path"))[0].resolve()


def lasting_name(source: str) -> str | None:
    """Return a name that two objects to render share only if they look alike; None for any other source."""
    kind = source_kind(source)
    if kind is Kind.MADE:
        return source_name(source)
    if kind is not Kind.MESH:
        return None
    look = json.dumps(content_of(source), sort_keys=True)
    return f"{source_name(source)}-{hashlib.sha256(look.encode()).hexdigest()[:16]}"


def content_of(source: str) -> dict[str, Any]:
    """Return what tells a source from others, as JSON.

    Returns:
        {"mesh_sha256", "shape", "colour"} of a mesh (see `render.look.Look`) and of rendered views, which have stored
        those of their mesh (views of older versions its hash alone); {"pictures": hashes} of anything else.

    Raises:
        EquiviewError: It does not open.
    """
    kind = source_kind(source)
    if kind in (Kind.MADE, Kind.MESH):
        return mesh_look(source).record()
    if kind is Kind.VIEWS:
        meta = open_views(source).meta
        return {key: meta[key] for key in ("mesh_sha256", "shape", "colour") if key in meta}
    return {"pictures": sorted(picture_hashes(source_files(source)))}


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two sources show one object, or share a picture, going by their contents.

    Raises:
        EquiviewError: A content that was stored does not hold what it should.
    """
    if "pictures" in one or "pictures" in other:
        hashes = [set(map(str, as_list(each.get("pictures", []), "pictures", fix=_AGAIN))) for each in (one, other)]
        return bool(hashes[0] & hashes[1])
    if one.get("mesh_sha256") is not None and one.get("mesh_sha256") == other.get("mesh_sha256"):
        return True
    return all("shape" in each for each in (one, other)) and _look(one).same_object(_look(other))


def _look(content: Mapping[str, Any]) -> Look:
    shape, colour = (content.get(key) for key in ("shape", "colour"))
    return Look(
        str(content.get("mesh_sha256")),
        as_array(shape, "shape of an object", (6,), _AGAIN),
        as_array(colour, "colour of an object", (3, 6), _AGAIN),
    )


def shown_before(sources: Sequence[str], names: set[str], contents: Mapping[str, Any]) -> list[str]:
    """Return the names of those sources that are among others, by their names or by their contents.

    Args:
        sources: What may have been seen.
        names: Of what was seen.
        contents: Of what was seen, as `content_of` gave them, by name; of older records there are none.

    Raises:
        EquiviewError: A source does not open, or a content was changed.
    """
    known = [as_record(content, f"content of {name!r}", fix=_AGAIN) for name, content in contents.items()]
    found = {
        source_name(source)
        for source in sources
        if source_name(source) in names or (known and any(same_content(content_of(source), one) for one in known))
    }
    return sorted(found)
