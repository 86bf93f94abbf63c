"""Which surface points cannot be told apart by what they look like.

A point is ambiguous when some other point of the same object, more than 0.1 object sizes away, has a patch of
colours and normals closer than a threshold. A patch is described without any network, and without regard to
its rotation, by rings around the point. The threshold was fixed on development objects (`benchmarks/ambiguity.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from ..geometry import angle_between_deg
from ..types import View

# Two patches closer than this look the same. Mean over development objects of the median distance between two
# descriptions of the SAME point, made from disjoint halves of the views (0.137; baselines/ambiguity.json).
PATCH_THRESHOLD = 0.13
MIN_SEPARATION = 0.1
# Half a token of 16 px in a 640 px picture of the paper's rig (radius 2, f = 560 px at 512): 6.4 / 560 * 2.
TOKEN_RADIUS = 0.023
RINGS = 3
MAX_CLOUD = 60_000
MAX_POINTS = 2_000
MAX_SLANT_DEG = 60.0


@dataclass(frozen=True)
class SurfacePatches:
    """Points on the surface with the description of the patch around each."""

    points: Float[np.ndarray, "n 3"]
    descriptions: Float[np.ndarray, "n d"]


def surface_cloud(views: Sequence[View], seed: int = 0) -> Float[np.ndarray, "n 9"]:
    """Gather points, normals and colours (0-1) that the views see from not too steep an angle."""
    rng = np.random.default_rng(seed)
    parts = []
    for view in views:
        rows, cols = np.nonzero(view.mask)
        keep = rng.permutation(len(rows))[: MAX_CLOUD // max(1, len(views))]
        points = view.points_in_world[rows[keep], cols[keep]].astype(np.float64)
        normals = view.normals_in_world[rows[keep], cols[keep]].astype(np.float64)
        colors = view.rgb[rows[keep], cols[keep]] / 255.0
        frontal = angle_between_deg(normals, view.camera.center_in_world - points) < MAX_SLANT_DEG
        parts.append(np.concatenate([points, normals, colors], 1)[frontal])
    return np.concatenate(parts)


def describe_patches(
    cloud: Float[np.ndarray, "n 9"], at: Float[np.ndarray, "m 6"], radius: float = TOKEN_RADIUS
) -> SurfacePatches:
    """Describe the patch around each point of `at` (position, normal) by rings of the cloud's colours and normals.

    Each ring gives the mean and spread of colour, and of the angle cosine between normals there and at the
    centre. Points whose rings are not all populated are left out.
    """
    near = cKDTree(cloud[:, :3]).query_ball_point(at[:, :3], radius)
    kept, rows = [], []
    for number, index in enumerate(near):
        description = _describe(cloud[np.array(index, np.intp)], at[number], radius)
        if description is not None:
            kept.append(number)
            rows.append(description)
    width = RINGS * 8
    return SurfacePatches(at[kept, :3], np.array(rows).reshape(-1, width))


def _describe(
    near: Float[np.ndarray, "k 9"], center: Float[np.ndarray, "6"], radius: float
) -> Float[np.ndarray, "d"] | None:
    cosine = near[:, 3:6] @ center[3:]
    # The far side of a thin part lies within the radius too, but no patch shows both sides.
    same_side = cosine > 0
    near, cosine = near[same_side], cosine[same_side]
    # Rings of equal area, so that each holds about as many points.
    offset = near[:, :3] - center[:3]
    ring = (np.sqrt(np.add.reduce(offset * offset, axis=1)) / radius) ** 2 * RINGS
    ring = np.minimum(ring.astype(int), RINGS - 1)
    values = np.concatenate([near[:, 6:], cosine[:, None]], 1)
    parts = []
    for number in range(RINGS):
        inside = values[ring == number]
        if len(inside) < 3:
            return None
        # Mean and standard deviation, without what numpy's own methods add to each of thousands of small arrays.
        mean = np.add.reduce(inside) / len(inside)
        away = inside - mean
        parts += [mean, np.sqrt(np.add.reduce(away * away) / len(inside))]
    return np.concatenate(parts)


def ambiguous_patches(patches: SurfacePatches, threshold: float = PATCH_THRESHOLD) -> Bool[np.ndarray, "n"]:
    """Return True where another patch, more than 0.1 object sizes away, is closer than the threshold."""
    tree = cKDTree(patches.descriptions)
    ambiguous = np.zeros(len(patches.points), bool)
    for number, others in enumerate(tree.query_ball_point(patches.descriptions, threshold)):
        apart = np.linalg.norm(patches.points[others] - patches.points[number], axis=1) > MIN_SEPARATION
        ambiguous[number] = apart.any()
    return ambiguous


class AmbiguityMap:
    """Says of any surface point of one object whether it is ambiguous (by its nearest described point).

    Args:
        views: Views of the object, together seeing most of its surface.
        seed: Which points are described.
        threshold: Patch distance below which two points look the same.
    """

    def __init__(self, views: Sequence[View], seed: int = 0, threshold: float = PATCH_THRESHOLD) -> None:
        cloud = surface_cloud(views, seed)
        chosen = np.random.default_rng(seed + 1).permutation(len(cloud))[:MAX_POINTS]
        patches = describe_patches(cloud, cloud[chosen, :6])
        self.flags = ambiguous_patches(patches, threshold)
        self._tree = cKDTree(patches.points) if len(patches.points) else None

    @property
    def share(self) -> float:
        """Share (0-1) of the described surface that is ambiguous."""
        return float(self.flags.mean()) if len(self.flags) else 0.0

    def is_ambiguous(self, points_in_world: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
        """Return the flag of the nearest described point."""
        if self._tree is None or len(points_in_world) == 0:
            return np.zeros(len(points_in_world), bool)
        index: Int[np.ndarray, "n"] = self._tree.query(points_in_world)[1]
        return self.flags[index]
