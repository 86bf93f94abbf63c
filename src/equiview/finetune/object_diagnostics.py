"""Object diagnostics: how much the features of a training object change with the view, and how many points say so.

From 22 scanned and procedural objects one step on six views gained 0.0 to 0.8 points on others, and nothing measured of
them (change, points, colours, size in the picture) foretold it. A thin rod, which covers a token or two across, lost; a
white sphere taught nothing, and no rule here catches it (`benchmarks/training_objects.py`, docs/science.md).
"""

import logging
from collections.abc import Sequence

import torch

from ..sampling import sample
from ..types import FeatureMap
from .head_pairs import TrainingPair

log = logging.getLogger(__name__)

ENOUGH_CHANGE = 0.2
"""Least view scatter over the variance of unlabeled images: a thin rod has 0.09, large_marker 0.51."""
ENOUGH_POINTS = 500
"""Fewest correspondences that say how features change."""


def warn_if_little(name: str, change: float, points: int) -> str | None:
    """Log what is wrong with a training object, and return it; None when nothing is.

    Args:
        name: Of the object or objects.
        change: Trace of its view scatter over the trace of the covariance of unlabeled images.
        points: Correspondences.
    """
    if points < ENOUGH_POINTS:
        text = f"{name}: only {points} points are seen in two views; {ENOUGH_POINTS} or more teach. Use more views."
    elif change < ENOUGH_CHANGE:
        text = (
            f"{name}: its features change little with the view ({change:.2f} of the variance of unlabeled images; "
            f"{ENOUGH_CHANGE} or more teaches). It may be too thin or too small in its pictures: use another object."
        )
    else:
        return None
    log.warning(text)
    return text


def change_of(pairs: Sequence[TrainingPair], unlabeled: Sequence[FeatureMap]) -> float:
    """Return the view scatter of an object's pairs over the variance of unlabeled images, both as traces."""
    total, points = 0.0, 0
    for pair in pairs:
        moved = sample(pair.source, pair.xy0) - sample(pair.target, pair.xy1)
        total, points = total + float(moved.square().sum()) / 2, points + len(moved)
    tokens = torch.cat([fmap.tokens.flatten(1)[:, ::7] for fmap in unlabeled], 1)
    return total / max(1, points) / max(float(tokens.var(1).sum()), 1e-30)
