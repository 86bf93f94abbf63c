"""The scores, as pure functions. Every value is a percentage (0 to 100)."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from ..records import PairScores

PCDP_THRESHOLDS = (0.05, 0.1, 0.2)
# Finer than a token, shown beside the published ones.
FINE_PCDP = (0.01, 0.02)
ANGLE_BINS_DEG = ((0, 45), (45, 90), (90, 180))
METRIC_NAMES = ("ape", *(f"pcdp@{threshold:g}" for threshold in PCDP_THRESHOLDS))
FINE_NAMES = tuple(f"pcdp@{threshold:g}" for threshold in FINE_PCDP)


def error_px(xy: Float[np.ndarray, "n 2"], xy_true: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n"]:
    """Return the distance in pixels between prediction and truth."""
    return np.linalg.norm(xy - xy_true, axis=-1)


def ape(errors_px: Float[np.ndarray, "n"], image_hw: tuple[int, int]) -> float:
    """Average pixel error: mean distance over the shortest image edge, percent. Lower is better.

    Source: You et al., ICLR 2025 (project page): "APE".
    """
    return float(100 * errors_px.mean() / min(image_hw))


def pcdp(errors_px: Float[np.ndarray, "n"], image_hw: tuple[int, int], threshold: float) -> float:
    """Share of dense points whose error is below `threshold` x the shortest image edge, percent (strict <).

    Source: You et al., ICLR 2025: "PCDP", defined like PCK over all points.
    """
    return float(100 * (errors_px < threshold * min(image_hw)).mean())


def all_metrics(errors_px: Float[np.ndarray, "n"], image_hw: tuple[int, int]) -> PairScores:
    """Return APE and PCDP at the published and the fine thresholds, keyed by `METRIC_NAMES` and `FINE_NAMES`."""
    shares = {f"pcdp@{t:g}": pcdp(errors_px, image_hw, t) for t in (*PCDP_THRESHOLDS, *FINE_PCDP)}
    return cast(PairScores, {"ape": ape(errors_px, image_hw)} | shares)


def object_values(
    rows: Iterable[Mapping[str, Any]],
    metric: str,
    search: str | None = None,
    angles_deg: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Return each object's score, the mean over its pairs (in an angle bin, low <= angle < high)."""
    return _unit_values(rows, lambda row: row["object"], metric, search, angles_deg)


def view_values(
    rows: Iterable[Mapping[str, Any]],
    metric: str,
    search: str | None = None,
    angles_deg: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Return the score of each source view, by "object/view": the units of an interval within one object or capture.

    It says how far the value would move with other views of the same thing, and nothing about other things.
    """
    return _unit_values(rows, lambda row: f"{row['object']}/{row['pair'][0]}", metric, search, angles_deg)


def _unit_values(
    rows: Iterable[Mapping[str, Any]],
    unit: Callable[[Mapping[str, Any]], str],
    metric: str,
    search: str | None,
    angles_deg: tuple[int, int] | None,
) -> dict[str, float]:
    low, high = angles_deg or (0, 180)
    below = math.inf if high == 180 else high  # The last bin includes 180.
    values: dict[str, list[float]] = {}
    for row in rows:
        scores = row if search is None else row[search]
        if scores is None or (angles_deg and not low <= row["angle_deg"] < below):
            continue
        values.setdefault(unit(row), []).append(scores[metric])
    return {name: float(np.mean(v)) for name, v in values.items()}
