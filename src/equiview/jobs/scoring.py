"""Work that may be interrupted at any time: what is on disk is finished, and is not done again.

Work is a list of items, and each makes one file: rows (.jsonl) or a record (.json). The file appears as a whole. Items
that take long can keep their own rows sample by sample, see `resumed_rows`.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EquiviewError, bad_input
from ..io import append_jsonl, atomic_path, file_name, peak_mb, read_jsonl, write_json
from .engine import LOCAL, Engine, run_units
from .workers import WorkerDied

# Rows as they are read: which keys they have is said by the rows of a task, see `equiview.records`.
Rows = list[dict[str, Any]]
UNITS_LOG = "units.jsonl"
"""In a run folder: a line for each unit as it is finished."""


@dataclass(frozen=True)
class WorkItem:
    """One item of work, with the file it makes.

    Attributes:
        path: What it makes; when it is there the item is finished.
        work: Returns the rows (of a path .jsonl) or the record (.json); None when nothing can be made. It can be
            pickled where an engine sends it to other processes.
        broken: Where it is noted that nothing can be made because the data are broken; None makes that an error.
    """

    path: Path
    work: Callable[[], Any]
    broken: Path | None = None

    @property
    def done(self) -> bool:
        """Whether it was finished, in this sitting or an earlier one."""
        return self.path.exists()


def rows_path(out: Path, *name: str) -> Path:
    """Return where the rows of an object, clip, block ... are; when the file is there it is finished."""
    *folders, last = map(file_name, name)
    return out.joinpath("rows", *folders, f"{last}.jsonl")


def finish_items(
    items: Sequence[WorkItem],
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = LOCAL,
    *,
    log: Path | None = None,
    together: int = 1,
) -> None:
    """Do what is not done yet, and write each result as soon as it is there.

    Args:
        items: The work, of one shard where there are several.
        progress: Called with (items done, items in all), before the first, after each and at the end.
        engine: Where it is done; in this process in order.
        log: A JSONL file that gets a line for each item: its file, the seconds, the peak memory (MB), the worker.
        together: So many items in a row are done by one worker, because they share something.
    """
    report = progress or (lambda done, total: None)
    size = 1 if engine.inside else together
    groups = [items[start : start + size] for start in range(0, len(items), size)]
    left = [todo for group in groups if (todo := [item for item in group if not item.done])]
    done = len(items) - sum(map(len, left))
    report(0, len(items))
    if done:
        report(done, len(items))
    for number, lines in run_units(_finish_group, left, engine, partial(_given_up, left)):
        done += len(left[number])
        for line in lines:
            if log is not None:
                append_jsonl(log, line)
        report(done, len(items))


def _finish_group(items: Sequence[WorkItem]) -> list[dict[str, Any]]:
    return [_finish_item(item) for item in items]


def _finish_item(item: WorkItem) -> dict[str, Any]:
    """Do an item and write its result; return its line of the log."""
    start, problem = time.perf_counter(), None
    try:
        made = item.work()
    except EquiviewError as error:
        if item.broken is None:
            raise
        made, problem = None, str(error)
        write_json(item.broken, {"unit": item.path.stem, "problem": problem})
    if made is not None:
        (write_rows if item.path.suffix == ".jsonl" else write_json)(item.path, made)
        if item.broken is not None:
            item.broken.unlink(missing_ok=True)
    seconds, worker = round(time.perf_counter() - start, 3), f"{platform.node()}:{os.getpid()}"
    line = {"unit": item.path.stem, "seconds": seconds, "peak_mb": peak_mb(), "worker": worker}
    return line if problem is None else {**line, "problem": problem}


def _given_up(groups: Sequence[Sequence[WorkItem]], number: int, error: WorkerDied) -> list[dict[str, Any]]:
    """Note units whose workers died as broken, where that is allowed."""
    lines = []
    for item in groups[number]:
        if item.broken is None:
            raise error
        write_json(item.broken, {"unit": item.path.stem, "problem": str(error)})
        lines.append({"unit": item.path.stem, "problem": str(error)})
    return lines


def all_rows(items: Iterable[WorkItem]) -> Rows:
    """Return the rows of finished items."""
    return [row for item in items for row in read_jsonl(item.path)]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows at once: all of them or none."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def resumed_rows(path: Path, samples: Callable[[int], Iterator[Sequence[Mapping[str, Any]]]]) -> Rows:
    """Collect rows a sample at a time, each on disk as soon as it is there: an interrupted run goes on behind the last.

    Args:
        path: A line a sample.
        samples: Given how many samples are there already, yields the rows of each of the others.

    Raises:
        EquiviewError: As `samples` does, or the file holds something else.
    """
    path = Path(path)
    there = read_jsonl(path)
    if any(not isinstance(line, dict) or not isinstance(line.get("rows"), list) for line in there):
        raise bad_input(str(path), "lines with the rows of a sample", "others", "Delete it and run again.")
    if path.exists():
        # Written anew, since a line that was cut off would swallow the next one.
        write_rows(path, there)
    for rows in samples(len(there)):
        append_jsonl(path, {"rows": rows})
    return [row for line in read_jsonl(path) for row in line["rows"]]
