"""Move a linear head by one step on fixed features of the training objects."""

from ...models.extractor import Extractor
from ..head_features import CountedMaps, on_pictures_seen_once, training_pairs, warn_of_objects, with_head
from ..head_step import HeadStep, step_head
from ..training_log import begin_log, log_step
from ..unlabeled_images import unlabeled_images
from .base import Context, Stage

FEW_IMAGES = 12
"""Unlabeled images; what features vary over in general is only asked for the diagnostics."""


def run(settings: HeadStep, extractor: Extractor, context: Context) -> Extractor:
    """Take the step on pictures seen once, and return the extractor with the head."""
    source = on_pictures_seen_once(extractor)
    maps = CountedMaps(source, context.objects, context.progress, FEW_IMAGES)
    pairs = training_pairs(source, maps, settings, context)
    images = unlabeled_images(context.photos, context.seed, FEW_IMAGES)
    warn_of_objects({name: pairs[name] for name in context.own_objects}, list(maps(images)))
    begin_log(context.out_dir, settings.stage)

    def report_loss(before: float, after: float) -> None:
        log_step(context.out_dir, settings.stage, 0, before)
        log_step(context.out_dir, settings.stage, 1, after)

    head = step_head(
        list(pairs.values()),
        settings,
        seed=context.seed,
        device=extractor.device,
        progress=lambda done, total: context.progress("train", done, total),
        report_loss=report_loss,
    )
    return with_head(extractor, head)


STAGE = Stage(HeadStep, run, ungrouped=frozenset({"strength"}), reports=("solve", "train"), seen_once=True)
