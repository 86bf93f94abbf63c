"""How well matches fit the cameras, where the cameras are known and no points are: the epipolar score.

It is a weak score. A point of one picture lies on a line in the other, so a match on the line may still be wrong
along it, and some wrong matches lie near their lines by chance. It says something beside its chance level only.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..errors import bad_input
from ..geometry import homogeneous, symmetric_distance_px, unit_lines

# Distances of all matches to all other matches' lines are formed for this many pairs at a time: 32 MB.
CHUNK_DISTANCES = 2_000_000


def epipolar_shares(
    fundamental: Float[np.ndarray, "3 3"],
    xy0: Float[np.ndarray, "n 2"],
    xy1: Float[np.ndarray, "n 2"],
    thresholds_px: Sequence[float],
    scale: tuple[float, float] = (1.0, 1.0),
) -> dict[str, float]:
    """Return the share of matches near their epipolar lines and what it would be by chance, percent.

    Chance is the same share when every match is given the target of ANOTHER match: its exact mean over all ways to do
    so, from all n (n - 1) combinations. The same tokens, the same masks and the same cameras stay; only who belongs
    to whom is lost. Matches that know nothing score this, wherever the object is and however the lines run.

    Returns:
        For each k `epipolar_inliers@{k}px`, `epipolar_chance@{k}px`, and their difference
        `epipolar_above_chance@{k}px`.

    Raises:
        EquiviewError: Fewer than two matches.

    Memory: `CHUNK_DISTANCES` combinations at a time.
    """
    n = len(xy0)
    if n < 2:
        raise bad_input("epipolar score", "two matches or more", str(n), "Use larger pictures, or check the masks.")
    limits = np.asarray(thresholds_px, np.float64)
    own = symmetric_distance_px(fundamental, xy0, xy1, scale)
    hits = (own[:, None] <= limits).sum(0)
    every = np.zeros(len(limits), np.int64)
    step = max(1, CHUNK_DISTANCES // n)
    lines_1 = unit_lines(homogeneous(xy0) @ fundamental.T)
    lines_0 = unit_lines(homogeneous(xy1) @ fundamental)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        # The same distances as `symmetric_distance_px`, of every match of these rows to every target.
        in_1 = np.abs(lines_1[rows] @ homogeneous(xy1).T) * scale[1]
        distance = np.maximum(in_1, np.abs(homogeneous(xy0[rows]) @ lines_0.T) * scale[0])
        every += np.array([np.count_nonzero(distance <= limit) for limit in limits])
    inliers, chance = 100 * hits / n, 100 * (every - hits) / (n * (n - 1))
    shares: dict[str, float] = {}
    for k, inlier, other in zip(thresholds_px, inliers, chance, strict=True):
        shares[f"epipolar_inliers@{k:g}px"] = float(inlier)
        shares[f"epipolar_chance@{k:g}px"] = float(other)
        shares[f"epipolar_above_chance@{k:g}px"] = float(inlier - other)
    return shares
