"""CO3D v2 (Reizenstein et al., ICCV 2021): CATEGORY/SEQUENCE with images/, and CATEGORY/frame_annotations.jgz.

Depth and foreground masks are taken where the annotations name them and the files are there (each is a download of its
own); depth_masks/ are not read.

Conventions found, and converted here once: cameras are PyTorch3D's, whose points are rows (x_cam = x_world R + T), x to
the left and y up; focal lengths and principal points are in units of half the picture (`ndc_norm_image_bounds`: of each
side; `ndc_isotropic`: of the shorter one), from its middle, so pixels have the corner as origin. Depth is a 16-bit
picture whose bits are half-precision numbers, times `scale_adjustment`. The tests project a made world; the data in
this layout were not at hand.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import require_file
from ...schema import as_array, as_list, as_number, as_record, as_text, as_whole, library_loading, parse_json
from ...types import Capture
from .checks import finish, missing_note, require_rigid
from .lens import pinhole
from .photographs import Photograph
from .undistortion import pinhole_for

LAYOUT = "CO3D: CATEGORY/SEQUENCE with images/, and CATEGORY/frame_annotations.jgz"
ANNOTATIONS = "frame_annotations.jgz"
_FIX = "Unpack the category again."
_FLIP = np.diag([-1.0, -1.0, 1.0])  # Left and up to right and down.


@dataclass(frozen=True)
class _Frame:
    number: int
    photograph: Photograph


def is_sequence(folder: Path) -> bool:
    """Return True for the folder of a sequence whose category has its annotations beside it."""
    return (folder / "images").is_dir() and (folder.resolve().parent / ANNOTATIONS).is_file()


def co3d_capture(folder: str | Path, *, long_side: int | None = None) -> Capture:
    """Read a sequence; the capture's name is CATEGORY_SEQUENCE.

    Args:
        folder: CATEGORY/SEQUENCE.
        long_side: Pictures (and depth with them) are reduced to this many pixels at most.

    Raises:
        EquiviewError: Annotations that are missing or broken, none of this sequence, or a file of another size.
    """
    folder = Path(folder).resolve()
    path = folder.parent / ANNOTATIONS
    rows = [row for row in _annotations(path) if as_record(row, str(path)).get("sequence_name") == folder.name]
    if not rows:
        raise bad_input(str(path), f"frames of sequence {folder.name}", "none", _FIX)
    root = folder.parent.parent
    frames = sorted((_frame(root, row, str(path), long_side) for row in rows), key=lambda frame: frame.number)
    there = [frame.photograph for frame in frames if frame.photograph.path.is_file()]
    missing = [frame.photograph.name for frame in frames if not frame.photograph.path.is_file()]
    notes = missing_note("images", len(frames), missing)
    if any(one.depth is not None for one in there):  # Depth everywhere or nowhere, as for other captures.
        blind = [one.name for one in there if one.depth is None]
        notes += missing_note("depth pictures", len(there), blind)
        there = [one for one in there if one.depth is not None]
    return finish(f"{folder.parent.name}_{folder.name}", there, notes=notes)


def _annotations(path: Path) -> list[Any]:
    with library_loading(str(require_file(path, "the frames of a category")), "a list compressed by gzip", _FIX):
        text = gzip.decompress(path.read_bytes())
    return as_list(parse_json(text, str(path), _FIX), str(path), "a list of frames", fix=_FIX)


def _frame(root: Path, row: dict[str, Any], where: str, long_side: int | None) -> _Frame:
    row = as_record(row, where, ("frame_number", "image", "viewpoint"), _FIX)
    number = as_whole(row["frame_number"], f"{where} frame_number", 0, fix=_FIX)
    where = f"{where} frame {number}"
    image = as_record(row["image"], f"{where} image", ("path", "size"), _FIX)
    size = as_list(image["size"], f"{where} size", at_least=2, fix=_FIX)
    hw = (as_whole(size[0], f"{where} size", 1, fix=_FIX), as_whole(size[1], f"{where} size", 1, fix=_FIX))
    viewpoint = as_record(row["viewpoint"], f"{where} viewpoint", ("R", "T", "focal_length", "principal_point"), _FIX)
    path = root / as_text(image["path"], f"{where} path", fix=_FIX)
    depth, unit = _depth(root, row.get("depth"), where)
    photograph = Photograph(
        path,
        pinhole_for(pinhole(_intrinsics(viewpoint, hw, where), hw), long_side),
        _pose(viewpoint, where),
        path.name,
        _beside(root, row.get("mask"), where),
        depth,
        unit,
        half_depth=depth is not None,
    )
    return _Frame(number, photograph)


def _beside(root: Path, entry: Any, where: str) -> Path | None:
    """Return the file an entry names, if it is there: masks and depth are downloads of their own."""
    if entry is None or as_record(entry, where).get("path") is None:
        return None
    path = root / as_text(entry["path"], f"{where} path", fix=_FIX)
    return path if path.is_file() else None


def _depth(root: Path, entry: Any, where: str) -> tuple[Path | None, float]:
    path = _beside(root, entry, where)
    if path is None:
        return None, 1.0
    return path, as_number(entry.get("scale_adjustment", 1.0), f"{where} scale_adjustment", 1e-9, fix=_FIX)


def _pose(viewpoint: dict[str, Any], where: str) -> Float[np.ndarray, "4 4"]:
    rotation = as_array(viewpoint["R"], f"{where} R", (3, 3), _FIX)
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = _FLIP @ rotation.T
    cam_from_world[:3, 3] = _FLIP @ as_array(viewpoint["T"], f"{where} T", (3,), _FIX)
    return require_rigid(cam_from_world, where)


def _intrinsics(viewpoint: dict[str, Any], hw: tuple[int, int], where: str) -> Float[np.ndarray, "3 3"]:
    kind = viewpoint.get("intrinsics_format", "ndc_norm_image_bounds")
    if kind not in ("ndc_norm_image_bounds", "ndc_isotropic"):
        raise bad_input(f"{where} intrinsics_format", "ndc_norm_image_bounds or ndc_isotropic", repr(kind), _FIX)
    half = np.array([hw[1], hw[0]]) / 2
    unit = half if kind == "ndc_norm_image_bounds" else np.full(2, half.min())
    focal = as_array(viewpoint["focal_length"], f"{where} focal_length", (2,), _FIX) * unit
    middle = half - as_array(viewpoint["principal_point"], f"{where} principal_point", (2,), _FIX) * unit
    return np.array([[focal[0], 0, middle[0]], [0, focal[1], middle[1]], [0, 0, 1.0]])
