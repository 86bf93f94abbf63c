"""scannet_test_1500: 1,500 pairs of ScanNet frames (Sarlin et al., CVPR 2020), in the form LoFTR shares them.

ROOT/test.npz has `name` [n, 4]: scene, scan, frame, frame. ROOT/intrinsics.npz has a 3x3 matrix for each scene, for
pictures of 640x480. ROOT/sceneSSSS_NN/ has color/F.jpg, depth/F.png (16 bit, millimetres, 640x480) and pose/F.txt (4x4,
camera to world, metres, OpenCV axes).

Calibrations of ScanNet have whole numbers at pixel centres, so principal points move by half a pixel here; the data
were not at hand to measure it. Colour is brought to the size of depth.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ...errors import bad_input
from ...geometry import inverse
from ...io import read_image, require_file
from ...schema import as_array, library_loading
from ...types import Camera, PosedImage, View, ViewPairs
from .checks import require_rigid
from .files import read_matrix
from .paired import ViewsOnDemand, cut
from .photographs import read_depth
from .views import depth_view

LAYOUT = "scannet_test_1500/ with test.npz, intrinsics.npz and sceneSSSS_NN/color, depth and pose"
HW = (480, 640)
UNIT_CM = 100.0  # Metres.
_FIX = "Fetch it again: scannet_test_1500.tar, and both .npz files beside the scenes."


def is_scannet_pairs(folder: Path) -> bool:
    """Return True for the folder of the scenes and their list."""
    return (folder / "test.npz").is_file() and (folder / "intrinsics.npz").is_file()


def scannet_pairs(root: str | Path) -> Iterator[ViewPairs]:
    """Yield the scenes with their pairs, in the order in which the list names them first.

    Raises:
        EquiviewError: A list, a matrix or a picture that is missing or broken.
    """
    root = Path(root)
    intrinsics = _arrays(root / "intrinsics.npz")
    scenes: dict[str, list[tuple[int, int]]] = {}
    for room, scan, frame_0, frame_1 in _names(root / "test.npz"):
        scenes.setdefault(f"scene{room:04d}_{scan:02d}", []).append((int(frame_0), int(frame_1)))
    for scene, frames in scenes.items():
        if scene not in intrinsics:
            raise bad_input(str(root / "intrinsics.npz"), f"a matrix for {scene}", "none", _FIX)
        yield _scene(root / scene, frames, as_array(intrinsics[scene], f"intrinsics of {scene}", (3, 3), _FIX))


def _scene(folder: Path, frames: list[tuple[int, int]], intrinsics: Float[np.ndarray, "3 3"]) -> ViewPairs:
    intrinsics = intrinsics.copy()
    intrinsics[:2, 2] += 0.5
    numbers = sorted({frame for pair in frames for frame in pair})
    cameras = [Camera(intrinsics, _pose(folder / "pose" / f"{number}.txt"), HW) for number in numbers]
    views = ViewsOnDemand(len(numbers), lambda index: _view(folder, numbers[index], cameras[index]))
    place = {number: index for index, number in enumerate(numbers)}
    pairs = [(place[one], place[other]) for one, other in frames]
    return ViewPairs(folder.name, views, [camera.cam_from_world for camera in cameras], pairs, UNIT_CM)


def _pose(path: Path) -> Float[np.ndarray, "4 4"]:
    return inverse(require_rigid(read_matrix(path, [(4, 4)]), str(path)))


def _view(folder: Path, number: int, camera: Camera) -> View:
    rgb = read_image(folder / "color" / f"{number}.jpg")
    path = folder / "depth" / f"{number}.png"
    depth = read_depth(path, 1 / 1000)
    if depth.shape != HW:
        raise bad_input(str(path), f"depth of {HW[1]}x{HW[0]} pixels", f"{depth.shape[1]}x{depth.shape[0]}", _FIX)
    whole = (0, 0, rgb.shape[1], rgb.shape[0])
    return depth_view(PosedImage(cut(rgb, whole, HW), camera, str(number), None, depth))


def _names(path: Path) -> Int[np.ndarray, "n 4"]:
    found = _arrays(path).get("name")
    if found is None or found.ndim != 2 or found.shape[1] != 4 or found.dtype.kind not in "iu" or not len(found):
        shape = "nothing" if found is None else f"{found.dtype} of shape {found.shape}"
        raise bad_input(f"{path} name", "rows of scene, scan, frame, frame", shape, _FIX)
    return found.astype(np.int64)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    require_file(path, "a list of ScanNet pairs")
    with library_loading(str(path), "arrays that open without pickle", _FIX), np.load(path) as file:
        return {key: file[key] for key in file.files}
