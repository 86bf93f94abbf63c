"""One data set by one task: rows, and the summary of its rows."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...models.extractor import Extractor
from ...tasks import pose, tracking, transfer
from ...tasks.pose import PoseConfig
from ...tasks.tracking import TrackingConfig
from ..run_folder import resumed_rows
from .settings import Opened

Rows = list[dict[str, Any]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scored:
    """What came of a data set.

    Attributes:
        rows: One a sample, failures included.
        metrics: {name: {"value", "ci95", "n"}}.
        protocol: How it was measured.
    """

    rows: Rows
    metrics: dict[str, dict[str, Any]]
    protocol: dict[str, Any]

    @property
    def failed(self) -> dict[str, int]:
        """How many samples could not be scored, by reason."""
        reasons = [row["failed"] for row in self.rows if "failed" in row]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def source_for(source: Any, opened: Opened, long_side: int | None) -> Any:
    """Return the features at the resolution of a data set (or the one asked for); doubles stay as they are."""
    if not isinstance(source, Extractor):
        return source
    changed = copy.copy(source)
    changed.config = replace(source.config, long_side=long_side or opened.long_side)
    return changed


def score(source: Any, opened: Opened, partial: Path, progress: Progress | None = None) -> Scored:
    """Run a data set through its task.

    Args:
        source: The features, see `source_for`.
        opened: The data set.
        partial: Rows are kept here sample by sample, see `runs.resumed_rows`.
        progress: As the task calls it.

    Raises:
        EquiviewError: As the task does.
    """
    config, items = opened.config, opened.items
    if isinstance(config, PoseConfig):
        rows = resumed_rows(partial, lambda start: pose.samples(source, items, config, progress, start))
        summary = pose.summarize(rows, pose.protocol_of(source, config))
    elif isinstance(config, TrackingConfig):
        rows = resumed_rows(partial, lambda start: tracking.samples(source, items, config, progress, start))
        summary = tracking.summarize(rows, tracking.protocol_of(source, config))
    else:
        assert opened.scoring is not None
        pairs: Any = items  # A sequence, whatever it is read from.
        rows = resumed_rows(partial, lambda start: transfer.samples(source, pairs, config, progress, start))
        summary = transfer.summarize(rows, transfer.protocol_of(source, config, opened.scoring), opened.scoring)
    kept = {name: _short(metric) for name, metric in summary["metrics"].items()}
    return Scored(rows, kept, summary["protocol"])


def _short(metric: dict[str, Any]) -> dict[str, Any]:
    """Keep what a table shows; what else there is can be made from the rows."""
    return {key: metric[key] for key in ("value", "ci95", "n", "unit") if key in metric}
