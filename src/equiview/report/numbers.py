"""How numbers are written, and the averages the page computes from rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..metrics.equivariance import FINE_NAMES, METRIC_NAMES, object_values
from ..metrics.paired import lower_is_better
from ..records import Metrics, PairRow
from ..stats import mean_with_ci

DASH = "\u2013"
FINE_BINS_DEG = tuple((low, low + 30) for low in range(0, 180, 30))
TITLES = {name: name.upper() for name in (*METRIC_NAMES, *FINE_NAMES)}


def shown_metrics(summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the metrics of tables: the published ones, and fine ones that all summaries have."""
    of_all = [summary["metrics"].keys() for summary in summaries]
    return [*METRIC_NAMES, *(name for name in FINE_NAMES if all(name in names for names in of_all))]


def ceiling_words(entry: Mapping[str, Any], digits: int = 2) -> str:
    """Return the best that can be had at token centres, in words; "" where it is not known."""
    ceiling = entry.get("ceiling")
    return "" if ceiling is None else f"token grid: {ceiling:.{digits}f}"


def number(value: float | None, digits: int = 2) -> str:
    """Write a value; an empty one is a dash."""
    return DASH if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a difference with its sign."""
    return DASH if value is None else f"{value:+.{digits}f}"


def interval(ci95: Iterable[float] | None, digits: int = 2, *, sign: bool = False) -> str:
    """Write an interval, "" when there is none."""
    if ci95 is None:
        return ""
    low, high = ci95
    write = signed if sign else number
    return f"{write(low, digits)} to {write(high, digits)}"


def typeset(text: str) -> str:
    """Replace the hyphen before a number by a true minus sign."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)


def best_of(values: Mapping[str, float | None], metric: str, digits: int = 2) -> set[str]:
    """Return the names whose value is the best one as it will be printed (ties share the honour)."""
    known = {name: round(value, digits) for name, value in values.items() if value is not None}
    if not known:
        return set()
    best = (min if lower_is_better(metric) else max)(known.values())
    return {name for name, value in known.items() if value == best}


def fine_by_angle(rows: Sequence[PairRow], metric: str) -> Metrics:
    """Average rows in bins of 30 degrees: pairs, then objects, as the claim bins are."""
    return {
        f"{low}-{high}": mean_with_ci(list(object_values(rows, metric, None, (low, high)).values()))
        for low, high in FINE_BINS_DEG
    }


def other_protocol(rows: Sequence[PairRow], key: str) -> Metrics | None:
    """Average the scores of "in_mask" or "unambiguous"; None when the rows do not have them."""
    if not rows or any(key not in row for row in rows):
        return None
    return {metric: mean_with_ci(list(object_values(rows, metric, key).values())) for metric in METRIC_NAMES}


def ambiguous_share(rows: Sequence[PairRow]) -> float | None:
    """Return the share (percent) of scored points that are ambiguous; None when it was not recorded."""
    counts = [row.get("n_ambiguous") for row in rows]
    known = [count for count in counts if count is not None]
    if not rows or len(known) < len(counts):
        return None
    return 100 * sum(known) / max(sum(row["n"] for row in rows), 1)
