"""Recall of matches between posed views: the share that ends near enough, in space or in the picture, by rotation."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..geometry import project
from ..types import Camera


def recall(errors: Float[np.ndarray, "n"], threshold: float) -> float:
    """Return the share of errors below a threshold, percent (strict <)."""
    return float(100 * (errors < threshold).mean())


def recalls(
    error_cm: Float[np.ndarray, "n"],
    error_px: Float[np.ndarray, "n"],
    thresholds_cm: Sequence[float],
    thresholds_px: Sequence[float],
) -> dict[str, float]:
    """Return `recall@Tcm` and `recall@Tpx` of one pair's matches, percent."""
    found = {f"recall@{limit:g}cm": recall(error_cm, limit) for limit in thresholds_cm}
    return found | {f"recall@{limit:g}px": recall(error_px, limit) for limit in thresholds_px}


def match_errors(
    points_0: Float[np.ndarray, "n 3"], points_1: Float[np.ndarray, "n 3"], camera_1: Camera
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Return how far the two surface points of each match are apart: in world units, and in pixels of view 1.

    Source: El Banani et al., CVPR 2024 (Probe3D). A point of view 0 that lies behind camera 1 is infinitely far away
    in its picture.

    Args:
        points_0: What each match shows in view 0, world coordinates.
        points_1: What it shows in view 1, world coordinates.
        camera_1: The camera of view 1.
    """
    (xy_0, depth), (xy_1, _) = project(camera_1, points_0), project(camera_1, points_1)
    error_px = np.where(depth > 0, np.linalg.norm(xy_0 - xy_1, axis=-1), np.inf)
    return np.linalg.norm(points_0 - points_1, axis=-1), error_px


def bin_name(low: float, high: float) -> str:
    """Return what a bin of rotations is called, such as "30-60deg"."""
    return f"{low:g}-{high:g}deg"


def bin_members(angles_deg: Sequence[float], edges_deg: Sequence[float]) -> dict[str, list[int]]:
    """Return which pairs are in each bin of rotations, low <= angle < high; an angle beyond the edges is in none."""
    return {
        bin_name(low, high): [number for number, angle in enumerate(angles_deg) if low <= angle < high]
        for low, high in zip(edges_deg[:-1], edges_deg[1:], strict=True)
    }
