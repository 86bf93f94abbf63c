"""Heads that a recipe learns on an extractor's features: solved, stepped or trained, and put on top."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..models.extractor import Extractor, Picture
from ..models.heads import HeadChain
from ..types import FeatureMap, View
from . import ordinary
from .budget import FEW_PICTURES
from .closed_form import picture_statistics, solve_closed_form, view_statistics
from .head_pairs import TrainingPair, family_pairs, members, object_pairs
from .head_step import step_head
from .head_training import HeadTraining, train_head
from .recipes import Recipe
from .teaching import change_of, warn_if_little

log = logging.getLogger(__name__)

LEAST_SHARE = 0.2
"""Of the time given for it, extraction and training, that the training of a head gets in any case."""
Progress = Callable[[str, int, int], None]


def with_closed_form(
    extractor: Extractor,
    objects: Mapping[str, Sequence[View]],
    recipe: Recipe,
    photos: Path | None,
    seed: int,
    progress: Progress,
) -> Extractor:
    """Solve the linear head on top of an extractor's features and return the extractor with it."""
    assert recipe.closed_form is not None
    config = recipe.closed_form
    maps = _counted_maps(extractor, objects, progress, ordinary.PICTURES)
    with torch.no_grad():
        pictures = picture_statistics(maps(ordinary.ordinary_pictures(photos, seed)), config.tokens_per_picture, seed)
        # One object's maps in memory at a time.
        of_objects = ((views, list(maps(views))) for views in objects.values())
        statistics = view_statistics(of_objects, config, seed)
    log.info("closed form from %d correspondences and %d tokens of ordinary pictures", statistics.n, pictures.n)
    change = float(np.trace(statistics.scatter) / max(np.trace(pictures.covariance), 1e-30))
    warn_if_little(", ".join(objects), change, statistics.n)
    return with_head(extractor, solve_closed_form(pictures, statistics, config, recipe.strength))


def with_trained_head(
    extractor: Extractor,
    objects: Mapping[str, Sequence[View]],
    recipe: Recipe,
    photos: Path | None,
    seed: int,
    progress: Progress,
    budget_s: float | None = None,
) -> Extractor:
    """Train a linear head on an extractor's features of pictures seen once; return the extractor with it."""
    started = time.monotonic()
    assert recipe.head_training is not None
    config = recipe.head_training
    family = members(config.members) if config.members else []
    drawn = ordinary.ordinary_pictures(photos, seed, config.pictures)
    maps = _counted_maps(seen_once(extractor), objects, progress, len(drawn) + len(family))
    pairs = _pairs(objects, maps, config, seed)
    of_families = family_pairs(family, list(maps([one.view for one in family])), seed)
    plain = list(maps(drawn))
    _warn(objects, pairs, plain)
    trained = train_head(
        pairs,
        of_families,
        plain,
        config,
        strength=recipe.strength,
        seed=seed,
        device=extractor.device,
        # What was planned may take longer than guessed; a head that is hardly trained would be the worse choice.
        budget_s=None if budget_s is None else max(LEAST_SHARE * budget_s, budget_s - (time.monotonic() - started)),
        progress=lambda done, total: progress("train", done, total),
    )
    return with_head(extractor, trained)


def with_stepped_head(
    extractor: Extractor,
    objects: Mapping[str, Sequence[View]],
    recipe: Recipe,
    photos: Path | None,
    seed: int,
    progress: Progress,
) -> Extractor:
    """Take one step of a linear head on an extractor's features of pictures seen once; return the extractor with it."""
    assert recipe.head_training is not None
    maps = _counted_maps(seen_once(extractor), objects, progress, FEW_PICTURES)
    pairs = _pairs(objects, maps, recipe.head_training, seed)
    # What features vary over in general is only asked for the warning, so a few pictures do.
    _warn(objects, pairs, list(maps(ordinary.ordinary_pictures(photos, seed, FEW_PICTURES))))
    stepped = step_head(
        pairs,
        recipe.head_training,
        strength=recipe.strength,
        seed=seed,
        device=extractor.device,
        progress=lambda done, total: progress("train", done, total),
    )
    return with_head(extractor, stepped)


def seen_once(extractor: Extractor) -> Extractor:
    """Return the extractor for pictures seen once, as they are.

    What a linear head learns there serves features averaged over sizes and the mirrored picture as well, at a seventh
    of the work (`docs/science.md`).
    """
    return Extractor(extractor.backbone, extractor.config.seen_once, extractor.head)


def _pairs(
    objects: Mapping[str, Sequence[View]],
    maps: Callable[[Sequence[Picture]], Iterator[FeatureMap]],
    config: HeadTraining,
    seed: int,
) -> list[list[TrainingPair]]:
    limits = {"min_overlap": config.min_overlap, "max_angle_deg": config.max_angle_deg}
    return [object_pairs(views, list(maps(views)), seed=seed, **limits) for views in objects.values()]


def _warn(objects: Iterable[str], pairs: Sequence[Sequence[TrainingPair]], ordinary: Sequence[FeatureMap]) -> None:
    for name, own in zip(objects, pairs, strict=True):
        warn_if_little(name, change_of(own, ordinary), sum(len(pair.xy0) for pair in own))


def with_head(extractor: Extractor, head: nn.Module) -> Extractor:
    """Return the extractor with one more head on top."""
    fixed = [] if extractor.head is None else [extractor.head]
    chain = HeadChain([*fixed, head]) if fixed else head
    return Extractor(extractor.backbone, extractor.config, chain.to(extractor.device))


def _counted_maps(
    extractor: Extractor, objects: Mapping[str, Sequence[View]], progress: Progress, more: int
) -> Callable[[Sequence[Picture]], Iterator[FeatureMap]]:
    """Return a function from pictures to maps on the CPU that reports how many of all were computed."""
    extractor.eval()
    total, done = more + sum(len(views) for views in objects.values()), itertools.count(1)

    def maps(pictures: Sequence[Picture]) -> Iterator[FeatureMap]:
        for fmap in extractor.maps(pictures, device="cpu"):
            progress("solve", next(done), total)
            yield fmap

    return maps
