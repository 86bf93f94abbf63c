"""COLMAP's model files, text and binary: cameras, images, points3D. Rigs and frames beside them are not needed.

Both forms say the same (the tests compare them, and with pycolmap's reader). Poses are cam_from_world with OpenCV axes,
pixels count from the corner: nothing is converted here.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from ...errors import EquiviewError, bad_input
from ...io import read_text
from ...limits import MAX_VALUE
from .lens import Lens

# Name -> COLMAP's number, focal lengths (1 or 2), coefficients, kind of lens.
MODELS: dict[str, tuple[int, int, int, str]] = {
    "SIMPLE_PINHOLE": (0, 1, 0, "perspective"),
    "PINHOLE": (1, 2, 0, "perspective"),
    "SIMPLE_RADIAL": (2, 1, 1, "perspective"),
    "RADIAL": (3, 1, 2, "perspective"),
    "OPENCV": (4, 2, 4, "perspective"),
    "OPENCV_FISHEYE": (5, 2, 4, "fisheye"),
    "FULL_OPENCV": (6, 2, 8, "perspective"),
    "FOV": (7, 2, 1, "fov"),
    "SIMPLE_RADIAL_FISHEYE": (8, 1, 1, "fisheye"),
    "RADIAL_FISHEYE": (9, 1, 2, "fisheye"),
    "THIN_PRISM_FISHEYE": (10, 2, 8, "thin_prism_fisheye"),
    "SIMPLE_DIVISION": (12, 1, 1, "division"),
    "DIVISION": (13, 2, 1, "division"),
    "SIMPLE_FISHEYE": (14, 1, 0, "fisheye"),
    "FISHEYE": (15, 2, 0, "fisheye"),
}
_NAMES = {number: name for name, (number, *_) in MODELS.items()}
_NO_POINT = -1


@dataclass(frozen=True)
class ColmapImage:
    """An image of a model.

    Attributes:
        name: Path below the folder of pictures.
        camera: Number of its camera.
        cam_from_world: 4x4 rigid transform.
        xy: Where it saw points, pixels of the photograph.
        point: Number of the 3D point behind each.
    """

    name: str
    camera: int
    cam_from_world: Float[np.ndarray, "4 4"]
    xy: Float[np.ndarray, "k 2"]
    point: Int[np.ndarray, "k"]


@dataclass(frozen=True)
class ColmapModel:
    """A whole model.

    Attributes:
        lenses: By camera number.
        images: In the order of the file.
        point: Numbers of the 3D points.
        points_in_world: Where they are.
    """

    lenses: dict[int, Lens]
    images: list[ColmapImage]
    point: Int[np.ndarray, "m"]
    points_in_world: Float[np.ndarray, "m 3"]


def is_model(folder: Path) -> bool:
    """Return True where a folder has cameras and images of one form."""
    return any(all((folder / f"{one}.{form}").is_file() for one in ("cameras", "images")) for form in ("bin", "txt"))


def count_images(folder: Path) -> int:
    """Return how many images a model has.

    Raises:
        EquiviewError: As `read_model`.
    """
    return len(_read_one(folder, "images", _form(folder)))


def _form(folder: Path) -> str:
    return "bin" if (folder / "cameras.bin").is_file() else "txt"


def read_model(folder: Path) -> ColmapModel:
    """Read a model; where both forms lie there, the binary one.

    Raises:
        EquiviewError: A file is missing, cut off or does not parse, or a camera model is not known.
    """
    form = _form(folder)
    lenses, images, (point, points_in_world) = (_read_one(folder, one, form) for one in _PARTS)
    unknown = next((image for image in images if image.camera not in lenses), None)
    if unknown is not None:
        what = f"{folder} image {unknown.name}"
        raise bad_input(what, "a camera of the model", f"number {unknown.camera}", "Export the model again.")
    return ColmapModel(lenses, images, point, points_in_world)


_PARTS = ("cameras", "images", "points3D")


def _read_one(folder: Path, one: str, form: str) -> Any:
    path = folder / f"{one}.{form}"
    if not path.is_file():
        raise bad_input(str(path), f"the model's {one}", "nothing there", "Copy the whole model.")
    try:
        return _READERS[form][_PARTS.index(one)](path)
    except EquiviewError:
        raise
    except (struct.error, ValueError, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        what = "a whole binary COLMAP file" if form == "bin" else "a COLMAP text file"
        found = f"one that is cut off or broken ({str(error)[:80]})"
        raise bad_input(str(path), what, found, "Export it again.") from error


def _lens(path: Path, number: int, model: str, wh: tuple[int, int], values: Sequence[float]) -> Lens:
    _, focals, count, kind = MODELS[model]
    if len(values) != focals + 2 + count:
        found = f"{len(values)}"
        raise bad_input(f"{path} camera {number}", f"{focals + 2 + count} values of {model}", found, "Export it again.")
    fx, fy = values[0], values[focals - 1]
    cx, cy = values[focals : focals + 2]
    intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    return Lens(intrinsics, (wh[1], wh[0]), kind, tuple(values[focals + 2 :]))


def _unknown(path: Path, number: int, model: str) -> EquiviewError:
    fix = "Undistort with `colmap image_undistorter`, or map with one of these."
    return bad_input(f"{path} camera {number}", f"a camera model of {', '.join(MODELS)}", model, fix)


def _pose(q_wxyz: Sequence[float], t: Sequence[float]) -> Float[np.ndarray, "4 4"]:
    """Return cam_from_world; NaN when the numbers are no pose, which the capture's checks name."""
    q, cam_from_world = np.asarray(q_wxyz, float), np.eye(4)
    usable = (np.abs(q) <= MAX_VALUE).all() and np.linalg.norm(q) > 0
    turn = Rotation.from_quat(q[[1, 2, 3, 0]]).as_matrix() if usable else np.full((3, 3), np.nan)
    cam_from_world[:3, :3] = turn
    cam_from_world[:3, 3] = t
    return cam_from_world


class _Bytes:
    """A binary file read from the front; reading past its end is a struct.error."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.at = 0

    def take(self, form: str) -> tuple:
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end].decode()
        self.at = end + 1
        return found

    def array(self, dtype: np.dtype, count: int) -> np.ndarray:
        if dtype.itemsize * count > len(self.data) - self.at:
            raise ValueError(f"{count} entries announced, {len(self.data) - self.at} bytes left")
        found = np.frombuffer(self.data, dtype, count, self.at) if count else np.zeros(0, dtype)
        self.at += dtype.itemsize * count
        return found


def _cameras_bin(path: Path) -> dict[int, Lens]:
    file = _Bytes(path)
    lenses = {}
    for _ in range(file.take("Q")[0]):
        number, model, w, h = file.take("iiQQ")
        if model not in _NAMES:
            raise _unknown(path, number, f"number {model}")
        _, focals, count, _ = MODELS[_NAMES[model]]
        lenses[number] = _lens(path, number, _NAMES[model], (w, h), file.take(f"{focals + 2 + count}d"))
    return lenses


_SEEN = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


def _images_bin(path: Path) -> list[ColmapImage]:
    file = _Bytes(path)
    images = []
    for _ in range(file.take("Q")[0]):
        _, *pose, camera = file.take("I7dI")
        name = file.text()
        seen = file.array(_SEEN, file.take("Q")[0])
        seen = seen[seen["point"] != _NO_POINT]
        xy = _finite(seen["xy"].copy())
        images.append(ColmapImage(name, camera, _pose(pose[:4], pose[4:]), xy, seen["point"].copy()))
    return images


def _points_bin(path: Path) -> tuple[np.ndarray, np.ndarray]:
    file = _Bytes(path)
    numbers = []
    points = []
    for _ in range(file.take("Q")[0]):
        number, x, y, z, *_, seen = file.take("Q3d3BdQ")
        file.array(np.dtype("<i4"), 2 * seen)
        numbers.append(number)
        points.append((x, y, z))
    return np.array(numbers, np.int64), _finite(np.array(points, float).reshape(-1, 3))


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the values.

    Raises:
        ValueError: One is NaN, infinite or far too large: the file is broken.
    """
    if not (np.abs(values) <= MAX_VALUE).all():
        raise ValueError(f"NaN, infinity or values beyond {MAX_VALUE:g}")
    return values


def _lines(path: Path) -> Iterator[str]:
    return (line for line in read_text(path, "a COLMAP text file").splitlines() if not line.startswith("#"))


def _cameras_txt(path: Path) -> dict[int, Lens]:
    lenses = {}
    for line in _lines(path):
        if line.strip():
            number, model, w, h, *values = line.split()
            if model not in MODELS:
                raise _unknown(path, int(number), model)
            lenses[int(number)] = _lens(path, int(number), model, (int(w), int(h)), [float(v) for v in values])
    return lenses


def _images_txt(path: Path) -> list[ColmapImage]:
    """Two lines an image; the second, its points, may be empty, so blank lines are passed over only between images."""
    lines = _lines(path)
    images = []
    for line in lines:
        if not line.strip():
            continue
        _, *pose, camera, name = line.split(maxsplit=9)
        values = _finite(np.array(next(lines, "").split(), float).reshape(-1, 3))
        values = values[values[:, 2] != _NO_POINT]
        q_t = [float(value) for value in pose]
        cam_from_world = _pose(q_t[:4], q_t[4:])
        images.append(ColmapImage(name.strip(), int(camera), cam_from_world, values[:, :2], values[:, 2].astype(int)))
    return images


def _points_txt(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = [line.split(maxsplit=4)[:4] for line in _lines(path) if line.strip()]
    numbers = np.array([int(row[0]) for row in rows], np.int64)
    return numbers, _finite(np.array([[float(v) for v in row[1:]] for row in rows], float).reshape(-1, 3))


_READERS: dict[str, tuple[Callable[[Path], Any], ...]] = {
    "bin": (_cameras_bin, _images_bin, _points_bin),
    "txt": (_cameras_txt, _images_txt, _points_txt),
}
