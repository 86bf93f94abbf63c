"""RGB-D folders: colour, depth, poses and intrinsics as sensors and their data sets leave them.

Layouts (`STEM` is the same in every folder; frames without a pose file are left out and noted)::

    rgb/ or color/   STEM.jpg or STEM.png
    depth/           STEM.png, 16 bit (or .npy)
    pose/ or poses/  STEM.txt, 4x4
    intrinsics: one of intrinsics.txt, camera-intrinsics.txt, intrinsic/intrinsic_color.txt (3x3 or 4x4),
                camera_intrinsic.json (Open3D)
    depth_scale.txt  optional: steps of depth in a world unit; 1000 without it (5000 for TUM)
    distortion.txt   optional: k1 k2 p1 p2 [k3 [k4 k5 k6]] in OpenCV's order
    masks/           optional
    depth camera     optional, where depth is not aligned with colour: intrinsics as depth_intrinsics.txt or
                     intrinsic/intrinsic_depth.txt, and depth_to_color.txt (4x4, in world units; identity without it)

7-Scenes instead has STEM.color.png, STEM.depth.png and STEM.pose.txt in one folder; TUM has rgb/ and depth/ with times
as names, and groundtruth.txt (time tx ty tz qx qy qz qw) instead of poses.

Conventions found, and converted here once: poses are world_from_cam with OpenCV axes (ScanNet, 7-Scenes, Redwood, TUM);
calibrations come from OpenCV, where whole numbers are pixel centres, so principal points move by half a pixel. Depth is
along the camera's z axis, aligned with the colour picture and of its size, or moved into it where the depth camera has
files of its own. 7-Scenes' depth is not aligned as it is published, which a note says. The tests move depth points of a
made world from one frame into the other; no real set was at hand, so the half pixel is the usual convention and not
measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from ...errors import bad_input
from ...geometry import inverse
from ...io import PICTURE_SUFFIXES, picture_files, read_json, read_text, stored_hw, visible
from ...limits import MAX_VALUE
from ...schema import as_array
from ...types import SMALLEST_FOCAL_PX, Capture
from .checks import finish, missing_note, require_rigid, rounded_note
from .files import mask_of, read_matrix
from .lens import Lens
from .photographs import Photograph
from .registration import DepthCamera
from .undistortion import pinhole_for

LAYOUT = "RGB-D: rgb/ or color/ with depth/, pose/ (4x4, camera to world) or groundtruth.txt, and intrinsics.txt"
_MATRICES = ("intrinsics.txt", "camera-intrinsics.txt", "intrinsic/intrinsic_color.txt", "intrinsic.txt")
_DEPTH_MATRICES = ("depth_intrinsics.txt", "intrinsics_depth.txt", "intrinsic/intrinsic_depth.txt")
_TO_COLOUR = ("depth_to_color.txt", "depth_to_colour.txt", "intrinsic/depth_to_color.txt")
_EXTRINSICS = ("intrinsic/extrinsic_color.txt", "intrinsic/extrinsic_depth.txt")  # ScanNet's.
_JSON = ("camera_intrinsic.json", "intrinsic.json")
_STEPS_PER_UNIT, _TUM_STEPS_PER_UNIT = 1000.0, 5000.0
_TUM_TOLERANCE_S = 0.02
_FEWEST_STEPS = 1e-9


@dataclass(frozen=True)
class _Frame:
    name: str
    picture: Path
    depth: Path | None
    world_from_cam: np.ndarray | None
    where: str


def is_rgbd(folder: Path) -> bool:
    """Return True where a folder has colour pictures and either a folder of poses or of depth beside them."""
    poses = _first(folder, ("pose", "poses"), Path.is_dir)
    if visible(folder, "*.pose.txt"):
        return True
    colour = _first(folder, ("rgb", "color"), Path.is_dir)
    return colour is not None and (poses or _first(folder, ("depth", "groundtruth.txt"), Path.exists)) is not None


def rgbd_capture(folder: str | Path, *, long_side: int | None = None) -> Capture:
    """Read an RGB-D folder (see the top of this module for its layouts).

    Args:
        folder: One of the layouts.
        long_side: Pictures (and depth with them) are reduced to this many pixels at most.

    Raises:
        EquiviewError: A part is missing or does not parse, a pose is no rotation, or depth has another size.
    """
    folder = Path(folder)
    timed = (folder / "groundtruth.txt").is_file()
    frames = list(_timed(folder) if timed else _flat(folder) if visible(folder, "*.pose.txt") else _folders(folder))
    kept = [(frame, frame.world_from_cam) for frame in frames if frame.world_from_cam is not None]
    if not kept:
        fix = "Write one 4x4 camera-to-world matrix a picture, or groundtruth.txt."
        raise bad_input(str(folder), "pictures with poses", f"{len(frames)} pictures and no pose", fix)
    blind = [frame.name for frame, _ in kept if frame.depth is None]
    if len(blind) < len(kept):  # Depth everywhere or nowhere: a picture of the others would have no points.
        kept = [(frame, pose) for frame, pose in kept if frame.depth is not None]
    undo = pinhole_for(_lens(folder, stored_hw(kept[0][0].picture)), long_side)
    scale_file = folder / "depth_scale.txt"
    steps = _TUM_STEPS_PER_UNIT if timed else _STEPS_PER_UNIT
    if scale_file.is_file():
        steps = float(read_matrix(scale_file, [(1, 1)])[0, 0])
    if not _FEWEST_STEPS <= steps <= MAX_VALUE:
        raise bad_input(str(scale_file), "a positive number of steps in a world unit", f"{steps}", "Such as 1000.")
    depth_camera = _depth_camera(folder)
    photographs = [
        Photograph(
            frame.picture,
            undo,
            inverse(require_rigid(world_from_cam, frame.where)),
            frame.name,
            mask_of(frame.picture, [folder / "masks", folder / "mask"]),
            frame.depth,
            1 / steps,
            depth_camera,
        )
        for frame, world_from_cam in kept
    ]
    missing = [frame.name for frame in frames if frame.world_from_cam is None]
    notes = missing_note("poses", len(frames), missing) + rounded_note(pose for _, pose in kept)
    if len(blind) < len(frames) - len(missing):
        notes += missing_note("depth pictures", len(frames) - len(missing), blind)
    if depth_camera is None and len(blind) < len(kept) and visible(folder, "*.pose.txt"):
        notes += (
            "depth is taken as aligned with colour, which it is not in 7-Scenes as published (depth_intrinsics.txt)",
        )
    return finish(folder.resolve().name, photographs, notes=notes)


def _first(folder: Path, names: tuple[str, ...], test=Path.is_file) -> Path | None:
    return next((folder / name for name in names if test(folder / name)), None)


def _colour(folder: Path) -> list[Path]:
    place = _first(folder, ("rgb", "color"), Path.is_dir)
    found = picture_files(place) if place else []
    if not found:
        raise bad_input(str(folder), "pictures in rgb/ or color/", "none", f"Expected {LAYOUT}.")
    return found


def _folders(folder: Path) -> Iterator[_Frame]:
    poses = _first(folder, ("pose", "poses"), Path.is_dir) or folder / "pose"
    for picture in _colour(folder):
        depth = _first(folder / "depth", (f"{picture.stem}.png", f"{picture.stem}.npy"))
        pose = poses / f"{picture.stem}.txt"
        yield _Frame(picture.name, picture, depth, _pose(pose) if pose.is_file() else None, str(pose))


def _flat(folder: Path) -> Iterator[_Frame]:
    for pose in visible(folder, "*.pose.txt"):
        stem = pose.name.removesuffix(".pose.txt")
        picture = (
            _first(folder, tuple(f"{stem}.color{suffix}" for suffix in PICTURE_SUFFIXES))
            or folder / f"{stem}.color.png"
        )
        yield _Frame(stem, picture, _first(folder, (f"{stem}.depth.png",)), _pose(pose), str(pose))


def _pose(path: Path) -> np.ndarray | None:
    """Return a 4x4 pose; None where every number is infinite, ScanNet's mark of a frame that was lost."""
    pose = read_matrix(path, [(4, 4), (3, 4)])
    return None if np.isinf(pose[:3]).all() else pose


def _timed(folder: Path) -> Iterator[_Frame]:
    """Yield TUM's frames: to every picture the pose and the depth nearest in time, within 20 ms."""
    path = folder / "groundtruth.txt"
    rows = _rows(path, 8)
    depths = {float(one.stem): one for one in visible(folder / "depth", "*.png") if _is_number(one.stem)}
    times = np.array(sorted(depths))
    for picture in _colour(folder):
        if not _is_number(picture.stem):
            raise bad_input(str(picture), "a time in seconds as file name", picture.name, "Use TUM's names.")
        time = float(picture.stem)
        near, depth = _nearest(rows[:, 0], time), _nearest(times, time)
        pose = None if near is None else _from_quaternion(rows[near, 1:], f"{path} at {time}")
        yield _Frame(picture.name, picture, None if depth is None else depths[times[depth]], pose, f"{path} at {time}")


def _rows(path: Path, count: int) -> Float[np.ndarray, "n c"]:
    lines = read_text(path, "a list of poses").splitlines()
    words = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    wrong = next((row for row in words if len(row) != count or not all(map(_is_number, row))), None)
    if wrong is not None or not words:
        found = repr(" ".join(wrong)[:50]) if wrong else "no rows"
        raise bad_input(str(path), "rows of time tx ty tz qx qy qz qw", found, "Use TUM's format.")
    return np.array(words, float)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _nearest(times: Float[np.ndarray, "n"], time: float) -> int | None:
    if not len(times):
        return None
    found = int(np.abs(times - time).argmin())
    return found if abs(times[found] - time) <= _TUM_TOLERANCE_S else None


def _from_quaternion(row: Float[np.ndarray, "7"], where: str) -> Float[np.ndarray, "4 4"]:
    if not (np.abs(row) <= MAX_VALUE).all() or np.linalg.norm(row[3:]) < 1e-6:
        raise bad_input(where, "a finite pose", str(row.tolist()), "Leave this frame out, or restore its pose.")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(row[3:]).as_matrix()
    pose[:3, 3] = row[:3]
    return pose


def _lens(folder: Path, hw: tuple[int, int]) -> Lens:
    text, record = _first(folder, _MATRICES), _first(folder, _JSON)
    if text is not None:
        intrinsics = read_matrix(text, [(3, 3), (4, 4)])[:3, :3].copy()
    elif record is not None:
        intrinsics = _from_json(record)
    else:
        fix = "Write the 3x3 matrix of the colour camera, one row a line."
        raise bad_input(str(folder), f"intrinsics as {', '.join((*_MATRICES, *_JSON))}", "none", fix)
    intrinsics[:2, 2] += 0.5
    path = folder / "distortion.txt"
    sizes = [(1, 4), (1, 5), (1, 8)]
    coefficients = tuple(read_matrix(path, sizes)[0]) if path.is_file() else ()
    return Lens(intrinsics, hw, "perspective", coefficients)


def _depth_camera(folder: Path) -> DepthCamera | None:
    """Return the camera that measured depth; None where nothing says that it is another than the colour camera.

    Raises:
        EquiviewError: A file does not parse, or says how both cameras lie in a way that can be meant in two.
    """
    text, to_colour = _first(folder, _DEPTH_MATRICES), _first(folder, _TO_COLOUR)
    if text is None and to_colour is None:
        return None
    if text is None:
        fix = "Write the 3x3 matrix of the depth camera, one row a line."
        raise bad_input(str(folder), f"intrinsics of the depth camera as {', '.join(_DEPTH_MATRICES)}", "none", fix)
    for name in _EXTRINSICS if to_colour is None else ():
        path = folder / name
        if path.is_file() and not np.allclose(read_matrix(path, [(4, 4)]), np.eye(4), atol=1e-6):
            fix = (
                "Write depth_to_color.txt, the 4x4 matrix that moves points of the depth camera to the colour camera's."
            )
            raise bad_input(str(path), "the identity, or depth_to_color.txt beside it", "another transform", fix)
    intrinsics = read_matrix(text, [(3, 3), (4, 4)])[:3, :3].copy()
    intrinsics[:2, 2] += 0.5
    intrinsics = as_array(intrinsics, str(text), (3, 3), "Check the file.")
    if not np.isfinite(intrinsics).all() or min(np.diag(intrinsics)) < SMALLEST_FOCAL_PX:
        raise bad_input(str(text), "positive focal lengths", f"{np.diag(intrinsics)[:2].tolist()}", "Check the file.")
    pose = np.eye(4) if to_colour is None else require_rigid(read_matrix(to_colour, [(4, 4), (3, 4)]), str(to_colour))
    return DepthCamera(intrinsics, pose)


def _from_json(path: Path) -> Float[np.ndarray, "3 3"]:
    """Return Open3D's matrix, which it writes column by column."""
    record = read_json(path)
    values = record.get("intrinsic_matrix") if isinstance(record, dict) else None
    if not isinstance(values, list) or len(values) != 9:
        raise bad_input(str(path), "`intrinsic_matrix` with 9 numbers", repr(values)[:40], "Export it from Open3D.")
    return as_array(values, f"{path} intrinsic_matrix", (9,)).reshape(3, 3).T
