"""Paired differences of any score, and which way is better."""

from collections.abc import Mapping

import numpy as np

from ..records import Difference
from ..stats import bootstrap_ci95


def lower_is_better(metric: str) -> bool:
    """Say whether a smaller value of this metric is the better one; a metric may stand below a search: in_mask/ape."""
    name = metric.rpartition("/")[2]
    return name.startswith("ape") or "error" in name or name == "failed"


def difference(before: Mapping[str, float], after: Mapping[str, float], metric: str) -> Difference:
    """Return after minus before of the units that both have.

    Args:
        before: A value for each unit (object, clip, picture).
        after: The same.
        metric: Its name, which says what is better.

    Returns:
        {"value", "relative" (of before, percent), "ci95", "n", "n_improved"}; value None when no unit has both.
    """
    names = sorted(before.keys() & after.keys())
    if not names:
        return {"value": None, "relative": None, "ci95": None, "n": 0, "n_improved": 0}
    differences = [after[name] - before[name] for name in names]
    value = float(np.mean(differences))
    base = float(np.mean([before[name] for name in names]))
    better = [d < 0 if lower_is_better(metric) else d > 0 for d in differences]
    return {
        "value": value,
        "relative": 100 * value / base if base else None,
        "ci95": bootstrap_ci95(differences),
        "n": len(names),
        "n_improved": int(sum(better)),
    }
