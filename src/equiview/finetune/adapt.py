"""From a recipe and views of training objects to an adapted extractor, whatever the recipe does."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..data.names import source_name
from ..models.backbones.base import Backbone
from ..models.extractor import Extractor
from ..types import View
from . import ordinary
from .budget import NETWORK_SHARE, seconds_per_map
from .learned_heads import Progress, with_closed_form, with_stepped_head, with_trained_head
from .recipes import TRAIN_HEAD, TRAIN_NETWORK, Recipe, prepare
from .train import train

log = logging.getLogger(__name__)


def adapt(
    backbone: Backbone,
    objects: Mapping[str, Sequence[View]],
    recipe: Recipe,
    out_dir: Path,
    *,
    photos: Path | None = None,
    seed: int = 0,
    budget_s: float | None = None,
    progress: Progress | None = None,
) -> Extractor:
    """Carry out a recipe.

    Args:
        backbone: Changed in place where the recipe has LoRA.
        objects: Views of the training objects by name.
        recipe: What to do.
        out_dir: Checkpoints and `log.jsonl` of the training go here.
        photos: Ordinary photos for heads that are solved or trained, see `ordinary.ordinary_pictures`.
        seed: Of everything random.
        budget_s: Seconds all of this may take; the training is cut to fit. None for no limit.
        progress: Called with ("train network", "train" or "solve", done, total).

    Returns:
        The adapted extractor, in evaluation mode.
    """
    started = time.monotonic()
    report = progress or (lambda stage, done, total: None)
    extractor = prepare(backbone, recipe, seed=seed)
    if recipe.kind in TRAIN_NETWORK:
        train_network(extractor, objects, recipe, out_dir, seed, report, budget_s)
    if "closed_form" in recipe.kind:
        extractor = with_closed_form(extractor, objects, recipe, photos, seed, report)
    if recipe.kind == "step_head":
        extractor = with_stepped_head(extractor, objects, recipe, photos, seed, report)
    if recipe.kind in TRAIN_HEAD:
        left_s = None if budget_s is None else budget_s - (time.monotonic() - started)
        extractor = with_trained_head(extractor, objects, recipe, photos, seed, report, left_s)
    log.info("adapted with %s in %.1f s", recipe.name, time.monotonic() - started)
    return extractor.eval()


def train_network(
    extractor: Extractor,
    objects: Mapping[str, Sequence[View]],
    recipe: Recipe,
    out_dir: Path,
    seed: int,
    progress: Progress,
    budget_s: float | None = None,
) -> None:
    """Train what is trainable in an extractor, in place, in the time that what follows leaves."""
    if budget_s is not None and recipe.kind == "train_then_closed_form":
        budget_s = max(1.0, budget_s - closed_form_seconds(extractor, objects))
    stage, config = "train", extractor.config
    if recipe.kind == "train_then_head":
        # Companions teach the head; the network learned nothing from them (docs/science.md).
        companions = set(map(source_name, recipe.companions))
        objects = {name: views for name, views in objects.items() if name not in companions}
        stage, config = "train network", config.seen_once
        budget_s = None if budget_s is None else NETWORK_SHARE * budget_s
    if recipe.train_long_side is not None:
        config = replace(config, long_side=min(recipe.train_long_side, config.long_side))
    learner = Extractor(extractor.backbone, config, extractor.head)
    result = train(
        learner,
        objects,
        # The time is what the caller gives; the recipe's own is for all of the adaptation.
        replace(recipe, time_budget_s=None),
        out_dir,
        seed=seed,
        device=extractor.device,
        time_budget_s=budget_s,
        progress=lambda done, total, _: progress(stage, done, total),
    )
    progress(stage, result.steps, recipe.steps)  # Also where no step was left to do.
    if result.stopped_by == "time" and recipe.kind == "train_then_head":
        log.warning("the head is applied as strongly as fits all of these steps: raise the time, or take default")


def closed_form_seconds(extractor: Extractor, objects: Mapping[str, Sequence[View]]) -> float:
    """Guess how long the closed form will take."""
    return seconds_per_map(extractor, objects) * (ordinary.PICTURES + sum(len(own) for own in objects.values()))
