"""NAVI v1.0 (Jampani et al., NeurIPS 2023): photographs of 36 objects with aligned scans, as pairs to be matched.

ROOT/OBJECT/wild_set (and multiview_*), each with images/NNN.jpg, depth/NNN.png (16 bit, millimetres, 0 off the object)
and annotations.json: for each photograph `filename`, `image_size` (height, width) and `camera` with `q` (w x y z) and
`t` (millimetres), which take the object to the camera, and `focal_length` in pixels.

Conventions as the evaluation code of Probe3D reads them (the data were not at hand to measure): OpenCV axes, the
principal point in the middle of the picture, half-pixel centres. As there, a photograph is cut to a square around the
object and brought to 512 px, and pairs lie within one set of an object. Depth edges and very slanted surface are left
out here, and a point lies at the pixel centre whose depth it has (there up to 1.5 px beside).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy.spatial.transform import Rotation

from ...errors import bad_input
from ...io import read_image, read_json
from ...schema import as_array, as_list, as_number, as_record, as_text, as_whole
from ...types import Camera, PosedImage, View, ViewPairs
from .checks import require_rigid
from .paired import ViewsOnDemand, cut, cut_intrinsics, cut_nearest
from .photographs import read_depth
from .views import depth_view

LAYOUT = "NAVI v1.0: OBJECT/wild_set with images/NNN.jpg, depth/NNN.png and annotations.json"
COLLECTION = "wild_set"
SIDE_PX = 512
UNIT_CM = 0.1  # Millimetres.
_EVERY = 4  # The published evaluation takes every fourth photograph as a source.
_FIX = "Unpack navi_v1.tar.gz again."


@dataclass(frozen=True)
class _Photograph:
    name: str
    image: Path
    depth: Path
    camera: Camera


def is_navi(folder: Path) -> bool:
    """Return True for the folder of the objects."""
    return next(folder.glob(f"*/{COLLECTION}/annotations.json"), None) is not None


def navi_pairs(root: str | Path, collection: str = COLLECTION) -> Iterator[ViewPairs]:
    """Yield the objects in the order of their names; their pairs are drawn by the protocol.

    Args:
        root: The folder of the objects.
        collection: Which set of photographs of each, such as `wild_set` (the published test set).

    Raises:
        EquiviewError: No such folders, or an annotation or a file that is broken.
    """
    root = Path(root)
    found = sorted(root.glob(f"*/{collection}/annotations.json")) if root.is_dir() else []
    if not found:
        raise bad_input(str(root), f"objects as {LAYOUT}", "none", "Give the folder that holds the objects.")
    for path in found:
        photographs = _photographs(path)
        if len(photographs) < 2:
            raise bad_input(str(path), "two photographs or more", str(len(photographs)), _FIX)
        yield _set(path.parent.parent.name, photographs)


def _set(name: str, photographs: list[_Photograph]) -> ViewPairs:
    views = ViewsOnDemand(len(photographs), lambda index: _view(photographs[index]))
    return ViewPairs(name, views, [one.camera.cam_from_world for one in photographs], None, UNIT_CM, _EVERY)


def _photographs(path: Path) -> list[_Photograph]:
    rows = as_list(read_json(path), str(path), "a list of photographs", fix=_FIX)
    return [_photograph(path.parent, row, f"{path} entry {number}") for number, row in enumerate(rows)]


def _photograph(folder: Path, row: Any, where: str) -> _Photograph:
    row = as_record(row, where, ("filename", "image_size", "camera"), _FIX)
    camera = as_record(row["camera"], f"{where} camera", ("q", "t", "focal_length"), _FIX)
    stem = Path(as_text(row["filename"], f"{where} filename", fix=_FIX)).stem
    size = as_list(row["image_size"], f"{where} image_size", at_least=2, fix=_FIX)
    h, w = (as_whole(side, f"{where} image_size", 1, fix=_FIX) for side in size[:2])
    focal = as_number(camera["focal_length"], f"{where} focal_length", 1e-3, fix=_FIX)
    quaternion = as_array(camera["q"], f"{where} q", (4,), _FIX)
    if not np.linalg.norm(quaternion) > 1e-6:  # Not for NaN either.
        raise bad_input(f"{where} q", "a rotation as w x y z", str(quaternion.tolist()), _FIX)
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = Rotation.from_quat(quaternion[[1, 2, 3, 0]]).as_matrix()
    cam_from_world[:3, 3] = as_array(camera["t"], f"{where} t", (3,), _FIX)
    intrinsics = np.array([[focal, 0, w / 2], [0, focal, h / 2], [0, 0, 1.0]])
    known = Camera(intrinsics, require_rigid(cam_from_world, where), (h, w))
    return _Photograph(stem, folder / "images" / f"{stem}.jpg", folder / "depth" / f"{stem}.png", known)


def _view(one: _Photograph) -> View:
    """Read a photograph and cut it to a square around its object."""
    rgb, depth = read_image(one.image, one.camera.hw), read_depth(one.depth, 1.0)
    for path, found in ((one.image, rgb.shape[:2]), (one.depth, depth.shape)):
        if found != one.camera.hw:
            expected = f"{one.camera.hw[1]}x{one.camera.hw[0]} pixels as its annotation says"
            raise bad_input(str(path), expected, f"{found[1]}x{found[0]}", "Use the files as published, not resized.")
    if not (depth > 0).any():
        raise bad_input(str(one.depth), "depth of the object", "none", _FIX)
    box, hw = square_around(depth > 0), (SIDE_PX, SIDE_PX)
    camera = Camera(cut_intrinsics(one.camera.intrinsics, box, hw), one.camera.cam_from_world, hw)
    return depth_view(PosedImage(cut(rgb, box, hw), camera, one.name, None, cut_nearest(depth, box, hw)))


def square_around(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Return the smallest square around a mask, moved into the picture (left, top, right, bottom, pixels).

    Where the picture is too small for it, as large a square as it has.
    """
    spans = [np.flatnonzero(mask.any(axis)) for axis in (0, 1)]
    low = np.array([span[0] for span in spans])
    high = np.array([span[-1] + 1 for span in spans])
    w, h = mask.shape[1], mask.shape[0]
    side = int(min((high - low).max(), w, h))
    corner = np.clip((low + high - side) // 2, 0, (w - side, h - side))
    return int(corner[0]), int(corner[1]), int(corner[0]) + side, int(corner[1]) + side
