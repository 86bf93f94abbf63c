"""Work that may be interrupted at any time: what is on disk is finished, and is not done again.

Work is a list of items, and each makes one file: rows (.jsonl) or a record (.json). The file appears as a whole. Items
that take long can keep their own rows sample by sample, see `resumed_rows`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import bad_input
from ..io import append_jsonl, atomic_path, file_name, read_jsonl, write_json

# Rows as they are read: which keys they have is said by the rows of a task, see `equiview.records`.
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class WorkItem:
    """One item of work, with the file it makes.

    Attributes:
        path: What it makes; when it is there the item is finished.
        work: Returns the rows (of a path .jsonl) or the record (.json); None when nothing can be made.
    """

    path: Path
    work: Callable[[], Any]


def rows_path(out: Path, *name: str) -> Path:
    """Return where the rows of an object, clip, block ... are; when the file is there it is finished."""
    *folders, last = map(file_name, name)
    return out.joinpath("rows", *folders, f"{last}.jsonl")


def finish_items(items: Sequence[WorkItem], progress: Callable[[int, int], None] | None = None) -> None:
    """Do what is not done yet, in order, and write each result as soon as it is there.

    Args:
        items: The work.
        progress: Called with (items done, items in all), before each and at the end.
    """
    report = progress or (lambda done, total: None)
    for number, item in enumerate(items):
        report(number, len(items))
        if not item.path.exists() and (made := item.work()) is not None:
            (write_rows if item.path.suffix == ".jsonl" else write_json)(item.path, made)
    report(len(items), len(items))


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
