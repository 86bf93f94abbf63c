"""The stages a recipe may have. A new one is a file beside these, written after `add_head`, and a line here."""

from . import add_head, closed_form, head_step, head_training, network
from .base import Context, Stage

STAGES: dict[str, Stage] = {
    "add_head": add_head.STAGE,
    "network": network.STAGE,
    "head_training": head_training.STAGE,
    "head_step": head_step.STAGE,
    "closed_form": closed_form.STAGE,
}
"""By name, which is the field `stage` of their settings."""

__all__ = ["STAGES", "Context", "Stage"]
