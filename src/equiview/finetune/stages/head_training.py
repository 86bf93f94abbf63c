"""Train a linear head on fixed features: of the training objects, of rendered categories, and of unlabeled images."""

import logging
from dataclasses import replace

from ...data.synthetic.category_instances import CATEGORIES
from ...models.extractor import Extractor
from ..costs import RENDER_S, Costs
from ..head_features import CountedMaps, on_pictures_seen_once, training_pairs, warn_of_objects, with_head
from ..head_pairs import category_pairs, instance_views
from ..head_training import HeadTraining, train_head
from ..recipe import Recipe
from ..training_log import begin_log, log_step
from ..unlabeled_images import unlabeled_images
from .base import Context, Stage

log = logging.getLogger(__name__)

FEW_IMAGES = 12
"""Unlabeled images that are kept where time is short: they say roughly what features vary over in general."""
FEW_STEPS = 10
"""Steps that are kept where time is short."""


def run(settings: HeadTraining, extractor: Extractor, context: Context) -> Extractor:
    """Train the head on pictures seen once, and return the extractor with it."""
    instances = instance_views(settings.instances) if settings.instances else []
    images = unlabeled_images(context.photos, context.seed, settings.pictures)
    more = len(images) + len(instances)
    source = on_pictures_seen_once(extractor)
    maps = CountedMaps(source, context.objects, context.progress, more)
    pairs = training_pairs(source, maps, settings, context)
    categories = category_pairs(instances, list(maps([one.view for one in instances])), context.seed)
    unlabeled = list(maps(images))
    warn_of_objects({name: pairs[name] for name in context.own_objects}, unlabeled)
    begin_log(context.out_dir, settings.stage)

    def progress(done: int, total: int, loss: float) -> None:
        log_step(context.out_dir, settings.stage, done, loss)
        context.progress("train", done, total)

    head = train_head(
        list(pairs.values()),
        categories,
        unlabeled,
        settings,
        seed=context.seed,
        device=extractor.device,
        stop_after_s=context.stop_after_s(),
        progress=progress,
    )
    return with_head(extractor, head)


def afford(settings: HeadTraining, recipe: Recipe, costs: Costs, left_s: float) -> Recipe:
    """Return the recipe with what fits: half of the time for the steps, the other half for pictures.

    The user's own views come first; instances, images and auxiliary objects shrink alike.
    """
    own_s = costs.own_views * costs.map_s
    wanted_s, spare_s = picture_seconds(settings, recipe, costs) - own_s, left_s / 2 - own_s
    share = min(1.0, max(0.0, spare_s) / max(wanted_s, 1e-9))
    instances = int(share * settings.instances)
    kept = replace(
        settings,
        steps=min(settings.steps, max(FEW_STEPS, int(left_s / 2 / step_seconds(settings, costs)))),
        instances=instances if instances > 1 else 0,
        pictures=max(min(FEW_IMAGES, settings.pictures), int(share * settings.pictures)),
    )
    least = 0 if costs.own_views else 1  # Without one's own, there must be something to learn from.
    auxiliary = recipe.auxiliary_objects[: max(least, int(share * len(recipe.auxiliary_objects)))]
    if kept != settings or auxiliary != recipe.auxiliary_objects:
        log.warning(
            "short of time (%.2g s a picture): %d of %d auxiliary objects, %d of %d instances of categories, %d of %d "
            "unlabeled images, %d of %d steps. Raise time_budget_s for all of them.",
            *(costs.map_s, len(auxiliary), len(recipe.auxiliary_objects), kept.instances, settings.instances),
            *(kept.pictures, settings.pictures, kept.steps, settings.steps),
        )
    return replace(recipe.with_stage(kept), auxiliary_objects=auxiliary)


def seconds(settings: HeadTraining, recipe: Recipe, costs: Costs) -> float:
    """Return how long rendering, extraction and training take, the rendering of the user's objects aside."""
    return picture_seconds(settings, recipe, costs) + settings.steps * step_seconds(settings, costs)


def picture_seconds(settings: HeadTraining, recipe: Recipe, costs: Costs) -> float:
    """Return how long it takes to render and see what is trained on."""
    return (
        (costs.own_views + settings.pictures) * costs.map_s
        + settings.instances * len(CATEGORIES) * (costs.map_s + RENDER_S)
        + len(recipe.auxiliary_objects) * costs.object_s
    )


def step_seconds(settings: HeadTraining, costs: Costs) -> float:
    """Return how long a step takes: products forwards and, twice that, backwards; as much again for the rest."""
    tokens = settings.pairs * (2 * settings.points + settings.negatives) + 600 * (settings.retention > 0)
    return 6 * tokens / 1000 * costs.product_s


STAGE = Stage(
    HeadTraining,
    run,
    ungrouped=frozenset({"strength"}),
    reports=("solve", "train"),
    seen_once=True,
    afford=afford,
    seconds=seconds,
    counts=("steps", "instances", "pictures"),
)
