"""Train the network: LoRA, and a head of `add_head` that has weights, on pairs of views."""

import logging
from dataclasses import fields, replace

from ...errors import bad_input
from ...models.adapters.lora import add_lora, check_rank, find_targets
from ...models.extractor import Extractor, FeatureConfig
from ..costs import Costs
from ..network_settings import NetworkTraining
from ..recipe import Recipe
from ..train import train
from .base import Context, Stage

log = logging.getLogger(__name__)

MAPS_A_PAIR = 6
"""Feature maps a pair costs: two pictures, forwards and (about twice that) backwards."""


def run(settings: NetworkTraining, extractor: Extractor, context: Context) -> Extractor:
    """Add the adapter, train it in place, and return the extractor."""
    add_adapter(settings, extractor, context.seed)
    config = training_config(settings, extractor.config)
    result = train(
        Extractor(extractor.backbone, config, extractor.head),
        context.own_objects if settings.own_objects_only else context.objects,
        settings,
        context.out_dir,
        seed=context.seed,
        device=extractor.device,
        stop_after_s=context.stop_after_s(),
        progress=lambda done, total, _: context.progress("train network", done, total),
    )
    context.progress("train network", result.steps, settings.steps)  # Also where no step was left to do.
    return extractor


def add_adapter(settings: NetworkTraining, extractor: Extractor, seed: int) -> None:
    """Add the adapter to the extractor's backbone, in place, if the settings have one."""
    if settings.lora is not None:
        add_lora(extractor.backbone, settings.lora, seed)
        extractor.to(extractor.device)


def training_config(settings: NetworkTraining, config: FeatureConfig) -> FeatureConfig:
    """Return how pictures are seen while training."""
    config = config.single_pass if settings.seen_once else config
    side = config.long_side if settings.train_long_side is None else settings.train_long_side
    return replace(config, long_side=min(side, config.long_side))


def check(settings: NetworkTraining, extractor: Extractor) -> None:
    """Raise for a size or a LoRA that does not fit the backbone, or when nothing is trainable.

    Raises:
        EquiviewError: As said.
    """
    backbone = extractor.backbone
    if settings.train_long_side is not None:
        Extractor(backbone, replace(extractor.config, long_side=settings.train_long_side))
    if settings.lora is not None:
        check_rank(backbone, find_targets(backbone, settings.lora.last_blocks).names, settings.lora.rank)
    elif extractor.head is None or not list(extractor.head.parameters()):
        fix = "Set lora.rank=4, or choose a recipe that trains no network, such as default."
        raise bad_input("recipe lora", "an adapter, or a head that is trained with the network", "none", fix)


def afford(settings: NetworkTraining, recipe: Recipe, costs: Costs, left_s: float) -> Recipe:
    """Return the recipe with as many steps as fit."""
    steps = min(settings.steps, max(0, int(left_s / step_seconds(settings, recipe, costs))))
    if steps < settings.steps:
        log.warning(
            "time for %d of %d steps of training the network: raise the time, or take default", steps, settings.steps
        )
    return recipe.with_stage(replace(settings, steps=steps))


def seconds(settings: NetworkTraining, recipe: Recipe, costs: Costs) -> float:
    """Return how long the training takes."""
    return settings.steps * step_seconds(settings, recipe, costs)


def step_seconds(settings: NetworkTraining, recipe: Recipe, costs: Costs) -> float:
    """Return how long a step takes."""
    smaller = training_config(settings, recipe.features).long_side / recipe.features.long_side
    return costs.map_s * MAPS_A_PAIR * settings.batch * settings.accumulate * smaller**2


STAGE = Stage(
    NetworkTraining,
    run,
    ungrouped=frozenset(field.name for field in fields(NetworkTraining)) - {"stage"},
    reports=("train network",),
    check=check,
    afford=afford,
    seconds=seconds,
    counts=("steps",),
)
