"""Which surface points cannot be told apart by what they look like.

A point is ambiguous when some other point of the same object, more than 0.1 object sizes away, has a patch of
colours and normals closer than a threshold. A patch is described without any network, and without regard to
its rotation, by rings around the point. The threshold was fixed on development objects (`benchmarks/ambiguity.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

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
_AT_ONCE = 128  # Patches described together: of a thousand points each they take about 30 MB.


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
    tree, kept, rows = cKDTree(cloud[:, :3]), [at[:0, :3]], [np.empty((0, RINGS * 8))]
    for start in range(0, len(at), _AT_ONCE):
        some = at[start : start + _AT_ONCE]
        near = tree.query_ball_point(some[:, :3], radius)
        of = np.repeat(np.arange(len(some)), [len(index) for index in near])
        index = np.fromiter(chain.from_iterable(near), np.intp, len(of))
        descriptions, populated = _describe(cloud[index], some, of, radius)
        kept.append(some[populated, :3])
        rows.append(descriptions[populated])
    return SurfacePatches(np.concatenate(kept), np.concatenate(rows))


def _describe(
    near: Float[np.ndarray, "k 9"], centers: Float[np.ndarray, "m 6"], of: Int[np.ndarray, "k"], radius: float
) -> tuple[Float[np.ndarray, "m d"], Bool[np.ndarray, "m"]]:
    """Return the descriptions of patches, and which have all rings populated; `of` says whose each point is."""
    cosine = np.einsum("kx,kx->k", near[:, 3:6], centers[of, 3:])
    # The far side of a thin part lies within the radius too, but no patch shows both sides.
    same_side = cosine > 0
    near, cosine, of = near[same_side], cosine[same_side], of[same_side]
    # Rings of equal area, so that each holds about as many points.
    offset = near[:, :3] - centers[of, :3]
    ring = (np.sqrt(np.add.reduce(offset * offset, axis=1)) / radius) ** 2 * RINGS
    ring = of * RINGS + np.minimum(ring.astype(int), RINGS - 1)
    values = np.concatenate([near[:, 6:], cosine[:, None]], 1)
    count = np.bincount(ring, minlength=len(centers) * RINGS)
    mean = _sums(values, ring, len(count)) / np.maximum(count, 1)[:, None]
    spread = np.sqrt(_sums((values - mean[ring]) ** 2, ring, len(count)) / np.maximum(count, 1)[:, None])
    return np.concatenate([mean, spread], 1).reshape(len(centers), -1), count.reshape(-1, RINGS).min(1) >= 3


def _sums(values: Float[np.ndarray, "k c"], ring: Int[np.ndarray, "k"], rings: int) -> Float[np.ndarray, "r c"]:
    return np.stack([np.bincount(ring, column, rings) for column in values.T], 1)


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
