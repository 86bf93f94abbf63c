"""What an adaptation does in a limited time, decided once, before anything is trained.

The speed of the machine is measured and rounded (`costs`), so that the same machine makes the same plan on
another day; counts and steps follow from it by arithmetic. From then on nothing reads the clock but an overrun stop.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from .costs import RENDER_S, Costs
from .recipe import Recipe
from .stages import STAGES

EARLIER_SHARE = 0.3
"""Of the time, for a stage that others follow."""
OVERRUN, OVERRUN_S = 2.0, 60.0
"""Training stops when the whole adaptation takes this many times its budget, and so many seconds more."""


def make_plan(recipe: Recipe, costs: Costs, budget_s: float) -> Recipe:
    """Return the recipe with fewer auxiliary objects, pictures and steps where the budget is short.

    A stage that others follow gets 0.3 of what is left, the last one all of it; what one leaves over goes to the next.
    """
    left_s = budget_s - costs.own_views * RENDER_S
    for place, name in enumerate([settings.stage for settings in recipe.stages], 1):
        stage = STAGES[name]
        if stage.afford is None:
            continue
        share = 1.0 if place == len(recipe.stages) else EARLIER_SHARE
        recipe = stage.afford(_settings(recipe, name), recipe, costs, share * left_s)
        left_s -= stage.seconds(_settings(recipe, name), recipe, costs)
    return recipe


def takes_budget(recipe: Recipe) -> bool:
    """Say whether a budget can change anything about the recipe."""
    return any(STAGES[settings.stage].afford is not None for settings in recipe.stages)


def overrun_s(budget_s: float) -> float:
    """Return the seconds after which training is stopped although the plan is not done."""
    return OVERRUN * budget_s + OVERRUN_S


def plan_record(recipe: Recipe, budget_s: float | None, costs: Costs | None) -> dict[str, Any]:
    """Return a plan as JSON values: everything a budget decides, and what decided it."""
    counts = {
        settings.stage: {name: getattr(settings, name) for name in STAGES[settings.stage].counts}
        for settings in recipe.stages
        if STAGES[settings.stage].counts
    }
    auxiliary = list(recipe.auxiliary_objects)
    return {
        "budget_s": budget_s,
        "costs": None if costs is None else asdict(costs),
        "auxiliary_objects": auxiliary,
        "stages": counts,
    }


def with_plan(recipe: Recipe, record: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the counts of a plan; reads `companions.json` of earlier versions, too."""
    if "companions" in record:
        names = {"members": "instances", "pictures": "pictures"}
        counts = {names[key]: value for key, value in record.items() if key in names}
        record = {"auxiliary_objects": record["companions"], "stages": {"head_training": counts}}
    stages = tuple(replace(s, **record["stages"].get(s.stage, {})) for s in recipe.stages)  # type: ignore[type-var]
    return replace(recipe, auxiliary_objects=tuple(record["auxiliary_objects"]), stages=stages)


def plan_words(recipe: Recipe) -> str:
    """Return a plan as the settings that repeat it on any machine."""
    found = [f"auxiliary_objects={','.join(recipe.auxiliary_objects)}"]
    for stage, counts in plan_record(recipe, None, None)["stages"].items():
        found += [f"{stage}.{name}={value}" for name, value in counts.items()]
    return f"--set time_budget_s=none {' '.join(found)}"


def _settings(recipe: Recipe, stage: str) -> Any:
    return next(settings for settings in recipe.stages if settings.stage == stage)
