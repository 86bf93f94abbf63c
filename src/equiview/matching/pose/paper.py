"""The published one-shot protocol, quirks included: grid points, dot products, OpenCV's EPNP in RANSAC, 8 px.

Source: 3DCorrEnhance (arXiv 2411.19458), `evaluate.py`, `oneposepp`. Pixels here are the reference's own: integers are
pixel centres, so subtract half a pixel from corner coordinates (and from the principal point) before.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from ...errors import EquiviewError
from ...sampling import descriptors
from ...types import FeatureMap
from ..nearest import mutual_nearest
from .solve import check_intrinsics

GRID_STRIDE_PX = 4
_MIN_MATCHES, _MORE_THAN_INLIERS, _MILLIMETRES = 4, 5, 1000


@dataclass(frozen=True)
class PaperPose:
    """What the published protocol finds.

    Attributes:
        cam_from_world: The pose; None where the reference takes the identity (too few matches or inliers).
        query_index: Matched grid points.
        template_index: What they are matched with.
        inliers: Which matches agree (indices); empty without a pose.
    """

    cam_from_world: Float[np.ndarray, "4 4"] | None
    query_index: Int[np.ndarray, "m"]
    template_index: Int[np.ndarray, "m"]
    inliers: Int[np.ndarray, "k"]


def grid_points(hw: tuple[int, int], stride_px: int = GRID_STRIDE_PX) -> Float[np.ndarray, "n 2"]:
    """Return the query points: every 4th integer pixel, row by row."""
    xs, ys = np.meshgrid(np.arange(0, hw[1], stride_px), np.arange(0, hw[0], stride_px))
    return np.stack([xs.ravel(), ys.ravel()], 1).astype(np.float64)


def paper_descriptors(fmap: FeatureMap, grid: Float[np.ndarray, "n 2"]) -> Float[torch.Tensor, "n c"]:
    """Return the descriptors at grid points: the reference takes its integer pixel x as the place x of the picture."""
    return descriptors(fmap, torch.from_numpy(grid).float())


def paper_pose(
    query: Float[torch.Tensor, "n c"],
    grid: Float[np.ndarray, "n 2"],
    template: Float[torch.Tensor, "m c"],
    points_m: Float[np.ndarray, "m 3"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> PaperPose:
    """Match and solve as published.

    Args:
        query: Descriptors at the grid points.
        grid: Their pixels, see `grid_points`.
        template: Template descriptors (the reference thins them to 120,000).
        points_m: Their points in metres.
        intrinsics: Of the picture, integer pixels being centres.

    Raises:
        EquiviewError: OpenCV is not installed (extra `cv`), or the intrinsics are no camera matrix.
    """
    intrinsics = check_intrinsics(intrinsics)
    index_0, index_1, _ = (one.cpu().numpy() for one in mutual_nearest(query, template))
    nothing = PaperPose(None, index_0, index_1, np.zeros(0, np.int64))
    if len(index_0) < _MIN_MATCHES:
        return nothing
    cv2 = _opencv()
    _, turn, shift, inliers = cv2.solvePnPRansac(
        points_m[index_1] * _MILLIMETRES,
        grid[index_0],
        intrinsics,
        None,
        reprojectionError=8.0,
        iterationsCount=10000,
        flags=cv2.SOLVEPNP_EPNP,
    )
    if inliers is None or len(inliers) <= _MORE_THAN_INLIERS:
        return nothing
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = cv2.Rodrigues(turn)[0]
    cam_from_world[:3, 3] = shift[:, 0] / _MILLIMETRES
    return PaperPose(cam_from_world, index_0, index_1, inliers[:, 0].astype(np.int64))


def _opencv():
    try:
        import cv2
    except ImportError as error:
        fix = "pip install 'equiview[cv]'"
        raise EquiviewError(f"The pose protocol `paper` needs OpenCV, which is not installed. {fix}") from error
    return cv2
