"""What a run will take, from a few of its units: they are done and kept, the others are reckoned from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from ..errors import bad_input
from ..io import free_space, read_jsonl
from .engine import Engine
from .scoring import UNITS_LOG, WorkItem, finish_items


class PlanRecord(TypedDict):
    """What a run will take.

    Keys:
        units: In all (of this shard).
        done: Of them finished, the measured ones included.
        measured: Units that the plan rests on.
        workers: Processes; of Ray 1, since only the cluster knows: divide by its workers.
        seconds_per_unit, seconds_per_unit_sd: In one worker, mean and standard deviation.
        remaining_s: For the units that are left, all workers together.
        disk_mb, disk_free_mb: What the whole run will have written, and what is left on that disk now.
        memory_mb: Peak of all workers together; None where the system keeps no count.
    """

    units: int
    done: int
    measured: int
    workers: int
    seconds_per_unit: float
    seconds_per_unit_sd: float
    remaining_s: float
    disk_mb: float
    disk_free_mb: float
    memory_mb: float | None


def plan_items(items: Sequence[WorkItem], out: Path, engine: Engine) -> PlanRecord:
    """Do some units that are left, evenly spread and enough to keep every worker busy twice, and plan the others.

    Raises:
        EquiviewError: Nothing is left to do; as a unit does.
    """
    left = [item for item in items if not item.done]
    if not left:
        raise bad_input(str(out), "units that are not done yet", "none", "Run the command without --dry-run.")
    workers = engine.workers
    count = min(len(left), max(3, 2 * workers))
    chosen = [left[number] for number in np.linspace(0, len(left) - 1, count).round().astype(int)]
    before = folder_mb(out)
    finish_items(chosen, engine=engine, log=out / UNITS_LOG)
    lines = read_jsonl(out / UNITS_LOG)[-count:]
    seconds = np.array([line["seconds"] for line in lines if "seconds" in line])
    peaks = [line["peak_mb"] for line in lines if line.get("peak_mb") is not None]
    after = folder_mb(out)
    remaining = len(left) - count
    return {
        "units": len(items),
        "done": len(items) - remaining,
        "measured": count,
        "workers": workers,
        "seconds_per_unit": round(float(seconds.mean()), 3),
        "seconds_per_unit_sd": round(float(seconds.std()), 3),
        "remaining_s": round(float(seconds.mean()) * remaining / min(workers, max(1, remaining)), 1),
        "disk_mb": round(after + (after - before) / count * remaining, 1),
        "disk_free_mb": round(free_space(out)[1], 1),
        "memory_mb": round(max(peaks) * workers, 1) if peaks else None,
    }


def folder_mb(folder: Path) -> float:
    """Return the size of the files in and below a folder, MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def plan_words(plan: PlanRecord) -> str:
    """Return a plan in words."""
    hours, rest = divmod(plan["remaining_s"], 3600)
    each = f"{plan['seconds_per_unit']:.1f} +- {plan['seconds_per_unit_sd']:.1f} s each"
    memory = "not known here" if plan["memory_mb"] is None else f"{plan['memory_mb'] / 1024:.1f} GB"
    return "\n".join(
        [
            f"{plan['units']} units, {plan['done']} done; from {plan['measured']} measured now, which are kept:",
            f"  time    {int(hours)} h {rest / 60:.0f} min for the others ({each}, {plan['workers']} at a time)",
            f"  disk    {plan['disk_mb'] / 1024:.1f} GB in the end; {plan['disk_free_mb'] / 1024:.1f} GB are free",
            f"  memory  {memory} at its peak, all workers together",
        ]
    )
