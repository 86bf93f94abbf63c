"""One data set by one task: rows, and the summary of its rows."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ...models.extractor import Extractor
from ...records import Metric, Metrics, ProtocolRecord, Summary
from ...tasks import pose, recall, tracking, transfer
from ...tasks.pose import PoseConfig
from ...tasks.recall import RecallConfig
from ...tasks.tracking import TrackingConfig
from ...tasks.transfer import TransferConfig
from ..scoring import Rows, resumed_rows
from .settings import Opened

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
    metrics: Metrics
    protocol: ProtocolRecord

    @property
    def failed(self) -> dict[str, int]:
        """How many samples could not be scored, by reason."""
        reasons = [row["failed"] for row in self.rows if "failed" in row]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def source_for(source: Any, opened: Opened, long_side: int | None) -> Any:
    """Return the features at the resolution of a data set (or the one asked for); doubles stay as they are."""
    if not isinstance(source, Extractor):
        return source
    # Pose needs places that are fine, transfer those that are alike in kind.
    changed = {PoseConfig: Extractor.for_places, TransferConfig: Extractor.for_kinds}.get(
        type(opened.config), copy.copy
    )(source)
    changed.config = replace(source.config, long_side=long_side or opened.long_side)
    return changed


TASK_OF: dict[type, Any] = {
    PoseConfig: pose,
    TrackingConfig: tracking,
    TransferConfig: transfer,
    RecallConfig: recall,
}


def samples(source: Any, opened: Opened, progress: Progress | None = None, start: int = 0) -> Iterator[Rows]:
    """Yield the rows of each sample of a data set from number `start` on; `progress` is called as the task does."""
    found: Iterator[Rows] = TASK_OF[type(opened.config)].samples(source, opened.items, opened.config, progress, start)
    return found


def protocol_of(source: Any, opened: Opened) -> ProtocolRecord:
    """Return everything needed to repeat a measurement of a data set."""
    more = () if opened.scoring is None else (opened.scoring,)
    return cast(ProtocolRecord, TASK_OF[type(opened.config)].protocol_of(source, opened.config, *more))


def summarize(opened: Opened, rows: Sequence[Mapping[str, Any]], protocol: ProtocolRecord) -> Summary:
    """Return the summary of a data set's rows: metrics and protocol."""
    more = () if opened.scoring is None else (opened.scoring,)
    return cast(Summary, TASK_OF[type(opened.config)].summarize(rows, protocol, *more))


def score(source: Any, opened: Opened, partial: Path, progress: Progress | None = None) -> Scored:
    """Run a data set through its task.

    Args:
        source: The features, see `source_for`.
        opened: The data set.
        partial: Rows are kept here sample by sample, see `jobs.scoring.resumed_rows`.
        progress: As the task calls it.

    Raises:
        EquiviewError: As the task does.
    """
    rows = resumed_rows(partial, lambda start: samples(source, opened, progress, start))
    summary = summarize(opened, rows, protocol_of(source, opened))
    return Scored(rows, {name: short(metric) for name, metric in summary["metrics"].items()}, summary["protocol"])


def short(metric: Metric) -> Metric:
    """Keep what a table shows; what else there is can be made from the rows."""
    shown = ("value", "ci95", "ci95_views", "n", "unit", "ceiling")
    return cast(Metric, {key: value for key, value in metric.items() if key in shown})
