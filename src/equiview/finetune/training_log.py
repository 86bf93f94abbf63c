"""The log of training: one line of JSON a step, from every stage that takes steps; a report draws its loss."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io import append_jsonl, atomic_path, read_jsonl

LOG = "log.jsonl"


def begin_log(folder: Path, stage: str, steps: int = 0) -> None:
    """Drop the rows that are about to be written again.

    Kept are rows of earlier stages and those of this one up to a step; what follows, an unfinished last line too, will
    be done again. A row that names no stage is the network's.

    Args:
        folder: Of the run.
        stage: The stage that begins, or goes on.
        steps: How many of its steps are done.
    """
    path = folder / LOG
    if not path.exists():
        return
    kept: list[Mapping[str, Any]] = []
    reached = False
    for row in read_jsonl(path):
        same = row.get("stage", "network") == stage
        reached = reached or same
        if not reached or (same and 0 < row.get("step", 0) <= steps):
            kept.append(row)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))


def log_step(folder: Path, stage: str, step: int, loss: float | None, **more: Any) -> None:
    """Add the row of one step."""
    append_jsonl(folder / LOG, {"stage": stage, "step": step, "loss": loss} | more)
