"""Intervals: percentile bootstrap over objects, the unit that was sampled."""

from collections.abc import Sequence

import numpy as np

DRAWS = 10_000
MIN_UNITS = 5


def bootstrap_ci95(values: Sequence[float], seed: int = 0) -> list[float] | None:
    """Return the 95 % percentile bootstrap interval of the mean, 10,000 draws.

    Args:
        values: One value a unit (object, video, image). For a paired comparison give the differences.
        seed: Seed of the draws.

    Returns:
        [low, high], or None with fewer than 5 units: an interval from so few says nothing.
    """
    sample = np.asarray(values, np.float64)
    if len(sample) < MIN_UNITS:
        return None
    draws = np.random.default_rng(seed).integers(len(sample), size=(DRAWS, len(sample)))
    low, high = np.percentile(sample[draws].mean(1), [2.5, 97.5])
    return [float(low), float(high)]


def mean_with_ci(values: Sequence[float]) -> dict[str, object]:
    """Return {"value", "ci95", "n"}; an empty sample has value None and n 0."""
    if len(values) == 0:
        return {"value": None, "ci95": None, "n": 0}
    return {"value": float(np.mean(values)), "ci95": bootstrap_ci95(values), "n": len(values)}
