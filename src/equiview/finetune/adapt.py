"""From a recipe and views of training objects to an adapted extractor: its stages, one after the other."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data.contents import lasting_name
from ..data.names import distinct_names
from ..models.backbones.base import Backbone
from ..models.extractor import Extractor
from ..types import View
from .recipe import Recipe
from .stages import STAGES, Context
from .stages.base import Progress

log = logging.getLogger(__name__)


def adapt(
    backbone: Backbone,
    objects: Mapping[str, Sequence[View]],
    recipe: Recipe,
    out_dir: Path,
    *,
    photos: Path | None = None,
    store: Path | None = None,
    seed: int = 0,
    stop_after_s: float | None = None,
    progress: Progress | None = None,
) -> Extractor:
    """Carry out a recipe.

    Args:
        backbone: Changed in place where the recipe has LoRA.
        objects: Views of the training objects by name, auxiliary ones included.
        recipe: What to do; a time budget in it is not looked at, see `plan.make_plan`.
        out_dir: Checkpoints and `log.jsonl` of the training go here.
        photos: Unlabeled photos for heads that are solved or trained, see `unlabeled_images`.
        store: Folder in which training pairs of auxiliary objects are kept for other runs; None keeps none.
        seed: Of everything random.
        stop_after_s: Training is stopped after these seconds of all of this: it overran its plan. None for never.
        progress: Called with ("train network", "solve" or "train", done, total).

    Returns:
        The adapted extractor, in evaluation mode.
    """
    started = time.monotonic()
    context = Context(
        objects=objects,
        auxiliary={
            name: None if store is None else lasting_name(source)
            for name, source in zip(distinct_names(recipe.auxiliary_objects), recipe.auxiliary_objects, strict=True)
        },
        store=store,
        out_dir=Path(out_dir),
        photos=photos,
        seed=seed,
        stop_at=None if stop_after_s is None else started + stop_after_s,
        progress=progress or (lambda what, done, total: None),
    )
    extractor = Extractor(backbone, recipe.feature_config(backbone.info.blocks))
    for settings in recipe.stages:
        extractor = STAGES[settings.stage].run(settings, extractor, context)
    log.info("adapted with %s in %.1f s", recipe.name, time.monotonic() - started)
    return extractor.eval()
