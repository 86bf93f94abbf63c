"""Visible correspondences between two views of one object.

Exact ones from the 3D points behind the pixels, where views hold them (renders, depth); from the tracks of a capture
that has sparse points only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import bad_input
from ..geometry import project, view_angle_deg
from ..types import Camera, Correspondences, SparseTracks, View
from .captures.views import CaptureViews

# A projected point is compared with the surface at the four pixel centres around it. In units of one pixel's
# footprint on the surface: how far it may lie off that surface's tangent plane, and how far away along it.
PLANE_TOLERANCE_PX = 1.0
DISTANCE_TOLERANCE_PX = 2.5
# A slanted surface stretches a pixel's footprint by 1 / cos; past this cosine the stretch is not followed.
MIN_COSINE = 0.15


def sample_surface(view: View, n: int, seed: int) -> Float[np.ndarray, "m 2"]:
    """Draw pixel centres on the object, uniformly and without replacement.

    Args:
        view: The view.
        n: How many to draw; all of them when the mask is smaller.
        seed: Same seed, same pixels.

    Returns:
        Pixels xy, m = min(n, mask size).

    Raises:
        EquiviewError: The mask is empty.
    """
    rows, cols = np.nonzero(view.mask)
    if len(rows) == 0:
        raise bad_input(
            f"view {view.name!r}",
            "an object in the picture",
            "an empty mask",
            "Check the mesh, its scale and the camera; the object must be in front of it.",
        )
    chosen = np.random.default_rng(seed).choice(len(rows), size=min(n, len(rows)), replace=False)
    chosen.sort()
    return np.stack([cols[chosen], rows[chosen]], -1) + 0.5


def pixel_index(xy: Float[np.ndarray, "n 2"]) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Return row and column of the pixel each xy lies in."""
    column_row = np.floor(xy).astype(np.int64)
    return column_row[:, 1], column_row[:, 0]


def visible_in(
    view: View, points_in_world: Float[np.ndarray, "n 3"], normals_in_world: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """Project surface points into a view and say which of them it sees.

    A point is seen when it projects inside the image, its normal faces the camera, and the surface this view
    holds at one of the four pixel centres around it is the same surface (close to its tangent plane, and near).

    Returns:
        Pixels xy of all points, and True where visible.
    """
    xy, depth = project(view.camera, points_in_world)
    h, w = view.camera.hw
    inside = (depth > 0) & (xy >= 0).all(-1) & (xy < (w, h)).all(-1)
    to_camera = view.camera.center_in_world - points_in_world
    cosine = (normals_in_world * to_camera).sum(-1) / np.linalg.norm(to_camera, axis=-1)
    candidate = np.nonzero(inside & (cosine > 0))[0]
    visible = np.zeros(len(xy), bool)
    visible[candidate] = _on_the_seen_surface(view, points_in_world[candidate], xy[candidate], depth[candidate])
    return xy, visible


def _on_the_seen_surface(
    view: View, points: Float[np.ndarray, "n 3"], xy: Float[np.ndarray, "n 2"], depth: Float[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    h, w = view.camera.hw
    footprint = depth / view.camera.intrinsics[0, 0]
    corner = np.floor(xy - 0.5).astype(np.int64)
    center = view.camera.center_in_world
    seen = np.zeros(len(points), bool)
    for step in ((0, 0), (1, 0), (0, 1), (1, 1)):
        cols, rows = (np.clip(corner + step, 0, (w - 1, h - 1))).T
        there, normal = view.points_in_world[rows, cols], view.normals_in_world[rows, cols]
        offset = points - there
        ray = center - there
        cosine = np.abs((normal * ray).sum(-1)) / np.linalg.norm(ray, axis=-1)
        stretched = footprint / np.maximum(cosine, MIN_COSINE)
        off_plane = np.abs((offset * normal).sum(-1))
        # NaN outside the mask compares False, which is the right answer: background holds no surface.
        seen |= (off_plane < PLANE_TOLERANCE_PX * footprint) & (
            np.linalg.norm(offset, axis=-1) < DISTANCE_TOLERANCE_PX * stretched
        )
    return seen


def correspond(
    view_0: View,
    view_1: View,
    xy0: Float[np.ndarray, "n 2"],
    center_in_world: Float[np.ndarray, "3"] | None = None,
) -> Correspondences:
    """Return where the surface points under pixels `xy0` of view 0 lie in view 1, the visible ones.

    Args:
        view_0: The view the points were sampled in.
        view_1: The other view of the same object.
        xy0: Pixel centres on the object in view 0 (see `sample_surface`).
        center_in_world: Object centre for the view angle; the origin when None (objects are centred).
    """
    rows, cols = pixel_index(xy0)
    points = view_0.points_in_world[rows, cols].astype(np.float64)
    xy1, visible = visible_in(view_1, points, view_0.normals_in_world[rows, cols])
    center = np.zeros(3) if center_in_world is None else center_in_world
    return Correspondences(
        xy0=xy0[visible],
        xy1=xy1[visible],
        points_in_world=points[visible],
        index=np.nonzero(visible)[0],
        overlap=float(visible.mean()) if len(visible) else 0.0,
        angle_deg=view_angle_deg(view_0.camera, view_1.camera, center),
    )


@dataclass(frozen=True)
class PointSample:
    """Points of one view whose places in other views can be known.

    Attributes:
        xy: Pixels.
        points_in_world: What they show.
        track: The track each belongs to; None where the surface itself is known.
    """

    xy: Float[np.ndarray, "n 2"]
    points_in_world: Float[np.ndarray, "n 3"]
    track: Int[np.ndarray, "n"] | None = None


def tracks_of(views: Sequence[Any]) -> SparseTracks | None:
    """Return the sparse truth of views that have no surface of their own, else None."""
    return views.tracks if isinstance(views, CaptureViews) else None


def sample_points(views: Sequence[View], index: int, n: int, seed: int) -> PointSample:
    """Draw points of view `index`: pixel centres on the surface, or observed tracks.

    Args:
        views: All views of the object.
        index: Which of them.
        n: How many to draw, at most.
        seed: Same seed, same points.

    Raises:
        EquiviewError: The view shows nothing of the object.
    """
    tracks = tracks_of(views)
    if tracks is None:
        view = views[index]
        xy = sample_surface(view, n, seed)
        return PointSample(xy, view.points_in_world[pixel_index(xy)].astype(np.float64))
    own = np.nonzero(tracks.image == index)[0]
    own = np.sort(np.random.default_rng(seed).permutation(own)[:n])
    return PointSample(tracks.xy[own], tracks.points_in_world[tracks.point[own]], tracks.point[own])


def known_points(views: Sequence[View], index: int, step_px: int) -> PointSample:
    """Return the points of view `index` on a regular grid of pixel centres, or its observed tracks, all of them.

    Args:
        views: All views of the object.
        index: Which of them.
        step_px: Distance of the grid's points; each lies at the pixel centre right of and below its cell's middle.
    """
    tracks = tracks_of(views)
    if tracks is not None:
        own = np.nonzero(tracks.image == index)[0]
        return PointSample(tracks.xy[own], tracks.points_in_world[tracks.point[own]], tracks.point[own])
    view = views[index]
    rows, cols = np.meshgrid(*(np.arange(step_px // 2, size, step_px) for size in view.camera.hw), indexing="ij")
    on = view.mask[rows, cols] & np.isfinite(view.points_in_world[rows, cols]).all(-1)
    xy = np.stack([cols[on], rows[on]], -1) + 0.5
    return PointSample(xy, view.points_in_world[rows[on], cols[on]].astype(np.float64))


def correspond_in(views: Sequence[View], pair: tuple[int, int], sample: PointSample) -> Correspondences:
    """Return where the sampled points of the first view lie in the second, the visible ones.

    Args:
        views: All views of the object.
        pair: Numbers of the two views.
        sample: From `sample_points` for the first.
    """
    tracks = tracks_of(views)
    if tracks is None or sample.track is None:
        return correspond(views[pair[0]], views[pair[1]], sample.xy)
    there = np.nonzero(tracks.image == pair[1])[0]
    # A point is visible where its track says that it was seen, and nowhere else.
    place = np.full(len(tracks.points_in_world), -1)
    place[tracks.point[there]] = there
    found = place[sample.track]
    seen = np.nonzero(found >= 0)[0]
    return Correspondences(
        xy0=sample.xy[seen],
        xy1=tracks.xy[found[seen]],
        points_in_world=sample.points_in_world[seen],
        index=seen,
        overlap=len(seen) / len(found) if len(found) else 0.0,
        angle_deg=view_angle_deg(*_cameras(views, pair), np.zeros(3)),
    )


def _cameras(views: Sequence[View], pair: tuple[int, int]) -> tuple[Camera, Camera]:
    """Return the cameras without reading the pictures, where that can be had."""
    if isinstance(views, CaptureViews):
        return views.cameras[pair[0]], views.cameras[pair[1]]
    return views[pair[0]].camera, views[pair[1]].camera
