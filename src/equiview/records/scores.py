"""Scores with intervals, and their paired differences."""

from typing import NotRequired, TypedDict


class Score(TypedDict):
    """A mean with its interval.

    Keys:
        value: The mean; None when nothing could be averaged.
        ci95: Lowest and highest end of the 95 % interval; None with fewer than five sampling units.
        n: Sampling units (objects, clips, pairs, queries).
    """

    value: float | None
    ci95: list[float] | None
    n: int


class Metric(Score):
    """A metric of a summary.

    Keys:
        by_angle: The same score in each range of viewing angles, by "LOW-HIGH" (degrees).
        ci95_views: Of a single object, the interval over its source views.
        unit: What the interval is over, where it varies ("clip" or "point").
        ceiling: The same score of the token centre nearest to each true place: the best there is without localisation
            between tokens.
        per_pair: Mean over pairs (semantic transfer, as all that follow).
        per_point: Share of all key points.
        class_mean: Mean over categories.
        class_weighted: Mean over categories, weighted by their pairs.
        by_category: {"per_pair", "per_point", "n"} of each category.
    """

    by_angle: NotRequired[dict[str, "Metric"]]
    ci95_views: NotRequired[list[float] | None]
    unit: NotRequired[str]
    ceiling: NotRequired[float | None]
    per_pair: NotRequired[float]
    per_point: NotRequired[float]
    class_mean: NotRequired[float]
    class_weighted: NotRequired[float]
    by_category: NotRequired[dict[str, dict[str, float]]]


class Difference(Score):
    """A paired difference: after minus before, over the sampling units that both have.

    Keys:
        relative: The difference in percent of the value before.
        n_improved: Sampling units that became better.
        before: Mean of the first run (comparisons of two runs).
        after: Mean of the second run.
        reason: Why a score has no value although both runs name it.
        ci95_views: Of a single object, the interval over its source views.
        by_angle: The difference in each range of viewing angles, by "LOW-HIGH" (degrees).
        control: The control that `vs_best_control` compares with.
        vs_best_control: The difference to the best control.
    """

    relative: float | None
    n_improved: int
    before: NotRequired[float | None]
    after: NotRequired[float | None]
    reason: NotRequired[str]
    ci95_views: NotRequired[list[float] | None]
    by_angle: NotRequired[dict[str, "Difference"]]
    control: NotRequired[str]
    vs_best_control: NotRequired["Difference"]


Metrics = dict[str, Metric]
Differences = dict[str, Difference]


# APE and PCDP at the three published thresholds, and at two fine ones, which rows of older versions lack.
PairScores = TypedDict(
    "PairScores",
    {
        "ape": float,
        "pcdp@0.05": float,
        "pcdp@0.1": float,
        "pcdp@0.2": float,
        "pcdp@0.01": NotRequired[float],
        "pcdp@0.02": NotRequired[float],
    },
)
