"""From rows to scores: every task at one strength, and what changed from strength 0."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...records import Differences, Metrics, ProtocolRecord
from ...stats import mean_with_ci
from ...tasks import equivariance
from ...tasks.comparison import paired_difference
from ..bench.scoring import short, summarize
from ..compare import FinishedRun, compare_finished
from .measurements import Data

Rows = Sequence[Mapping[str, Any]]
MEASURED = ("pcdp@0.05", "ape")


def drift_metrics(rows: Rows) -> Metrics:
    """Return mean cosine and neighbour agreement over photos, with chance beside it, and CKA over all tokens."""
    photos = [row for row in rows if row["kind"] == "picture"]
    (whole,) = (row for row in rows if row["kind"] == "all")
    means = {
        name: mean_with_ci([row[name] for row in photos if row[name] is not None])
        for name in ("cosine", "neighbours", "chance")
    }
    return means | {"cka": {"value": whole["cka"], "ci95": None, "n": whole["n"]}}


def task_metrics(task: str, rows: Rows, protocol: ProtocolRecord, data: Data) -> Metrics:
    """Return a task's scores: {name: {"value", "ci95", "n"}}."""
    if task == "drift":
        return drift_metrics(rows)
    if task == "equivariance":
        whole = equivariance.summarize(rows, protocol)["metrics"]
        return {name: short(whole[name]) for name in MEASURED}
    summary = summarize(data.pairs if task == "transfer" else data.clips, rows, protocol)
    return {name: short(metric) for name, metric in summary["metrics"].items()}


def task_difference(task: str, before: Rows, after: Rows, protocol: ProtocolRecord, metrics: Metrics) -> Differences:
    """Return `after` minus `before` for each score, paired by object, source picture or clip.

    A score that no row of both has is left out.
    """
    if task == "equivariance":
        return {name: paired_difference(before, after, name) for name in metrics}
    runs = (FinishedRun(Path(), task, protocol, rows, tuple(metrics)) for rows in (before, after))
    found = compare_finished(*runs)["metrics"]
    return {name: found[name] for name in metrics if name in found}
