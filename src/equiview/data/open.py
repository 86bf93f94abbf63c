"""What a command may be given as an object, and how it becomes views: meshes, made objects, rendered views, captures.

A capture without depth or points is triangulated with its poses kept fixed; photos or a video without poses are
reconstructed first (both by COLMAP, extra `colmap`). What that makes is kept in the cache and found again.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

from ..errors import EquiviewError, bad_input
from ..io import file_name, picture_files
from ..records import CaptureRecord
from ..render import open_views
from ..types import Capture, View
from .captures.checks import choose
from .captures.opening import LAYOUTS, capture_kind, open_capture
from .captures.photographs import Photographs
from .captures.views import CaptureViews, spread
from .meshes import check_made, open_mesh, open_object
from .names import VIDEO_SUFFIXES, is_made, source_name, split_selection, split_source
from .sfm import CaptureConfig, capture_from_pictures, capture_with_poses
from .sfm.colmap import import_pycolmap
from .sfm.photos import open_photos

log = logging.getLogger(__name__)

# Pictures of a capture are reduced to this, pixels: features are taken at 640, and tokens are far larger than a pixel.
LONG_SIDE = 1024
Progress = Callable[[int, int], None]


class Kind(Enum):
    """What a source is."""

    MADE = "made at run time"
    MESH = "a mesh file"
    VIEWS = "a folder of rendered views"
    CAPTURE = "a capture with poses"
    PICTURES = "photos or a video"


def source_kind(source: str | Path) -> Kind:
    """Say what a source is, by its name and its files.

    Raises:
        EquiviewError: A folder that is nothing of these, or a selection that does not parse.
    """
    if is_made(source):
        return Kind.MADE
    path = split_selection(source)[0]
    if not path.is_dir():
        return Kind.PICTURES if path.suffix.lower() in VIDEO_SUFFIXES else Kind.MESH
    kind = folder_kind(path)
    if kind is not None:
        return kind
    layouts = "; ".join(layout.words for layout in LAYOUTS.values())
    expected = f"views that `equiview render` wrote, photos, or a capture ({layouts})"
    found = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "an empty folder"
    raise bad_input(str(path), expected, found, "Give the folder that holds them.")


def folder_kind(path: Path) -> Kind | None:
    """Say what a folder is, by its files; None where it is nothing that can be opened as one object."""
    if (path / "meta.json").is_file():
        return Kind.VIEWS
    if capture_kind(path) is not None:
        return Kind.CAPTURE
    inside = path / "images"
    for folder in (path, inside):
        if folder.is_dir() and picture_files(folder):
            return Kind.PICTURES
    return None


def check_source(source: str | Path) -> None:
    """Open what is cheap to open of a source, so that a bad one is found before the long work begins.

    Raises:
        EquiviewError: It is missing, broken or empty, or needs pycolmap, which is not there.
    """
    kind = source_kind(source)
    if kind is Kind.MADE:
        check_made(source)
    elif kind is Kind.MESH:
        open_mesh(source)
    elif kind is Kind.VIEWS:
        open_views(source)
    elif kind is Kind.CAPTURE:
        if _lacks_points(open_capture(source, long_side=LONG_SIDE)):
            import_pycolmap()
    else:
        import_pycolmap()
        open_photos(split_selection(source)[0])


def source_files(source: str) -> set[Path]:
    """Return the pictures of a capture, those chosen, or of a folder of photos or a video, all."""
    kind = source_kind(source)
    if kind is Kind.CAPTURE:
        images = open_capture(source, long_side=LONG_SIDE).images
        return {one.path.resolve() for one in images.photographs} if isinstance(images, Photographs) else set()
    path = split_selection(source)[0]
    if not path.is_dir():
        return {path.resolve()}
    return {file.resolve() for file in open_photos(path).files}


def open_source(
    source: str | Path,
    *,
    n_views: int,
    seed: int = 0,
    cache_dir: str | Path,
    progress: Progress | None = None,
) -> Sequence[View]:
    """Return the views of anything a command may be given.

    Args:
        source: A mesh, `builtin:NAME`, `procedural:SEED`, `household:SEED`, a folder of rendered views, a capture
            of any layout of `captures.opening`, photos, or a video; of a capture perhaps a selection of images,
            `fox@0::2`.
        n_views: Of a rendered object see `open_object`; of a capture so many pictures at most, evenly spaced.
        seed: Of the rig's permutation.
        cache_dir: Where rendered views and reconstructed captures are kept.
        progress: Called with (done, total) while something is rendered or reconstructed.

    Raises:
        EquiviewError: See `check_source`; or a capture that came out too weak to be used.
    """
    kind = source_kind(source)
    if kind in (Kind.MADE, Kind.MESH, Kind.VIEWS):
        return open_object(source, n_views=n_views, seed=seed, cache_dir=cache_dir, progress=progress)
    capture = open_with_points(source, Path(cache_dir), progress)
    if n_views < len(capture.images):
        log.info("%s: %d of %d pictures are used", capture.name, n_views, len(capture.images))
    return CaptureViews(spread(capture, n_views))


def open_with_points(source: str | Path, cache_dir: Path, progress: Progress | None = None) -> Capture:
    """Open a capture that has depth or points, made by COLMAP where the source brings none.

    Points come from all images; a selection is made afterwards, so that two selections of one capture share them.

    Raises:
        EquiviewError: See `open_source`.
    """
    chosen = split_source(source)
    path, report = chosen.path, _stages(progress)
    if source_kind(source) is Kind.PICTURES:
        whole = _made(path, None, cache_dir, lambda out, config: capture_from_pictures(path, out, config, report))
    else:
        whole = open_capture(path, long_side=LONG_SIDE, object_id=chosen.object_id)
        if _lacks_points(whole):
            given = whole
            whole = _made(
                path,
                chosen.object_id,
                cache_dir,
                lambda out, config: capture_with_poses(given, path, out, config, report),
            )
            whole = replace(whole, box=given.box, notes=given.notes)
    for note in whole.notes:
        log.info("%s: %s", path, note)
    return choose(whole, chosen.images, chosen.text) if chosen.text else whole


def _lacks_points(capture: Capture) -> bool:
    return capture.tracks is None and any(image.depth is None for image in capture.images)


def _made(
    path: Path, object_id: int | None, cache_dir: Path, make: Callable[[Path, CaptureConfig], CaptureRecord]
) -> Capture:
    """Make a capture folder in the cache, or find it there, and open it under the source's name."""
    config = CaptureConfig(long_side=LONG_SIDE)
    of_it = "" if object_id is None else f"@object={object_id}"
    key = hashlib.sha256(f"{path.resolve()}{of_it}".encode("utf-8", "surrogateescape")).hexdigest()[:8]
    out = cache_dir / f"{file_name(source_name(path))}-{key}"
    about = make(out, config)
    grade, reasons = about["verdict"]["grade"], " ".join(about["verdict"]["reasons"] + about["verdict"]["advice"])
    if grade == "failed":
        raise EquiviewError(f"{path}: no usable capture could be made of it. {reasons}")
    if grade == "weak":
        log.warning("%s: a weak capture. %s", path, reasons)
    return replace(open_capture(out, long_side=LONG_SIDE), name=source_name(path))


def _stages(progress: Progress | None) -> Callable[[str, int, int], None]:
    """Return COLMAP's stages as one count; each stage begins it anew."""
    return (lambda stage, done, total: None) if progress is None else (lambda stage, done, total: progress(done, total))
