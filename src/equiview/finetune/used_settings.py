"""Which settings each kind of recipe reads: a change of any other would do nothing, and is refused."""

import difflib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ..errors import bad_input
from .closed_form import ClosedFormConfig
from .head_training import HeadTraining

TRAINING = {
    *("lora", "loss", "temperature", "regulariser", "lr", "weight_decay", "clip", "steps", "pairs", "augment"),
    *("batch", "accumulate", "dtype", "checkpoint_every", "train_long_side"),
}
STEP = {"points", "negatives", "temperature", "dead_zone", "max_angle_deg", "min_overlap"}
EVERY = {"name", "kind", "features", "depths", "head", "companions", "time_budget_s"}
"""Read by every kind: how features are made, what is trained on, how long it may take."""
READ: dict[str, set[str]] = {
    "train": TRAINING,
    "closed_form": {"closed_form", "strength"},
    "train_then_closed_form": TRAINING | {"closed_form", "strength"},
    "train_head": {"head_training", "strength"},
    "train_then_head": TRAINING | {"head_training", "strength"},
    "step_head": {f"head_training.{name}" for name in STEP} | {"strength"},
}
GROUPS: dict[str, Any] = {"head_training": HeadTraining, "closed_form": ClosedFormConfig}


def check_one_of(what: str, value: str, known: Any) -> None:
    """Stop at a name that there is not; the message lists those there are, and the nearest one."""
    if value not in known:
        near = difflib.get_close_matches(str(value), list(known), 1, 0.5)
        fix = f"Do you mean {near[0]}?" if near else "Names are case-sensitive."
        raise bad_input(what, f"one of {', '.join(known)}", repr(value), fix)


def check_used(kind: str, changed: Iterable[str]) -> None:
    """Stop at a changed setting that recipes of this kind do not read.

    Args:
        kind: Of the recipe, after the changes.
        changed: Names of the settings, such as `lora.rank`.

    Raises:
        EquiviewError: There is one; the message names what is likely meant, or all that is read.
    """
    read = EVERY | READ[kind]
    for name in changed:
        if not any(name == one or name.startswith(f"{one}.") or one.startswith(f"{name}.") for one in read):
            last = name.rpartition(".")[2]
            meant = [f"{group}.{last}" for group in GROUPS if _inside(group, last, read)]
            fix = f"Do you mean {meant[0]}?" if meant else "Leave it out, or choose another recipe."
            known = ", ".join(sorted(read - {"name"}))
            raise bad_input(f"setting {name!r}", f"one that recipes of kind {kind!r} read ({known})", repr(last), fix)


def _inside(group: str, last: str, read: set[str]) -> bool:
    return f"{group}.{last}" in read or (group in read and last in {field.name for field in fields(GROUPS[group])})
