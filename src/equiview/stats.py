"""Intervals: percentile bootstrap over objects, the unit that was sampled."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from .records import Metric

DRAWS = 10_000
MIN_SAMPLING_UNITS = 5
# Draws at once: their weights are 512 x units numbers.
CHUNK_DRAWS = 512


def bootstrap_ci95(values: Sequence[float], seed: int = 0) -> list[float] | None:
    """Return the 95 % percentile bootstrap interval of the mean, 10,000 draws.

    Args:
        values: One value a unit (object, video, image). For a paired comparison give the differences.
        seed: Seed of the draws.

    Returns:
        [low, high], or None with fewer than 5 units: an interval from so few says nothing.
    """
    sample = np.asarray(values, np.float64)
    if len(sample) < MIN_SAMPLING_UNITS:
        return None
    draws = np.random.default_rng(seed).integers(len(sample), size=(DRAWS, len(sample)))
    low, high = np.percentile(sample[draws].mean(1), [2.5, 97.5])
    return [float(low), float(high)]


def mean_with_ci(values: Sequence[float]) -> Metric:
    """Return {"value", "ci95", "n"}; an empty sample has value None and n 0."""
    if len(values) == 0:
        return {"value": None, "ci95": None, "n": 0}
    return {"value": float(np.mean(values)), "ci95": bootstrap_ci95(values), "n": len(values)}


def cluster_ci95(
    totals: Float[np.ndarray, "u k"],
    statistic: Callable[[Float[np.ndarray, "d k"]], Float[np.ndarray, "d"]],
    seed: int = 0,
) -> list[float] | None:
    """Return the 95 % percentile bootstrap interval of a statistic of sums, drawing whole units, 10,000 draws.

    For scores whose units hold different numbers of samples: the pairs of one picture are drawn together, and a ratio
    is formed of the sums.

    Args:
        totals: What each unit adds, k numbers.
        statistic: From the sums of many draws [d, k] to their scores [d].
        seed: Seed of the draws.

    Returns:
        [low, high], or None with fewer than 5 units.
    """
    units = len(totals)
    if units < MIN_SAMPLING_UNITS:
        return None
    generator = np.random.default_rng(seed)
    scores = []
    for start in range(0, DRAWS, CHUNK_DRAWS):
        drawn = generator.integers(units, size=(min(CHUNK_DRAWS, DRAWS - start), units))
        weights = np.stack([np.bincount(one, minlength=units) for one in drawn])
        scores.append(statistic(weights @ totals))
    low, high = np.percentile(np.concatenate(scores), [2.5, 97.5])
    return [float(low), float(high)]
