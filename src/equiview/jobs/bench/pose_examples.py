"""A located query beside the nearest reference: the object's points at its true place and at the one that was found."""

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from ...draw.canvas import GREY, RIGHT, TRUE, WRONG, Canvas, Colour
from ...errors import EquiviewError
from ...geometry import angle_between_deg, project
from ...matching.pose.references import picture_of
from ...types import Camera, PosedImage, PoseScene, UnusableQuery

Row = Mapping[str, Any]
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
DOTS = 120
GOOD_DEG = 5.0


def example_canvas(left: UInt8[np.ndarray, "h w 3"], right: UInt8[np.ndarray, "h w 3"]) -> Canvas:
    """Return the canvas of every example: two pictures of one height."""
    return Canvas(left, right, height_px=280, gap_px=6, ground=GREY)


def pose_order(row: Row) -> float:
    """Return what queries are ordered by: the rotation error; not found at all is worst."""
    return float(row.get("rotation_error_deg", 360.0))


def pose_example(
    scene: PoseScene, query: PosedImage | UnusableQuery, box: Box | None, row: Row
) -> tuple[np.ndarray, str]:
    """Draw one query and say how far off it is; grey where it cannot be used."""
    if isinstance(query, UnusableQuery):
        left = picture_of(scene.references[0])
        words = f"{scene.name}, {query.name}: not located ({query.reason})"
        return example_canvas(left, np.full_like(left, 128)).rgb(), words
    # The viewing axes are compared, since an object need not lie at the origin.
    axes = np.stack([reference.camera.cam_from_world[2, :3] for reference in scene.references])
    angles = angle_between_deg(axes, query.camera.cam_from_world[2, :3])
    nearest = int(np.argmin(angles))
    canvas = example_canvas(picture_of(scene.references[nearest]), _picture(query))
    _draw(canvas, query.camera, scene, box, TRUE)
    words = f"{scene.name}, {query.name}; nearest reference (left) {angles[nearest]:.0f}\u00b0 away: "
    if "failed" in row:
        return canvas.rgb(), words + f"not located ({row['failed']})"
    found = Camera(query.camera.intrinsics, np.array(row["cam_from_world"]), query.camera.hw)
    _draw(canvas, found, scene, box, RIGHT if row["rotation_error_deg"] < GOOD_DEG else WRONG)
    moved = f", {row['translation_error_cm']:.1f} cm" if "translation_error_cm" in row else ""
    agree = f"; {row['n_inliers']} of {row['n_matches']} matches agree" if "n_inliers" in row else ""
    return canvas.rgb(), words + f"{row['rotation_error_deg']:.1f}\u00b0{moved} off{agree}"


def _picture(query: PosedImage) -> UInt8[np.ndarray, "h w 3"]:
    """Return the query; grey where its file cannot be read, which is why it was not located."""
    try:
        return picture_of(query)
    except EquiviewError:
        return np.full((*query.camera.hw, 3), 128, np.uint8)


def _draw(canvas: Canvas, camera: Camera, scene: PoseScene, box: Box | None, colour: Colour) -> None:
    """Draw points of the object's model; the edges of its box, or the world's axes, where there is no model."""
    if scene.model_points is not None:
        for xy in _seen(camera, scene.model_points[:: max(1, len(scene.model_points) // DOTS)]):
            canvas.dot(canvas.right, xy, colour, 1.8, rim=0)  # A rim would hide so small a dot.
        return
    corners = np.array(list(product(*zip(*box, strict=True)))) if box is not None else _axes(camera)
    if box is None:
        edges = [(0, 1), (0, 2), (0, 3)]
    else:
        edges = [(i, j) for i, j in combinations(range(8), 2) if np.sum(corners[i] != corners[j]) == 1]
    xy = _seen(camera, corners)
    for i, j in edges:
        canvas.line([(canvas.right, xy[i]), (canvas.right, xy[j])], colour)


def _axes(camera: Camera) -> Float[np.ndarray, "4 3"]:
    length = 0.1 * float(np.linalg.norm(camera.center_in_world))
    return np.concatenate([np.zeros((1, 3)), length * np.eye(3)])


def _seen(camera: Camera, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    xy, depth = project(camera, points)
    inside = (depth > 0) & (np.abs(xy) < 10 * max(camera.hw)).all(1)
    return np.where(inside[:, None], xy, np.nan)
