"""One overall bar with the remaining time, and one bar for each stage, on stderr."""

import logging
from collections.abc import Mapping
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .common import SETTINGS, stderr

logger = logging.getLogger("equiview")


class RateColumn(ProgressColumn):
    """Parts a second, or seconds a part where that is easier to read; nothing for the bar over all stages."""

    def render(self, task: Task) -> Text:
        """Return the rate of a bar."""
        speed = task.finished_speed or task.speed
        return Text("" if not speed or task.fields.get("overall") else rate(speed), style="progress.data.speed")


def rate(per_second: float) -> str:
    """Return a speed in words: 3.2/s, or 4.0 s each."""
    return f"{per_second:.3g}/s" if per_second >= 1 else f"{1 / per_second:.3g} s each"


class StageProgress:
    """Shows `progress(stage, done, total)` calls; use it as a context manager and pass it on as the callback.

    Without a terminal (a log file, a pipe) it says the stages in single lines instead.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        """Prepare the bars.

        Args:
            weights: Expected share of the time by stage, for the overall bar; without it there is none.
        """
        self.weights = dict(weights or {})
        self.shares: dict[str, float] = {}
        console = stderr()
        self.drawn = console.is_terminal and not SETTINGS.quiet
        counts = (MofNCompleteColumn(), RateColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        columns = (TextColumn("{task.description:<22}"), BarColumn(bar_width=28), *counts)
        self.bars = Progress(*columns, console=console, disable=not self.drawn, speed_estimate_period=300)
        self.tasks: dict[str, TaskID] = {}
        self.overall = self.bars.add_task("[bold]all[/bold]", total=100, overall=True) if self.weights else None

    def __enter__(self) -> "StageProgress":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.overall is not None:
            self.bars.update(self.overall, completed=100)
        self.bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of a stage are finished."""
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=max(total, 1))
            if not self.drawn:
                logger.info("%s ...", stage)
        self.bars.update(self.tasks[stage], completed=done, total=max(total, 1))
        self.shares[stage] = min(done / max(total, 1), 1.0)
        if self.overall is not None:
            self.bars.update(self.overall, completed=round(100 * self.share()))

    def share(self) -> float:
        """Return the finished part (0-1) of all stages that are expected; a stage nobody expected counts nothing."""
        whole = sum(self.weights.values())
        return sum(weight * self.shares.get(stage, 0.0) for stage, weight in self.weights.items()) / whole
