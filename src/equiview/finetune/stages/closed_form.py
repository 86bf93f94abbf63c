"""Solve a linear head on the features of the training objects and of unlabeled images."""

import logging
from dataclasses import replace

import numpy as np
import torch

from ...models.extractor import Extractor
from .. import unlabeled_images
from ..closed_form import ClosedFormConfig, picture_statistics, solve_closed_form, view_statistics
from ..costs import Costs
from ..head_features import CountedMaps, with_head
from ..object_diagnostics import warn_if_little
from ..recipe import Recipe
from .base import Context, Stage

log = logging.getLogger(__name__)


def run(settings: ClosedFormConfig, extractor: Extractor, context: Context) -> Extractor:
    """Solve the head, and return the extractor with it."""
    objects = context.objects
    maps = CountedMaps(extractor, objects, context.progress, unlabeled_images.IMAGES)
    images = unlabeled_images.unlabeled_images(context.photos, context.seed)
    with torch.no_grad():
        pictures = picture_statistics(maps(images), settings.tokens_per_picture, context.seed)
        # One object's maps in memory at a time.
        of_objects = ((views, list(maps(views))) for views in objects.values())
        statistics = view_statistics(of_objects, settings, context.seed)
    log.info("closed form from %d correspondences and %d tokens of unlabeled images", statistics.n, pictures.n)
    change = float(np.trace(statistics.scatter) / max(np.trace(pictures.covariance), 1e-30))
    warn_if_little(", ".join(objects), change, statistics.n)
    return with_head(extractor, solve_closed_form(pictures, statistics, settings))


def afford(settings: ClosedFormConfig, recipe: Recipe, costs: Costs, left_s: float) -> Recipe:
    """Return the recipe with as many auxiliary objects as fit beside the user's own and the unlabeled images."""
    auxiliary = recipe.auxiliary_objects
    spare_s = left_s - seconds(settings, replace(recipe, auxiliary_objects=()), costs)
    least = 0 if costs.own_views else 1  # Without one's own, there must be something to learn from.
    kept = auxiliary[: max(least, int(spare_s / costs.object_s))]
    if len(kept) < len(auxiliary):
        log.warning("time for %d of %d auxiliary objects", len(kept), len(auxiliary))
    return replace(recipe, auxiliary_objects=kept)


def seconds(settings: ClosedFormConfig, recipe: Recipe, costs: Costs) -> float:
    """Return how long it takes, the rendering of the user's objects aside."""
    maps = unlabeled_images.IMAGES + costs.own_views
    return maps * costs.map_s + len(recipe.auxiliary_objects) * costs.object_s


STAGE = Stage(
    ClosedFormConfig,
    run,
    ungrouped=frozenset({"strength"}),
    reports=("solve",),
    afford=afford,
    seconds=seconds,
)
