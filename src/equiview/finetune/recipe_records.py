"""Recipes in records: as JSON values, and those of earlier versions in today's form.

Until 0.3.0 a recipe was one flat group of settings with a `kind` that said which of them were read.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .network_settings import NetworkTraining

BELOW_A_HEAD = {"own_objects_only": True, "seen_once": True}
STAGES_OF_KIND: dict[str, dict[str, dict[str, Any]]] = {
    "train": {"network": {}},
    "closed_form": {"closed_form": {}},
    "train_then_closed_form": {"network": {}, "closed_form": {}},
    "train_head": {"head_training": {}},
    "train_then_head": {"network": BELOW_A_HEAD, "head_training": {}},
    "step_head": {"head_step": {}},
}
"""Of each former kind, the stages after `add_head`, with the settings the kind implied."""
RENAMED = {"members": "instances", "family_share": "category_share"}
ADDED: dict[str, Any] = {"auxiliary_views": None, "keep_auxiliary": False}
"""Settings of recipes that earlier records do not have, with what they were then."""
STEP_SETTINGS = ("temperature", "points", "negatives", "dead_zone", "max_angle_deg", "min_overlap")


def current_form(record: Any) -> Any:
    """Return a recipe's record in today's form; anything else, or one that is in it already, as it is.

    Args:
        record: JSON values, as in `run.json` and `equiview.json`.
    """
    if not isinstance(record, Mapping):
        return record
    if str(record.get("kind")) not in STAGES_OF_KIND:
        return (ADDED if "stages" in record else {}) | dict(record)
    stages = [{"stage": "add_head", "head": record.get("head", "none")}]
    for stage, implied in STAGES_OF_KIND[record["kind"]].items():
        stages.append({"stage": stage} | _settings(stage, record) | implied)
    return {
        "name": record.get("name"),
        "stages": stages,
        "features": record.get("features"),
        "depths": record.get("depths", []),
        "auxiliary_objects": record.get("companions", []),
        **ADDED,
        "time_budget_s": record.get("time_budget_s"),
    }


def with_current_recipe(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the recipe in it, if there is one, in today's form."""
    return dict(record) | ({"recipe": current_form(record["recipe"])} if "recipe" in record else {})


def stage_of(record: Any, stage: str) -> Mapping[str, Any] | None:
    """Return the settings of a stage in a recipe's record of any form; None where it has none."""
    recipe = current_form(record)
    stages = recipe.get("stages") if isinstance(recipe, Mapping) else None
    found = [one for one in stages or [] if isinstance(one, Mapping) and one.get("stage") == stage]
    return found[0] if found else None


def _settings(stage: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a flat record says of one stage."""
    if stage == "network":
        defaults = {"own_objects_only": False, "seen_once": False}
        names = {field.name for field in fields(NetworkTraining)}
        return defaults | {name: value for name, value in record.items() if name in names}
    group = record.get("closed_form" if stage == "closed_form" else "head_training") or {}
    found = {RENAMED.get(name, name): value for name, value in group.items()}
    if stage == "head_step":
        found = {name: value for name, value in found.items() if name in STEP_SETTINGS}
    return found | {"strength": record.get("strength", 1.0)}
