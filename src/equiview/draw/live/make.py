"""Make a pack: choose views and channels that fit, reduce, round, and measure what that costs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ...errors import EquiviewError, bad_input
from ...tasks.equivariance import ObjectPlan
from ...types import FeatureMap
from ..canvas import image_bytes
from .loss import measure_loss
from .maps import packed_maps, same_grids
from .pack import Pack, PackedView, save_pack
from .reduce import fit_basis, quantise
from .truth import Truth, known_points, no_points

log = logging.getLogger(__name__)

MAX_VIEWS = 12
MAX_CHANNELS, MIN_CHANNELS, CHANNEL_STEP = 96, 32, 8
JPEG_LONG_SIDE_PX, JPEG_QUALITY = 400, 85
# Bytes of one pack in a run's report, where two must fit beside the rest of 15 MB; base64 adds a third.
RUN_BYTES = 3_000_000
RUN_OBJECTS = 2


def make_pack(
    name: str,
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    variants: Mapping[str, Sequence[FeatureMap]],
    truth: Truth | None = None,
    *,
    names: Sequence[str] | None = None,
    max_bytes: int = RUN_BYTES,
    seed: int = 0,
) -> Pack:
    """Pack features of some views so that they take at most `max_bytes`.

    At most 12 views are taken, spread evenly over all. Then as many channels as fit, 96 at most; where not even 32
    fit, fewer views are taken.

    Args:
        name: What the views show.
        pictures: The views' pictures.
        variants: Feature maps of all of them by variant (`pretrained`, `adapted`), on the same grids.
        truth: Known points, None without.
        names: Names of the views; only numbered when None.
        max_bytes: Of the pack, before it is written as text.
        seed: Of the questions that measure the loss.

    Raises:
        EquiviewError: No view, grids that differ between variants, features that are not finite, or not even one view
            (two, where there are several) fits.
    """
    first = next(iter(variants.values()), [])
    _check(name, pictures, variants)
    truth = truth or no_points(len(pictures))
    labels = [str(n) for n in names] if names is not None else [""] * len(pictures)
    jpegs = [image_bytes(picture, "JPEG", JPEG_LONG_SIDE_PX, JPEG_QUALITY) for picture in pictures]
    sizes = [
        len(jpeg) + 4 * xy.shape[0] * min(MAX_VIEWS, len(pictures)) for jpeg, xy in zip(jpegs, truth.xy, strict=True)
    ]
    channels = min(MAX_CHANNELS, *(int(maps[0].tokens.shape[0]) for maps in variants.values()))
    chosen, dim = _fit([m.hw for m in first], sizes, channels, len(variants), max_bytes)
    views = tuple(
        PackedView(
            labels[i], m.image_hw, m.hw, m.stride_xy, m.offset_xy, jpegs[i], truth.xy[i], truth.xy_true[i][chosen]
        )
        for i, m in ((i, first[i]) for i in chosen)
    )
    own = Truth([view.xy for view in views], [view.xy_true for view in views])
    pack = Pack(name, views, {}, {}, {})
    for variant, maps in variants.items():
        shown = [maps[i] for i in chosen]
        tokens, scale = quantise(shown, fit_basis(shown, own.xy, dim))
        pack = replace(pack, tokens={**pack.tokens, variant: tokens}, scales={**pack.scales, variant: scale})
        loss = measure_loss(shown, packed_maps(pack, variant), own, seed)
        pack = replace(pack, loss={**pack.loss, variant: {"channels": tokens.shape[1], **loss}})
    return pack


def save_object(path: Path, plan: ObjectPlan, variants: Mapping[str, Sequence[FeatureMap]], seed: int = 0) -> None:
    """Write the pack of one object of a run; where it is too large there is none, and the log says so.

    Args:
        path: `live/OBJECT.npz` in the run folder.
        plan: Its views.
        variants: Feature maps of all of them by variant.
        seed: As of `make_pack`.
    """
    truth = known_points(plan.views, next(iter(variants.values())))
    try:
        pack = make_pack(plan.name, [view.rgb for view in plan.views], variants, truth, seed=seed)
    except EquiviewError as error:  # A run is not given up for its page.
        log.warning("No live part for %s: %s", plan.name, error)
        return
    save_pack(path, pack)


def _check(name: str, pictures: Sequence[np.ndarray], variants: Mapping[str, Sequence[FeatureMap]]) -> None:
    counts = {variant: len(maps) for variant, maps in variants.items()}
    if not pictures or not counts or set(counts.values()) != {len(pictures)}:
        found = f"{len(pictures)} pictures and {counts or 'no variant'}"
        raise bad_input(f"live page of {name!r}", "a feature map of every view and variant", found, "Give one each.")
    if not same_grids(list(variants.values())):
        fix = "Extract all variants at one resolution and stride."
        raise bad_input(f"live page of {name!r}", "variants on the same tokens", "grids that differ", fix)
    for variant, maps in variants.items():
        if not all(bool(m.tokens.isfinite().all()) for m in maps):
            fix = "Use fp32, or check the adapter."
            raise bad_input(f"features of {name!r}, {variant}", "finite numbers", "NaN or infinity", fix)


def _fit(
    grids: Sequence[tuple[int, int]], sizes: Sequence[int], channels: int, n_variants: int, max_bytes: int
) -> tuple[list[int], int]:
    """Return which views are taken and how many channels."""
    least = min(MIN_CHANNELS, channels)
    for count in range(min(MAX_VIEWS, len(grids)), min(2, len(grids)) - 1, -1):
        chosen = np.unique(np.linspace(0, len(grids) - 1, count).round().astype(int)).tolist()
        tokens = sum(grids[i][0] * grids[i][1] for i in chosen)
        dim = (max_bytes - sum(sizes[i] for i in chosen)) // (tokens * n_variants)
        if dim >= least:
            return chosen, channels if dim >= channels else max(least, dim // CHANNEL_STEP * CHANNEL_STEP)
    rows, cols = max(grids)
    found = f"more than that for {rows} x {cols} tokens a view"
    fix = "Use a smaller --long-side or a larger stride."
    raise bad_input("live page", f"at most {max_bytes / 1e6:.1f} MB of tokens and pictures", found, fix)
