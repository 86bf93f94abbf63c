"""From a recipe and views of training objects to an adapted extractor, whatever the recipe does."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from ..backbones.base import Backbone
from ..captures.dead_leaves import dead_leaves
from ..errors import bad_input
from ..features import Extractor, Picture
from ..heads import HeadChain
from ..io import read_image
from ..sources import source_name
from ..types import FeatureMap, View
from .budget import FEW_PICTURES, NETWORK_SHARE, seconds_per_map
from .closed_form import picture_statistics, solve_closed_form, view_statistics
from .head_pairs import TrainingPair, family_pairs, members, object_pairs
from .head_step import step_head
from .head_training import HeadTraining, train_head
from .recipes import TRAIN_HEAD, TRAIN_NETWORK, Recipe, prepare
from .teaching import change_of, warn_if_little
from .train import train

log = logging.getLogger(__name__)

PICTURES = 60
LEAST_SHARE = 0.2
"""Of the time given for it, extraction and training, that the training of a head gets in any case."""
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
Progress = Callable[[str, int, int], None]


def photo_files(photos: Path) -> list[Path]:
    """Return the photos of a folder, sorted by name.

    Raises:
        EquiviewError: There is none.
    """
    files = sorted(p for p in Path(photos).glob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if not files:
        raise bad_input(str(photos), "a folder with photos (.jpg, .png)", "none", "Leave --photos out to do without.")
    return files


def ordinary_pictures(photos: Path | None, seed: int = 0, count: int | None = None) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Return pictures that show what a backbone tells apart in general.

    Args:
        photos: A folder of photos (60 are drawn from it); None draws dead-leaves pictures instead.
        seed: Which photos, or which drawings.
        count: Only so many of the 60, first ones first.

    Raises:
        EquiviewError: The folder holds no picture.
    """
    if photos is None:
        return [dead_leaves(seed * PICTURES + number) for number in range(PICTURES)[:count]]
    files = photo_files(photos)
    chosen = np.random.default_rng([seed, 60]).permutation(len(files))[:PICTURES]
    return [read_image(files[number]) for number in sorted(chosen)[:count]]


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
        photos: Ordinary photos for the closed form, see `ordinary_pictures`.
        seed: Of everything random.
        budget_s: Seconds all of this may take; the training is cut to fit. None for no limit.
        progress: Called with ("train" or "solve", done, total).

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
    train(
        learner,
        objects,
        recipe,
        out_dir,
        seed=seed,
        device=extractor.device,
        time_budget_s=budget_s,
        progress=lambda done, total, _: progress(stage, done, total),
    )


def closed_form_seconds(extractor: Extractor, objects: Mapping[str, Sequence[View]]) -> float:
    """Guess how long the closed form will take."""
    return seconds_per_map(extractor, objects) * (PICTURES + sum(len(own) for own in objects.values()))


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
    maps = _counted_maps(extractor, objects, progress, PICTURES)
    with torch.no_grad():
        pictures = picture_statistics(maps(ordinary_pictures(photos, seed)), config.tokens_per_picture, seed)
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
    drawn = ordinary_pictures(photos, seed, config.pictures)
    maps = _counted_maps(seen_once(extractor), objects, progress, len(drawn) + len(family))
    pairs = _pairs(objects, maps, config, seed)
    of_families = family_pairs(family, list(maps([one.view for one in family])), seed)
    ordinary = list(maps(drawn))
    _warn(objects, pairs, ordinary)
    trained = train_head(
        pairs,
        of_families,
        ordinary,
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
    _warn(objects, pairs, list(maps(ordinary_pictures(photos, seed, FEW_PICTURES))))
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
