"""The Middlebury multi-view sets (`temple`, `dino` and their rings): calibrated photographs and a 3D box."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import read_text, stored_hw, visible
from ...limits import MAX_VALUE
from ...render.references import find_file
from ...schema import as_array
from ...types import Camera, Capture, PosedImage, PoseScene
from .checks import finish, missing_note, require_rigid, rounded_note
from .lens import pinhole
from .photographs import Photograph
from .undistortion import pinhole_for

LAYOUT = "Middlebury multi-view: one NAME_par.txt, README.txt with the box, and the pictures"
_NUMBERS = 21  # K, R and t
_BOX = re.compile(r"bounding box[^(]*\(([^)]*)\)\s*\(([^)]*)\)")
# World units are metres: Seitz et al., CVPR 2006, call the dinosaur 87.1 mm tall, and its box has a side of 0.0871.
WORLD_UNIT_CM = 100.0


@dataclass(frozen=True)
class MiddleburySet:
    """A folder of the Middlebury kind.

    Attributes:
        images: Those that are present, in the order of the list.
        box: Lowest and highest corner of the README's box, in world.
        missing: Names the list has and the folder lacks.
        notes: What was done to the list's poses.
    """

    images: list[PosedImage]
    box: Float[np.ndarray, "2 3"]
    missing: list[str]
    notes: tuple[str, ...] = ()


def open_middlebury(folder: str | Path) -> MiddleburySet:
    """Read a folder with NAME_par.txt (K, R, t of each image), README.txt (the box) and pictures.

    Both variants of the list are read: beginning with a count, or with a line of column names. The cameras are
    `K [R t]` with OpenCV axes (the box projects around the bright object in every picture, which the tests check);
    integer pixels are taken as pixel centres, so the principal point moves by half a pixel. Sets of one object have
    different origins, so a box belongs to its own folder only.

    Raises:
        EquiviewError: No such files, a line that does not parse, or none of the images is there.
    """
    folder = Path(folder)
    lists = visible(folder, "*_par.txt") if folder.is_dir() else []
    if len(lists) != 1:
        found = ", ".join(path.name for path in lists) or ("none" if folder.is_dir() else "no such folder")
        raise bad_input(str(folder), "one list of cameras NAME_par.txt", found, "Give a Middlebury multi-view folder.")
    cameras, notes = _read_cameras(lists[0])
    present = {name: matrices for name, matrices in cameras.items() if find_file(name, folder, strict=True)}
    if not present:
        raise bad_input(str(folder), f"images that {lists[0].name} names", "none", "Put the pictures beside the list.")
    hw = stored_hw(folder / next(iter(present)))
    images = [PosedImage(folder / name, Camera(*matrices, hw), name) for name, matrices in present.items()]
    missing = [name for name in cameras if name not in present]
    return MiddleburySet(images, read_box(folder / "README.txt"), missing, notes)


def _read_cameras(path: Path) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    """Return intrinsics and cam_from_world by file name, in the order of the list, and notes on them."""
    cameras, given = {}, []
    for number, line in enumerate(read_text(path, "a list of cameras").splitlines(), 1):
        words = line.split()
        if not words or (number == 1 and (len(words) == 1 or words[0] == "imgname.png")):
            continue
        try:
            values = np.array([float(word) for word in words[1:]])
        except ValueError:
            values = np.zeros(0)
        if len(values) != _NUMBERS or not (np.abs(values) <= MAX_VALUE).all():
            expected = f"a file name and {_NUMBERS} finite numbers"
            raise bad_input(f"{path}:{number}", expected, repr(line[:60]), "Fetch the list again.")
        intrinsics, cam_from_world = values[:9].reshape(3, 3), np.eye(4)
        intrinsics[:2, 2] += 0.5
        cam_from_world[:3, :3] = values[9:18].reshape(3, 3)
        cam_from_world[:3, 3] = values[18:]
        given.append(cam_from_world)
        cameras[words[0]] = (intrinsics, require_rigid(cam_from_world, f"{path}:{number}"))
    return cameras, rounded_note(given)


def read_box(path: Path) -> Float[np.ndarray, "2 3"]:
    """Return the two corners of the tight box that a README states.

    Raises:
        EquiviewError: The file is missing or states none.
    """
    fix = "Fetch the README again."
    found = _BOX.search(read_text(path, "the README of a Middlebury set"))
    if found is None:
        raise bad_input(str(path), "the bounding box as (x y z) (x y z)", "none", fix)
    corners = as_array([part.split() for part in found.groups()], f"{path}: bounding box", (2, 3), fix)
    if not (corners[0] < corners[1]).all():  # NaN is not below anything.
        raise bad_input(f"{path}: bounding box", "its lowest corner, then its highest", str(corners.tolist()), fix)
    return corners


def middlebury_scenes(folder: str | Path) -> list[PoseScene]:
    """Return the set as two scenes: every second image a reference, the others queries, and the other way round.

    Both have the folder's name: they show one object.
    """
    found = open_middlebury(folder)
    name, halves = Path(folder).name, (found.images[0::2], found.images[1::2])
    return [PoseScene(name, halves[i], halves[1 - i], world_unit_cm=WORLD_UNIT_CM) for i in range(2) if halves[1 - i]]


def middlebury_capture(folder: str | Path, *, long_side: int | None = None) -> Capture:
    """Return the set as a capture with the README's box, in metres; pictures that are listed and missing are noted.

    Args:
        folder: As for `open_middlebury`.
        long_side: Pictures are reduced to this many pixels at most.

    Raises:
        EquiviewError: As `open_middlebury`; or a pose is no rotation, or a picture has another size than the first.
    """
    found = open_middlebury(folder)
    photographs = []
    for image in found.images:
        camera, path = image.camera, Path(folder) / image.name
        undo = pinhole_for(pinhole(camera.intrinsics, camera.hw), long_side)
        photographs.append(Photograph(path, undo, camera.cam_from_world, image.name))
    notes = found.notes + missing_note("images", len(found.images) + len(found.missing), found.missing)
    return finish(Path(folder).resolve().name, photographs, box=found.box, notes=notes)
