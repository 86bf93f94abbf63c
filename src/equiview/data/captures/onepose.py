"""OnePose and OnePose++ LowTexture: video sequences of one object, `-1` to build a template, `-2` to be located."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import read_text, stored_hw, visible
from ...types import Camera, PosedImage, PoseScene
from .checks import require_rigid
from .lens import pinhole

WORLD_UNIT_CM = 100.0  # metres
_LAYOUT = "NAME/SHORT-1 and NAME/SHORT-2 with color/, intrin_ba/ and poses_ba/ (SHORT is NAME's second word)"


def onepose_scenes(root: str | Path, *, names: Sequence[str] = (), query_step: int = 10) -> list[PoseScene]:
    """Read objects of `lowtexture_test_data` (or OnePose's test_data).

    ROOT/0700-toyrobot-others/toyrobot-1/color/0.png, beside it intrin_ba/0.txt (3x3) and poses_ba/0.txt (4x4, object to
    camera, OpenCV axes, metres). Integer pixels are taken as pixel centres, as the released evaluation does, so
    principal points move by half a pixel; a reprojection test needs the data and was not possible here.

    Args:
        root: The folder of objects.
        names: Which objects; all, in the order of their names, when empty.
        query_step: Every n-th frame of the second sequence is a query (the published protocol: 10).

    Raises:
        EquiviewError: The folder is not laid out so, or a matrix is broken.
    """
    root = Path(root)
    found = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    chosen = list(names) or [name for name in found if "-" in name]
    missing = [name for name in chosen if name not in found]
    if not chosen or missing:
        raise bad_input(str(root), f"objects as {_LAYOUT}", ", ".join(missing) or "none", "Check the folder.")
    return [
        PoseScene(
            name,
            _sequence(_folder(root, name, 1)),
            _sequence(_folder(root, name, 2))[::query_step],
            world_unit_cm=WORLD_UNIT_CM,
        )
        for name in chosen
    ]


def _folder(root: Path, name: str, number: int) -> Path:
    words = name.split("-")
    if len(words) < 2:
        raise bad_input(str(root / name), "a name such as 0700-toyrobot-others", repr(name), f"Expected {_LAYOUT}.")
    return root / name / f"{words[1]}-{number}"


def _sequence(folder: Path) -> list[PosedImage]:
    """Return the frames of a sequence in numerical order; those without a pose are left out."""
    frames = visible(folder / "color", "*.png")
    frames = [path for path in frames if (folder / "poses_ba" / f"{path.stem}.txt").is_file()]
    if not frames:
        raise bad_input(str(folder), "color/*.png with poses_ba/*.txt beside", "none", f"Expected {_LAYOUT}.")
    hw = stored_hw(frames[0])
    return [PosedImage(path, _camera(folder, path.stem, hw), f"{folder.name}/{path.name}") for path in frames]


def _camera(folder: Path, stem: str, hw: tuple[int, int]) -> Camera:
    intrinsics = _matrix(folder / "intrin_ba" / f"{stem}.txt", (3, 3))
    intrinsics[:2, 2] += 0.5
    pose = folder / "poses_ba" / f"{stem}.txt"
    return Camera(pinhole(intrinsics, hw).intrinsics, require_rigid(_matrix(pose, (4, 4)), str(pose)), hw)


def _matrix(path: Path, shape: tuple[int, int]) -> Float[np.ndarray, "r c"]:
    try:
        matrix = np.array([float(word) for word in read_text(path, "a matrix as text").split()])
    except ValueError as error:
        raise bad_input(str(path), f"{shape[0]}x{shape[1]} numbers", str(error), "Fetch it again.") from error
    if matrix.size != shape[0] * shape[1]:
        raise bad_input(str(path), f"{shape[0]}x{shape[1]} numbers", f"{matrix.size} numbers", "Fetch it again.")
    return matrix.reshape(shape)
