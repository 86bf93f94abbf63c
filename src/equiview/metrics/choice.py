"""Which of many candidates is best, and which cannot be told from it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..stats import MIN_SAMPLING_UNITS, mean_with_ci
from .equivariance import ANGLE_BINS_DEG, object_values, view_values
from .paired import difference

TIE_POINTS = 0.3
"""Candidates so close to the best one count as equal, and the cheapest of them is taken."""
GOALS = {"matching": "pcdp@0.05", "position": "pcdp@0.02", "transfer": "pck@0.10"}
Row = Mapping[str, Any]


def unit_scores(rows: Iterable[Row], metric: str) -> dict[str, dict[str, float]]:
    """Return the score of each variant in each unit.

    Units are objects, or the source views of all objects where there are fewer objects than an interval needs. A unit's
    score is the mean over its angle bins (pairs of a category have none), so that every range of angles counts alike,
    however many of a rig's pairs lie in it.

    Args:
        rows: With variant, object, pair, the metric, and angle_deg where there are angles.
        metric: Its name.
    """
    by_variant: dict[str, list[Row]] = {}
    for row in rows:
        if metric in row:
            by_variant.setdefault(row["variant"], []).append(row)
    return {variant: _by_unit(own, metric) for variant, own in by_variant.items()}


def _by_unit(rows: Sequence[Row], metric: str) -> dict[str, float]:
    values_of = object_values if len({row["object"] for row in rows}) >= MIN_SAMPLING_UNITS else view_values
    if "angle_deg" not in rows[0]:
        return values_of(rows, metric)
    bins: dict[str, list[float]] = {}
    for edges in ANGLE_BINS_DEG:
        for unit, value in values_of(rows, metric, None, edges).items():
            bins.setdefault(unit, []).append(value)
    return {unit: float(np.mean(values)) for unit, values in bins.items()}


def rank(scores: Mapping[str, Mapping[str, float]], cost: Mapping[str, tuple[int, ...]], metric: str) -> dict[str, Any]:
    """Compare candidates in pairs of units.

    Args:
        scores: By candidate and unit, higher is better.
        cost: By candidate; of equals the lowest is taken.
        metric: Its name.

    Returns:
        {"best": the highest mean, "pick": the cheapest within `TIE_POINTS` of it and within its noise, "candidates":
        {name: {"value", "ci95", "n", "to_best": {"value", "ci95"}, "within_noise"}}}. "within_noise" says whether the
        95 % interval of the difference to the best one reaches zero; None where there are too few units for one.
    """
    means = {name: float(np.mean(list(own.values()))) for name, own in scores.items()}
    best = max(means, key=lambda name: (means[name], [-part for part in cost[name]]))
    found: dict[str, dict[str, Any]] = {}
    for name, own in scores.items():
        to_best = difference(scores[best], own, metric)
        ci95 = to_best["ci95"]
        found[name] = {
            **mean_with_ci(list(own.values())),
            "to_best": {"value": to_best["value"], "ci95": ci95},
            "within_noise": True if name == best else None if ci95 is None else ci95[1] >= 0,
        }
    near = [
        n for n, own in found.items() if own["to_best"]["value"] >= -TIE_POINTS and own["within_noise"] is not False
    ]
    return {"best": best, "pick": min(near, key=lambda n: (cost[n], -means[n])), "candidates": found}
