"""Correlations of weighted points, and the draws behind their intervals.

Every statistic takes weights [d, n]: how often each of n points was drawn in each of d draws. One function so serves
the value itself (one draw, all weights 1) and its bootstrap. Pearson and Spearman agree with scipy.stats; ties have
their average rank. The partial correlations subtract from every point the mean of its family (the same as a regression
on family dummies), so that only differences within families are left.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

DRAWS = 10_000
# Ranks are counted in a table of draws x points x points, at most so many cells at once.
CELLS = 20_000_000
# Relative variance below which a score counts as constant: what rounding leaves of equal numbers.
FLAT = 1e-12

Weights = Float[np.ndarray, "d n"]
Values = Float[np.ndarray, "d n"]
Families = Int[np.ndarray, "n"]
Statistic = Callable[[Values, Values, Weights, Families], Float[np.ndarray, "d"]]


def pearson(x: Values, y: Values, weights: Weights, families: Families) -> Float[np.ndarray, "d"]:
    """Return Pearson's correlation of every draw; NaN where a score is constant. Families do not matter."""
    return _correlation(x, y, weights)


def spearman(x: Values, y: Values, weights: Weights, families: Families) -> Float[np.ndarray, "d"]:
    """Return Spearman's rank correlation of every draw; NaN where a score is constant."""
    return _correlation(ranks(x, weights), ranks(y, weights), weights)


def partial_pearson(x: Values, y: Values, weights: Weights, families: Families) -> Float[np.ndarray, "d"]:
    """Return Pearson's correlation given the family; NaN where a score is constant within every family."""
    totals = [_spread(value, weights) for value in (x, y)]
    return _correlation(_centred(x, weights, families), _centred(y, weights, families), weights, totals)


def partial_spearman(x: Values, y: Values, weights: Weights, families: Families) -> Float[np.ndarray, "d"]:
    """Return the correlation of ranks (over all points) given the family."""
    return partial_pearson(ranks(x, weights), ranks(y, weights), weights, families)


STATISTICS: dict[str, Statistic] = {
    "pearson": pearson,
    "spearman": spearman,
    "partial_pearson": partial_pearson,
    "partial_spearman": partial_spearman,
}


def _mean(values: Values, weights: Weights) -> Float[np.ndarray, "d 1"]:
    return (values * weights).sum(1, keepdims=True) / weights.sum(1, keepdims=True)


def _spread(values: Values, weights: Weights) -> Float[np.ndarray, "d"]:
    """Return the weighted sum of squares about the mean."""
    return (weights * (values - _mean(values, weights)) ** 2).sum(1)


def _correlation(
    x: Values, y: Values, weights: Weights, totals: Sequence[Float[np.ndarray, "d"]] | None = None
) -> Float[np.ndarray, "d"]:
    """Correlate; what is left of a score that is flat against `totals` (by default, against its own size) is NaN."""
    x, y = np.broadcast_to(x, weights.shape), np.broadcast_to(y, weights.shape)
    a, b = x - _mean(x, weights), y - _mean(y, weights)
    sizes = totals or [(weights * value**2).sum(1) for value in (x, y)]
    xx, yy, xy = ((weights * left * right).sum(1) for left, right in ((a, a), (b, b), (a, b)))
    flat = (xx <= FLAT * sizes[0]) | (yy <= FLAT * sizes[1])
    correlation = np.full(len(weights), np.nan)
    correlation[~flat] = xy[~flat] / np.sqrt(xx[~flat] * yy[~flat])
    return np.clip(correlation, -1, 1)


def ranks(values: Values, weights: Weights) -> Values:
    """Return the average rank (from 1) of each point among all drawn ones; equal values share theirs."""
    if len(values) == 1:
        less, equal = values[0][None] < values[0][:, None], values[0][None] == values[0][:, None]
        return weights @ less.T + (weights @ equal.T + 1) / 2
    less, equal = values[:, None] < values[:, :, None], values[:, None] == values[:, :, None]
    return np.einsum("dn,dmn->dm", weights, less) + (np.einsum("dn,dmn->dm", weights, equal) + 1) / 2


def _centred(values: Values, weights: Weights, families: Families) -> Values:
    """Subtract the mean of the drawn points of each family; points that were not drawn weigh nothing."""
    member = np.eye(int(families.max()) + 1)[families]
    sums, counts = (values * weights) @ member, weights @ member
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return values - means @ member.T


def draw_points(families: Families, draws: int, generator: np.random.Generator) -> Weights:
    """Draw families with replacement, then as many points as each has within it, with replacement."""
    count = int(families.max()) + 1
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    weights = np.zeros((draws, len(families)))
    for family in range(count):
        members = np.flatnonzero(families == family)
        share = np.full(len(members), 1 / len(members))
        weights[:, members] = generator.multinomial(drawn[:, family] * len(members), share)
    return weights


def draw_scores(
    values: Float[np.ndarray, "n"],
    units: Float[np.ndarray, "n u"] | None,
    draws: int,
    generator: np.random.Generator,
) -> Values:
    """Return the scores of every draw, moved by the mean over drawn units (the same for all points), or as they are."""
    if units is None:
        return values[None]
    drawn = generator.multinomial(units.shape[1], np.full(units.shape[1], 1 / units.shape[1]), size=draws)
    return values + drawn @ units.T / units.shape[1] - units.mean(1)


def bootstrap(
    statistics: Sequence[str], x: Values, y: Values, weights: Weights, families: Families
) -> dict[str, Float[np.ndarray, "d"]]:
    """Return every statistic of every draw, a chunk of draws at a time."""
    step = max(1, CELLS // max(1, weights.shape[1] ** 2))
    draws: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        x_part, y_part = (value if len(value) == 1 else value[part] for value in (x, y))
        for name in statistics:
            draws[name].append(STATISTICS[name](x_part, y_part, weights[part], families))
    return {name: np.concatenate(parts) for name, parts in draws.items()}


def shuffles(
    y: Float[np.ndarray, "n"], families: Families, draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "d n"]:
    """Return y with its values shuffled within every family."""
    shuffled = np.broadcast_to(y, (draws, len(y))).copy()
    for family in np.unique(families):
        members = np.flatnonzero(families == family)
        shuffled[:, members] = generator.permuted(shuffled[:, members], axis=1)
    return shuffled
