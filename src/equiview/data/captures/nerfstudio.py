"""Scenes of nerfstudio and instant-ngp (transforms.json), and of NeRF's Blender set (transforms_train.json).

Conventions found, and converted here once: `transform_matrix` is world_from_cam with OpenGL axes (x right, y up, z
backward); cx and cy count from the corner of the picture, as COLMAP's do, from which both tools take them, so they
stay. Without cx and cy the axis goes through the middle. The tests project points of a made world; on a real scene the
epipolar distance of matches is below a pixel, and far above it when the axes are not turned.
"""

import os
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...geometry import inverse
from ...io import PICTURE_SUFFIXES, natural_key, read_json, stored_hw
from ...render.references import find_file
from ...schema import as_number, as_text, as_whole
from ...types import SMALLEST_FOCAL_PX, Capture
from .checks import finish, missing_note, require_rigid, rounded_note
from .files import has_alpha, mask_of
from .lens import Lens
from .photographs import Photograph
from .undistortion import Undistortion, pinhole_for

LAYOUT = "nerfstudio or instant-ngp: transforms.json (or transforms_train.json) with the pictures it names"
_FILES = ("transforms.json", "transforms_train.json")
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])
_OPENCV = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"}
_OTHER_LENSES = ("ftheta_p0", "latlong", "equirectangular", "orthographic")  # Of instant-ngp.
_DEPTH_UNIT = 0.001  # nerfstudio's own default: millimetres in a scene of metres.


def find_transforms(folder: Path) -> Path | None:
    """Return the scene's file; None without one."""
    return next((folder / name for name in _FILES if (folder / name).is_file()), None)


def cam_from_world_of(world_from_gl: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Convert a camera-to-world pose with OpenGL axes to cam_from_world with OpenCV axes."""
    return inverse(world_from_gl @ GL_FROM_CV)


def nerfstudio_capture(folder: str | Path, *, long_side: int | None = None) -> Capture:
    """Read a scene, in the order of its file names; frames that are listed and not there become one note.

    Intrinsics (fl_x, fl_y, cx, cy, w, h, or camera_angle_x) and distortion (k1 k2 p1 p2 k3 k4; k1 to k4 of the fisheye
    model where `camera_model` is OPENCV_FISHEYE or `is_fisheye` is set) are a frame's own or the scene's. A mask is a
    frame's `mask_path`, a file in masks/, or the picture's alpha channel. Depth is `depth_file_path` or `depth_path`,
    times `depth_unit_scale_factor` or `integer_depth_scale` (0.001 when neither is given).

    Args:
        folder: Has transforms.json.
        long_side: Pictures are reduced to this many pixels at most.

    Raises:
        EquiviewError: The file does not parse or lacks something, a lens model is not known, none of the pictures is
            there, a pose is no rotation, or a picture has another size.
    """
    folder = Path(folder)
    path = find_transforms(folder)
    if path is None:
        raise bad_input(str(folder), LAYOUT, "none", "Give the folder that holds transforms.json.")
    scene = read_json(path)
    frames = scene.get("frames") if isinstance(scene, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise bad_input(str(path), "a list `frames` that is not empty", "none", "Export the scene again.")
    photographs, missing, poses, known = [], [], [], {}
    for number, frame in enumerate(frames):
        where = f"{path} frame {number}"
        listed = as_text(frame.get("file_path"), where, "`file_path`, a path", "Export the scene again.")
        picture = _picture(folder, listed)
        if picture is None:
            missing.append(PureWindowsPath(listed).name)  # Takes both separators.
            continue
        lens = _lens({**scene, **frame}, picture, where)
        key = (lens.intrinsics.tobytes(), lens.hw, lens.kind, lens.coefficients)
        if key not in known:  # Most scenes have one camera.
            known[key] = pinhole_for(lens, long_side)
        matrix = _matrix(frame, where)
        poses.append(matrix)
        photographs.append(_photograph(folder, picture, {**scene, **frame}, matrix, known[key], where))
    if not photographs:
        raise bad_input(str(path), "the pictures it lists", f"none of {len(frames)}", "Put the pictures beside it.")
    photographs = sorted(_named_apart(photographs, folder), key=lambda one: natural_key(one.name))
    notes = missing_note("images", len(frames), missing) + rounded_note(poses)
    return finish(folder.resolve().name, photographs, notes=notes)


def _matrix(frame: dict[str, Any], where: str) -> Float[np.ndarray, "..."]:
    try:
        return np.array(frame["transform_matrix"], float)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        fix = "Export the scene again."
        raise bad_input(where, "transform_matrix with 4x4 numbers", f"{error!r}"[:80], fix) from error


def _photograph(
    folder: Path, picture: Path, frame: dict[str, Any], matrix: np.ndarray, undo: Undistortion, where: str
) -> Photograph:
    cam_from_world = cam_from_world_of(require_rigid(matrix, f"{where} ({picture.name})"))
    mask = _beside(folder, frame, ("mask_path",), where) or mask_of(picture, [folder / "masks", folder / "mask"])
    if mask is None and has_alpha(picture):
        mask = picture
    depth = _beside(folder, frame, ("depth_file_path", "depth_path"), where)
    unit = frame.get("depth_unit_scale_factor") or frame.get("integer_depth_scale") or _DEPTH_UNIT
    return Photograph(picture, undo, cam_from_world, picture.name, mask, depth, float(unit))


def _named_apart(photographs: list[Photograph], folder: Path) -> list[Photograph]:
    """Name pictures by their file; where two folders use one name, by the path below the scene."""
    if len({one.name for one in photographs}) == len(photographs):
        return photographs
    return [replace(one, name=os.path.relpath(one.path, folder).replace(os.sep, "/")) for one in photographs]


def _picture(folder: Path, listed: str) -> Path | None:
    """Return a frame's picture; its path may lack the suffix."""
    tries = (find_file(listed + suffix, folder, strict=True) for suffix in ("", *PICTURE_SUFFIXES))
    return next((path for path in tries if path is not None), None)


def _beside(folder: Path, frame: dict[str, Any], keys: tuple[str, ...], where: str) -> Path | None:
    """Return a file the frame names; one that is named and missing is an error when it is read."""
    key = next((key for key in keys if frame.get(key)), None)
    if key is None:
        return None
    listed = as_text(frame[key], f"{where} `{key}`", "a path")
    tries = (find_file(listed + suffix, folder, strict=True) for suffix in ("", ".png"))
    return next((path for path in tries if path is not None), folder / listed)


def _lens(frame: dict[str, Any], picture: Path, where: str) -> Lens:
    """Return a frame's lens from its values and the scene's."""
    values = {key: _number(frame[key], key, where) for key in _NUMBERS if frame.get(key) is not None}
    h, w = stored_hw(picture) if not {"w", "h"} <= values.keys() else (round(values["h"]), round(values["w"]))
    angles = [_focal_px(values, "camera_angle_x", w), _focal_px(values, "camera_angle_y", h)]
    # One focal length in pixels means square pixels, whatever the angles say.
    fx, fy = values.get("fl_x") or angles[0], values.get("fl_y") or values.get("fl_x") or angles[1]
    if not fx and not fy:
        fix = "Write the focal length in pixels, for the scene or for every frame."
        raise bad_input(where, "intrinsics: fl_x or camera_angle_x", "neither", fix)
    axis = (values.get("cx", w / 2), values.get("cy", h / 2))
    intrinsics = np.array([[fx or fy, 0, axis[0]], [0, fy or fx, axis[1]], [0, 0, 1.0]])
    return Lens(intrinsics, (h, w), *_distortion(frame, values, where))


def _number(value: Any, key: str, where: str) -> float:
    """Return a number of a camera: a size is whole, a focal length above 0, an angle below 180 degrees."""
    what = f"{where} `{key}`"
    if key in ("w", "h"):
        return as_whole(value, what, 0, _LARGEST_SIDE)
    if key in ("fl_x", "fl_y"):
        return as_number(value, what, low=SMALLEST_FOCAL_PX)
    if key in _DEPTH_UNITS:
        return as_number(value, what, low=0)
    if key.startswith("camera_angle"):
        return as_number(value, f"{what} (radians)", low=1e-6, high=_WIDEST_ANGLE)
    return as_number(value, what)


_LARGEST_SIDE = 2**20  # Far above any picture that is read.
_WIDEST_ANGLE = 3.1  # 178 degrees; at 180 the focal length of a flat picture is 0.
_SIZES = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y")
_DEPTH_UNITS = ("depth_unit_scale_factor", "integer_depth_scale")
_NUMBERS = (*_SIZES, *_DEPTH_UNITS, "k1", "k2", "k3", "k4", "p1", "p2")


def _focal_px(values: dict[str, float], key: str, size_px: int) -> float | None:
    angle = values.get(key)
    return size_px / 2 / float(np.tan(angle / 2)) if angle else None


def _distortion(frame: dict[str, Any], values: dict[str, float], where: str) -> tuple[str, tuple[float, ...]]:
    """Return kind and coefficients of the lens."""
    other = next((key for key in _OTHER_LENSES if frame.get(key)), None)
    if other is not None:
        raise bad_input(where, "a perspective or OpenCV fisheye lens", other, "Undistort the pictures first.")
    model = str(frame.get("camera_model", "OPENCV")).upper()
    if model == "OPENCV_FISHEYE" or frame.get("is_fisheye"):
        return "fisheye", tuple(values.get(key, 0.0) for key in ("k1", "k2", "k3", "k4"))
    if model not in _OPENCV:
        fix = "Undistort the pictures first."
        raise bad_input(where, f"camera_model {', '.join(sorted(_OPENCV))} or OPENCV_FISHEYE", model, fix)
    return "polynomial", tuple(values.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3", "k4"))
