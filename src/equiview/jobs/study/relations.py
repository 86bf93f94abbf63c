"""One pair of scores over many points: how they go together, how sure that is, and what it hangs on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from ...errors import bad_input
from ...records import BetweenFamilies, LeftOut, Relation, Statistic, WithinFamilies
from ...stats import MIN_SAMPLING_UNITS
from .points import PointSet
from .statistics import DRAWS, STATISTICS, bootstrap, draw_points, draw_scores, pearson, shuffles, spearman

# Below either no interval is given: a handful of points always finds some relation.
MIN_POINTS, MIN_FAMILIES = 10, 5
# A statistic that is not defined in more of its draws (all points of one family, say) gets no interval.
MAX_UNDEFINED = 0.05
# Differences within families that a partial correlation needs (points minus families), and its interval.
MIN_WITHIN, MIN_WITHIN_INTERVAL = 3, 10
DIGITS = 4


@dataclass(frozen=True)
class Sample:
    """The points that have both scores, turned so that more is better.

    Attributes:
        x, y: The scores.
        families: Number of each point's family.
        names: Of the families, by number.
        units_x, units_y: Values by object [n, u], where every point has the same objects (5 or more).
    """

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    families: Int[np.ndarray, "n"]
    names: list[str]
    units_x: Float[np.ndarray, "n u"] | None = None
    units_y: Float[np.ndarray, "n v"] | None = None


def relate(points: PointSet, x: str, y: str, *, cluster: str = "family", seed: int = 0) -> Relation:
    """Return what two scores have to do with each other.

    Args:
        points: The points; those that lack one of the scores are left out, and counted.
        x: A score.
        y: Another.
        cluster: What is drawn as a whole: `family`, or a tag.
        seed: Of the draws.

    Returns:
        {"x", "y", "turned" (scores of which less is better: their sign was changed), "n", "n_families", "families":
        {name: points}, "missing": {"x", "y"} (points without that score), "few" (why there is no interval, or ""),
        "pearson", "spearman", "partial_pearson", "partial_spearman": {"value", "ci95", "ci95_points"},
        "between_families": {"n", "pearson", "spearman", "p"}, "within_families": {"n_points", "n_families", "p"},
        "leave_one_family_out": {"spearman": {"low", "high", "without_low", "without_high", "flips"},
        "partial_spearman": the same}, "units": {"x", "y"} (objects drawn)}. A value that is not defined is None.

    Raises:
        EquiviewError: Fewer than three points have both scores, or a point lacks the tag.
    """
    sample, missing = _sample(points, x, y, cluster)
    values = {name: _value(name, sample) for name in STATISTICS}
    counts = np.bincount(sample.families)
    few = _too_few(len(sample.x), len(counts), values)
    statistics = _statistics(sample, values, few, np.random.default_rng([seed, 1]))
    return {
        "x": x,
        "y": y,
        "turned": [name for name in (x, y) if points.sign(name) < 0],
        "n": len(sample.x),
        "n_families": len(counts),
        "families": {name: int(count) for name, count in zip(sample.names, counts, strict=True)},
        "missing": missing,
        "few": few,
        "pearson": statistics["pearson"],
        "spearman": statistics["spearman"],
        "partial_pearson": statistics["partial_pearson"],
        "partial_spearman": statistics["partial_spearman"],
        "between_families": _between(sample, np.random.default_rng([seed, 2])),
        "within_families": _within(sample, values, np.random.default_rng([seed, 3])),
        "leave_one_family_out": {name: _leave_out(name, sample) for name in ("spearman", "partial_spearman")},
        "units": {k: None if u is None else u.shape[1] for k, u in (("x", sample.units_x), ("y", sample.units_y))},
    }


def _sample(points: PointSet, x: str, y: str, cluster: str) -> tuple[Sample, dict[str, int]]:
    a, b, groups = points.values(x), points.values(y), np.array(points.groups(cluster))
    both = ~np.isnan(a) & ~np.isnan(b)
    missing = {"x": int(np.isnan(a).sum()), "y": int(np.isnan(b).sum())}
    if both.sum() < 3:
        found = f"{int(both.sum())} of {len(a)} ({missing['x']} lack the first, {missing['y']} the second)"
        raise bad_input(f"{x} and {y}", "three points that have both", found, "Give more results, or other scores.")
    # In order of appearance, as the legend of the figures.
    names = list(dict.fromkeys(groups[both].tolist()))
    families = np.array([names.index(name) for name in groups[both]])
    units = [_units(points, name, both) for name in (x, y)]
    return Sample(a[both], b[both], families, names, *units), missing


def _units(points: PointSet, score: str, both: np.ndarray) -> Float[np.ndarray, "n u"] | None:
    """Return the values by object of the points, where all have the same objects and there are enough of them."""
    own = [point.units.get(score, {}) for point, kept in zip(points.points, both, strict=True) if kept]
    names = sorted(own[0])
    if len(names) < MIN_SAMPLING_UNITS or any(sorted(one) != names for one in own):
        return None
    return points.sign(score) * np.array([[one[name] for name in names] for one in own])


def _value(name: str, sample: Sample, kept: np.ndarray | None = None) -> float | None:
    """Return a statistic of the points (or some of them), None where it is not defined."""
    kept = np.ones(len(sample.x), bool) if kept is None else kept
    if kept.sum() < 3:
        return None
    families = np.unique(sample.families[kept], return_inverse=True)[1]
    if name.startswith("partial") and kept.sum() - (families.max() + 1) < MIN_WITHIN:
        return None
    x, y, weights = sample.x[kept][None], sample.y[kept][None], np.ones((1, int(kept.sum())))
    value = float(STATISTICS[name](x, y, weights, families)[0])
    return None if np.isnan(value) else value


def _too_few(n: int, families: int, values: dict[str, float | None]) -> str:
    if values["spearman"] is None:
        return "one of the scores is the same for all points"
    reasons = [f"{n} points, fewer than {MIN_POINTS}"] if n < MIN_POINTS else []
    reasons += [f"{families} {_plural(families)}, fewer than {MIN_FAMILIES}"] if families < MIN_FAMILIES else []
    return " and ".join(reasons)


def _plural(families: int) -> str:
    return "family" if families == 1 else "families"


def _statistics(
    sample: Sample, values: dict[str, float | None], few: str, generator: np.random.Generator
) -> dict[str, Statistic]:
    """Return every statistic with both intervals: families drawn whole, and points drawn as if independent."""
    found: dict[str, Statistic] = {
        name: {"value": _rounded(value), "ci95": None, "ci95_points": None} for name, value in values.items()
    }
    if len(sample.x) < MIN_POINTS:
        return found
    alone = np.zeros(len(sample.x), int)
    kinds: tuple[tuple[Literal["ci95", "ci95_points"], Int[np.ndarray, "n"]], ...]
    kinds = (("ci95", sample.families), ("ci95_points", alone))
    for key, clusters in kinds:
        names = [name for name in _with_interval(sample, key) if values[name] is not None]
        if (key == "ci95" and few) or not names:
            continue
        weights = draw_points(clusters, DRAWS, generator)
        x = draw_scores(sample.x, sample.units_x, DRAWS, generator)
        y = draw_scores(sample.y, sample.units_y, DRAWS, generator)
        for name, draws in bootstrap(names, x, y, weights, sample.families).items():
            if np.isnan(draws).mean() <= MAX_UNDEFINED:
                found[name][key] = [_rounded(float(q)) for q in np.nanpercentile(draws, [2.5, 97.5])]
    return found


def _with_interval(sample: Sample, key: str) -> list[str]:
    """Return the statistics that have enough to draw from: a partial one lives on families with several points."""
    counts = np.bincount(sample.families)
    several = counts[counts > 1]
    within = several.sum() - len(several) >= MIN_WITHIN_INTERVAL
    within &= key == "ci95_points" or len(several) >= MIN_FAMILIES
    return [name for name in STATISTICS if within or not name.startswith("partial")]


def _between(sample: Sample, generator: np.random.Generator) -> BetweenFamilies:
    """Correlate the means of the families, one point each; p of Spearman's by shuffling the means."""
    count = len(sample.names)
    means = [np.bincount(sample.families, value) / np.bincount(sample.families) for value in (sample.x, sample.y)]
    family, one = np.arange(count), np.ones((1, count))
    if count < 3:
        return {"n": count, "pearson": None, "spearman": None, "p": None}
    first, second = means[0][None], means[1][None]
    rank = float(spearman(first, second, one, family)[0])
    if np.isnan(rank):
        return {"n": count, "pearson": None, "spearman": None, "p": None}
    drawn = shuffles(means[1], np.zeros(count, int), DRAWS, generator)
    null = bootstrap(["spearman"], first, drawn, np.ones((DRAWS, count)), family)["spearman"]
    linear = float(pearson(first, second, one, family)[0])
    return {"n": count, "pearson": _rounded(linear), "spearman": _rounded(rank), "p": _p(rank, null)}


def _within(sample: Sample, values: dict[str, float | None], generator: np.random.Generator) -> WithinFamilies:
    """Count what is left within families; p of the partial Spearman by shuffling y within every family."""
    counts = np.bincount(sample.families)
    found: WithinFamilies = {
        "n_points": int(counts[counts > 1].sum()),
        "n_families": int((counts > 1).sum()),
        "p": None,
    }
    value = values["partial_spearman"]
    if value is not None:
        shuffled = shuffles(sample.y, sample.families, DRAWS, generator)
        weights = np.ones_like(shuffled)
        null = bootstrap(["partial_spearman"], sample.x[None], shuffled, weights, sample.families)["partial_spearman"]
        found["p"] = _p(value, null)
    return found


def _p(value: float, null: Float[np.ndarray, "d"]) -> float:
    """Return the two-sided p of a shuffle test; the value itself counts as one of the shuffles."""
    reached = np.abs(null) >= abs(value) - 1e-12
    return float((1 + reached.sum()) / (1 + len(null)))


def _leave_out(name: str, sample: Sample) -> LeftOut | None:
    """Return the range of a statistic when one family is left out, and the families whose absence turns its sign."""
    whole = _value(name, sample)
    left = {family: _value(name, sample, sample.families != i) for i, family in enumerate(sample.names)}
    known = {family: value for family, value in left.items() if value is not None}
    if whole is None or len(sample.names) < 2 or not known:
        return None
    low = min(known, key=lambda family: known[family])
    high = max(known, key=lambda family: known[family])
    flips = [family for family, value in known.items() if value * whole < 0]
    return {
        "low": _rounded(known[low]),
        "high": _rounded(known[high]),
        "without_low": low,
        "without_high": high,
        "flips": flips,
        "n": len(known),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
