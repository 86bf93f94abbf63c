"""Paired differences between variants scored on the same pairs of views."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics.equivariance import ANGLE_BINS_DEG, METRIC_NAMES, object_values, view_values
from ..metrics.paired import difference, lower_is_better
from ..records import Difference, Differences, ImproveSummary, ProtocolRecord
from .equivariance import summarize

Rows = Sequence[Mapping[str, Any]]


def paired_difference(
    before: Rows, after: Rows, metric: str, search: str | None = None, angles_deg: tuple[int, int] | None = None
) -> Difference:
    """Return the `difference` after minus before, paired by object; of one object, its interval over views too."""
    a, b = (object_values(rows, metric, search, angles_deg) for rows in (before, after))
    result = difference(a, b, metric)
    if len({row["object"] for row in (*before, *after)}) == 1:
        a, b = (view_values(rows, metric, search, angles_deg) for rows in (before, after))
        result["ci95_views"] = difference(a, b, metric)["ci95"]
    return result


def best_control(controls: Mapping[str, Rows], metric: str, search: str | None = None) -> str:
    """Return the name of the control with the best mean over objects; the first one where none has a score."""
    sign = -1 if lower_is_better(metric) else 1
    values = {name: list(object_values(rows, metric, search).values()) for name, rows in controls.items()}
    return max(values, key=lambda name: sign * float(np.mean(values[name])) if values[name] else -np.inf)


def compare(before: Rows, after: Rows, controls: Mapping[str, Rows], search: str | None = None) -> Differences:
    """Return, by metric, the paired difference to before and to the best control, overall and by angle."""
    result: Differences = {}
    for metric in METRIC_NAMES:
        name = best_control(controls, metric, search)
        against = paired_difference(controls[name], after, metric, search)
        result[metric] = {
            **paired_difference(before, after, metric, search),
            "by_angle": _by_angle(before, after, metric, search),
            "vs_best_control": {
                "control": name,
                **against,
                "by_angle": _by_angle(controls[name], after, metric, search),
            },
        }
    return result


def _by_angle(before: Rows, after: Rows, metric: str, search: str | None) -> Differences:
    return {f"{b[0]}-{b[1]}": paired_difference(before, after, metric, search, b) for b in ANGLE_BINS_DEG}


def improvement_summary(
    rows: Rows, protocol: ProtocolRecord, search: str | None = None, before: str = "pretrained"
) -> ImproveSummary:
    """Return the summary of an `improve` run from its rows (variants by the key "variant", the method "adapted")."""
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        variants.setdefault(row["variant"], []).append(row)
    controls = {name: scored for name, scored in variants.items() if name != "adapted"}
    return {
        "before": summarize(variants[before], protocol, search),
        "after": summarize(variants["adapted"], protocol, search),
        "controls": {name: summarize(scored, protocol, search) for name, scored in controls.items()},
        "difference": compare(variants[before], variants["adapted"], controls, search),
        "protocol": protocol,
    }
