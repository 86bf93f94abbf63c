"""Percentage of correct key points: three thresholds and the averages that papers take. Values are percent (0 to 100).

| threshold | length it is a share of | comparison | used by |
|---|---|---|---|
| `image` | longer side of the target picture | < | PF-PASCAL (the paper) |
| `box` | longer side of the target's bounding box | < | SPair-71k, AP-10K |
| `extent` | larger range of the target's key points, x or y | <= | PF-WILLOW (HPF and its successors) |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Bool, Float

from ..records import Metric
from ..stats import cluster_ci95

ALPHAS = (0.05, 0.10, 0.15)
# Finer than a token, shown beside the usual ones.
FINE_ALPHAS = (0.01, 0.03)
Threshold = Literal["image", "box", "extent"]
Average = Literal["pair", "point", "class"]


@dataclass(frozen=True)
class Scoring:
    """How errors become a score.

    Attributes:
        threshold: Which length alpha is a share of.
        average: The headline: `pair` is the mean over pairs of each pair's share, `point` the share of all points,
            `class` the share of points in each class, averaged with the number of pairs as weight.
        inclusive: An error equal to the threshold counts as correct.
    """

    threshold: Threshold
    average: Average
    inclusive: bool = False


_PASCAL, _BOX, _IMAGE = Scoring("image", "class"), Scoring("box", "point"), Scoring("image", "pair")
# The usual score of each data set, by the names of `data.keypoints.loaders`.
SCORINGS = {
    "pf-willow": Scoring("extent", "pair", inclusive=True),
    "pf-pascal": _PASCAL,
    "pf-pascal-same": _PASCAL,
    "spair": _BOX,
    "spair-val": _BOX,
    "ap10k": _BOX,
    "ap10k-cross-species": _BOX,
    "ap10k-cross-family": _BOX,
    "tss": _IMAGE,
    "json": _IMAGE,
}


def image_px(image_hw: tuple[int, int]) -> float:
    """Return the longer side of a picture."""
    return float(max(image_hw))


def box_px(box_wh: tuple[float, float]) -> float:
    """Return the longer side of a bounding box."""
    return float(max(box_wh))


def extent_px(xy: Float[np.ndarray, "n 2"]) -> float:
    """Return the larger range of key points, over x or y; 0 without points."""
    return float(np.ptp(xy, axis=0).max()) if len(xy) else 0.0


def correct(
    errors_px: Float[np.ndarray, "n"], length_px: float, alpha: float, *, inclusive: bool = False
) -> Bool[np.ndarray, "n"]:
    """Say which errors are below alpha x length (or equal to it when inclusive)."""
    threshold = alpha * length_px
    return errors_px <= threshold if inclusive else errors_px < threshold


def pck(errors_px: Float[np.ndarray, "n"], length_px: float, alpha: float, *, inclusive: bool = False) -> float:
    """Return the share of correct points, percent."""
    return float(100 * correct(errors_px, length_px, alpha, inclusive=inclusive).mean())


@dataclass(frozen=True)
class PairCount:
    """What a pair adds to a score.

    Attributes:
        category: Its class.
        unit: What the bootstrap draws: the source picture.
        hits: Correct points.
        points: Scored points.
    """

    category: str
    unit: str
    hits: int
    points: int

    @property
    def share(self) -> float:
        return self.hits / self.points


def summarize_counts(counts: Sequence[PairCount], average: Average) -> Metric:
    """Return every average of one PCK; the headline with its interval.

    Returns:
        value, ci95 (bootstrap over source pictures: all pairs of a picture are drawn together), n (pairs), and the
        averages: per_pair, per_point, class_mean (unweighted), class_weighted (by pairs), by_category.
    """
    if not counts:
        return {"value": None, "ci95": None, "n": 0}
    table, classes = _table(counts)
    whole = table.sum(0)
    averages = {name: float(average_of(whole[None])[0]) for name, average_of in AVERAGES.items()}
    name = HEADLINES[average]
    ci95 = cluster_ci95(table.reshape(len(table), -1), lambda sums: AVERAGES[name](sums.reshape(-1, len(classes), 4)))
    of_classes = {
        name: {"per_pair": 100 * share / n, "per_point": 100 * hits / points, "n": int(n)}
        for name, (share, hits, points, n) in zip(classes, whole.tolist(), strict=True)
    }
    metric: Metric = {"value": averages[name], "ci95": ci95, "n": len(counts)}
    return cast(Metric, metric | averages | {"by_category": of_classes})


def headline(counts: Sequence[PairCount], average: Average) -> float:
    """Return the value of `summarize_counts` alone."""
    return float(AVERAGES[HEADLINES[average]](_table(counts)[0].sum(0)[None])[0])


def _table(counts: Sequence[PairCount]) -> tuple[Float[np.ndarray, "units classes 4"], list[str]]:
    """Return what each source picture adds: share, hits, points and pairs of each class; and the classes."""
    units = {name: row for row, name in enumerate(sorted({c.unit for c in counts}))}
    classes = {name: column for column, name in enumerate(sorted({c.category for c in counts}))}
    table = np.zeros((len(units), len(classes), 4))
    for c in counts:
        table[units[c.unit], classes[c.category]] += (c.share, c.hits, c.points, 1)
    return table, list(classes)


Sums = Float[np.ndarray, "d classes 4"]


def _class_points(sums: Sums) -> Float[np.ndarray, "d classes"]:
    """Return the share of correct points of each class; 0 for a class a draw has none of (its weight is 0 too)."""
    return np.divide(sums[..., 1], sums[..., 2], out=np.zeros(sums.shape[:2]), where=sums[..., 2] > 0)


AVERAGES: dict[str, Callable[[Sums], Float[np.ndarray, "d"]]] = {
    "per_pair": lambda sums: 100 * sums[..., 0].sum(1) / sums[..., 3].sum(1),
    "per_point": lambda sums: 100 * sums[..., 1].sum(1) / sums[..., 2].sum(1),
    "class_mean": lambda sums: 100 * _class_points(sums).sum(1) / (sums[..., 3] > 0).sum(1),
    "class_weighted": lambda sums: 100 * (_class_points(sums) * sums[..., 3]).sum(1) / sums[..., 3].sum(1),
}
HEADLINES = {"pair": "per_pair", "point": "per_point", "class": "class_weighted"}
