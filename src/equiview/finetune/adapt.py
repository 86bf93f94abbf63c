"""From a recipe and views of training objects to an adapted extractor, whatever the recipe does."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ..backbones.base import Backbone
from ..captures.dead_leaves import dead_leaves
from ..errors import bad_input
from ..features import Extractor
from ..heads import HeadChain
from ..io import read_image
from ..types import View
from .closed_form import ClosedFormConfig, picture_statistics, solve_closed_form, view_scatter
from .recipes import Recipe, prepare
from .train import train

log = logging.getLogger(__name__)

PICTURES = 60
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
Progress = Callable[[str, int, int], None]


def ordinary_pictures(photos: Path | None, seed: int = 0) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Return pictures that show what a backbone tells apart in general.

    Args:
        photos: A folder of photos (60 are drawn from it); None draws dead-leaves pictures instead.
        seed: Which photos, or which drawings.

    Raises:
        EquiviewError: The folder holds no picture.
    """
    if photos is None:
        return [dead_leaves(seed * PICTURES + number) for number in range(PICTURES)]
    files = sorted(p for p in Path(photos).glob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if not files:
        raise bad_input(str(photos), "a folder with photos (.jpg, .png)", "none", "Leave --photos out to do without.")
    chosen = np.random.default_rng([seed, 60]).permutation(len(files))[:PICTURES]
    return [read_image(files[number]) for number in sorted(chosen)]


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
        budget_s: Seconds of training, in place of the recipe's.
        progress: Called with ("adapt", done, total).

    Returns:
        The adapted extractor, in evaluation mode.
    """
    started = time.monotonic()
    extractor = prepare(backbone, recipe, seed=seed)
    if recipe.kind != "closed_form":
        train(
            extractor,
            objects,
            recipe,
            out_dir,
            seed=seed,
            device=extractor.device,
            time_budget_s=budget_s,
            progress=None if progress is None else lambda done, total, _: progress("adapt", done, total),
        )
    if recipe.kind != "train":
        assert recipe.closed_form is not None  # the recipe checked it
        extractor = with_closed_form(extractor, objects, recipe.closed_form, photos, seed)
        if progress is not None:
            progress("adapt", 1, 1)
    log.info("adapted with %s in %.1f s", recipe.name, time.monotonic() - started)
    return extractor.eval()


def with_closed_form(
    extractor: Extractor,
    objects: Mapping[str, Sequence[View]],
    config: ClosedFormConfig,
    photos: Path | None,
    seed: int,
) -> Extractor:
    """Solve the linear head on top of an extractor's features and return the extractor with it."""
    extractor.eval()
    with torch.no_grad():
        pictures = picture_statistics(
            extractor.maps(ordinary_pictures(photos, seed), device="cpu"), config.tokens_per_picture, seed
        )
        # One object's maps in memory at a time.
        of_objects = ((views, list(extractor.maps(views, device="cpu"))) for views in objects.values())
        scatter, n = view_scatter(of_objects, config, seed)
    log.info("closed form from %d correspondences and %d tokens of ordinary pictures", n, pictures.n)
    solved = solve_closed_form(pictures, scatter, config)
    fixed = [] if extractor.head is None else [extractor.head]
    head = HeadChain([*fixed, solved]) if fixed else solved
    return Extractor(extractor.backbone, extractor.config, head.to(extractor.device))
