"""What a model of COLMAP holds, in numbers and in our own types."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ...geometry import angle_between_deg
from ...types import SparseTracks
from .colmap import our_pose

# A direction around the object counts as seen when a camera stands within this angle of it.
SEEN_WITHIN_DEG = 20.0
_NEAR_CIRCLE_DEG = 40.0
_CIRCLE_DEG = np.arange(0.0, 360.0, 5.0)
_POINTS_LOOKED_AT = 4000


@dataclass(frozen=True)
class CaptureStatistics:
    """Numbers that say whether a capture is good.

    Attributes:
        images_given: Pictures that went in.
        images_registered: Pictures with a camera.
        images_without_points: Of those, pictures that see no point.
        models: Separate models COLMAP ended with; more than one means the pictures did not hang together.
        points: 3D points.
        observations: Pixels at which points were seen.
        mean_track_length: Observations of a point.
        median_error_px: Median distance of an observation from its point's projection; None without points.
        mean_error_px: Its mean.
        median_angle_deg: Median over the points of the largest angle between two of their viewing rays.
        circle_seen: Share (0 to 1) of the circle around the object with a camera within 20 degrees, see `circle_seen`.
        largest_view_angle_deg: Largest angle between two viewing directions of the middle of the points.
        baseline: Diagonal of the cameras' bounding box divided by their median distance to the points.
        matches_fitting: Share (0 to 1) of the feature matches within the allowed distance of the epipolar lines of the
            given poses; None when poses were recovered.
    """

    images_given: int
    images_registered: int
    images_without_points: int
    models: int
    points: int
    observations: int
    mean_track_length: float | None
    median_error_px: float | None
    mean_error_px: float | None
    median_angle_deg: float | None
    circle_seen: float | None
    largest_view_angle_deg: float | None
    baseline: float | None
    matches_fitting: float | None = None


@dataclass(frozen=True)
class ModelArrays:
    """A COLMAP model as arrays.

    Attributes:
        names: Registered pictures, in order.
        centers_in_world: Where their cameras are.
        cam_from_world: Their poses.
        tracks: Points and observations; `image` counts in `names`, pixels are those of COLMAP's camera (with its
            distortion where it has one).
        error_px: Reprojection error of each observation.
    """

    names: tuple[str, ...]
    centers_in_world: Float[np.ndarray, "n 3"]
    cam_from_world: Float[np.ndarray, "n 4 4"]
    tracks: SparseTracks
    error_px: Float[np.ndarray, "k"]


def model_arrays(model: Any, order: Sequence[str]) -> ModelArrays:
    """Read a `pycolmap.Reconstruction`.

    Args:
        model: The model.
        order: All pictures by name; those that are registered are kept, in this order.
    """
    ids = {image.name: number for number, image in model.images.items() if image.has_pose}
    names = tuple(name for name in order if name in ids)
    point_ids = sorted(model.points3D)
    row_of = {point: row for row, point in enumerate(point_ids)}
    points = np.array([model.points3D[point].xyz for point in point_ids], np.float64).reshape(-1, 3)
    image, point, xy, error = [], [], [], []
    for number, name in enumerate(names):
        one = model.images[ids[name]]
        seen = [(row_of[p.point3D_id], p.xy) for p in one.points2D if p.has_point3D()]
        rows = np.array([row for row, _ in seen], np.int64)
        at = np.array([pixel for _, pixel in seen], np.float64).reshape(-1, 2)
        in_cam = points[rows] @ our_pose(one)[:3, :3].T + our_pose(one)[:3, 3]
        projected = one.camera.img_from_cam(in_cam) if len(rows) else at
        image.append(np.full(len(rows), number))
        point.append(rows)
        xy.append(at)
        error.append(np.linalg.norm(projected - at, axis=1))
    poses = np.array([our_pose(model.images[ids[name]]) for name in names]).reshape(-1, 4, 4)
    centers = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    tracks = SparseTracks(points, _joined(image, int), _joined(point, int), _joined(xy, float).reshape(-1, 2))
    return ModelArrays(names, centers, poses, tracks, _joined(error, float))


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)


def describe(
    found: ModelArrays | None, images_given: int, models: int = 1, matches_fitting: float | None = None
) -> CaptureStatistics:
    """Return the numbers of a model; without one everything is nothing.

    Args:
        found: The model.
        images_given: Pictures that went in.
        models: How many models there were.
        matches_fitting: See `CaptureStatistics`.
    """
    if found is None or not len(found.tracks.points_in_world):
        registered = 0 if found is None else len(found.names)
        counts = (images_given, registered, registered, 0 if found is None else models, 0, 0)
        return CaptureStatistics(*counts, *(None,) * 7, matches_fitting)
    tracks = found.tracks
    middle = np.median(tracks.points_in_world, axis=0)
    size = float(np.linalg.norm(np.ptp(found.centers_in_world, axis=0)))
    distance = float(np.median(np.linalg.norm(found.centers_in_world - middle, axis=1)))
    return CaptureStatistics(
        images_given=images_given,
        images_registered=len(found.names),
        images_without_points=len(found.names) - len(np.unique(tracks.image)),
        models=models,
        points=len(tracks.points_in_world),
        observations=len(tracks.image),
        mean_track_length=len(tracks.image) / len(tracks.points_in_world),
        median_error_px=float(np.median(found.error_px)),
        mean_error_px=float(found.error_px.mean()),
        median_angle_deg=float(np.median(track_angles_deg(found))),
        circle_seen=circle_seen(found.centers_in_world, middle),
        largest_view_angle_deg=_largest_angle_deg(found.centers_in_world - middle),
        baseline=size / max(distance, 1e-12),
        matches_fitting=matches_fitting,
    )


def track_angles_deg(found: ModelArrays) -> Float[np.ndarray, "m"]:
    """Return the largest angle between two viewing rays of each point; of at most 4000 points, evenly taken."""
    tracks = found.tracks
    order = np.argsort(tracks.point, kind="stable")
    starts = np.searchsorted(tracks.point[order], np.arange(len(tracks.points_in_world) + 1))
    step = max(1, len(tracks.points_in_world) // _POINTS_LOOKED_AT)
    angles = []
    for row in range(0, len(tracks.points_in_world), step):
        seen_by = tracks.image[order[starts[row] : starts[row + 1]]]
        angles.append(_largest_angle_deg(found.centers_in_world[seen_by] - tracks.points_in_world[row]))
    return np.array(angles)


def circle_seen(centers: Float[np.ndarray, "n 3"], middle: Float[np.ndarray, "3"]) -> float:
    """Return the share (0 to 1) of a circle around an object that has a camera within 20 degrees.

    Three circles are tried, across the main axes of the viewing directions, and the best counts. Cameras more than 40
    degrees above or below a circle say nothing about it: all around a face at 45 degrees is still one side of a head.
    """
    directions = centers - middle
    directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    axes = np.linalg.svd(directions)[2]
    shares = []
    for number in range(3):
        axis, first, second = np.roll(axes, -number, axis=0)
        flat = directions[np.abs(directions @ axis) <= np.sin(np.deg2rad(_NEAR_CIRCLE_DEG))]
        if len(flat):
            azimuth = np.degrees(np.arctan2(flat @ second, flat @ first))
            away = np.abs((_CIRCLE_DEG[:, None] - azimuth + 180) % 360 - 180)
            shares.append(float((away.min(axis=1) <= SEEN_WITHIN_DEG).mean()))
    return max(shares)


def _largest_angle_deg(rays: Float[np.ndarray, "n 3"]) -> float:
    if len(rays) < 2:
        return 0.0
    return float(np.max(angle_between_deg(rays[:, None], rays[None])))
