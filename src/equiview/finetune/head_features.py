"""What stages share that learn a head: feature maps with their progress, pairs, warnings, and the head put on top."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from torch import nn

from ..models.extractor import Extractor, Picture
from ..models.heads import HeadChain
from ..types import FeatureMap, View
from .head_pairs import TrainingPair, object_pairs
from .object_diagnostics import change_of, warn_if_little
from .pair_store import store_of

if TYPE_CHECKING:
    from .stages.base import Context

Maps = Callable[[Sequence[Picture]], Iterator[FeatureMap]]


class PairLimits(Protocol):
    """Which pairs of views are used, see `HeadTraining`."""

    @property
    def min_overlap(self) -> float: ...
    @property
    def max_angle_deg(self) -> float: ...


def on_pictures_seen_once(extractor: Extractor) -> Extractor:
    """Return the extractor for pictures seen once, as they are.

    What a linear head learns there serves features averaged over sizes and the mirrored picture as well, at a seventh
    of the work (`docs/science.md`).
    """
    return Extractor(extractor.backbone, extractor.config.single_pass, extractor.head)


def training_pairs(
    extractor: Extractor, maps: Maps, limits: PairLimits, context: "Context"
) -> dict[str, list[TrainingPair]]:
    """Return the pairs of views of every object, those of auxiliary ones from the store where there is one.

    Args:
        extractor: What `maps` computes.
        maps: From pictures to their maps.
        limits: Which pairs can be used.
        context: The objects, the seed and the store.
    """
    about = {"min_overlap": limits.min_overlap, "max_angle_deg": limits.max_angle_deg, "seed": context.seed}
    # Made objects and their pairs are the same for every run: the seed of a run decides which are drawn, and when.
    kept = about | {"seed": 0}

    def made(views: Sequence[View], how: Mapping[str, float]) -> list[TrainingPair]:
        return object_pairs(views, list(maps(views)), **how)  # type: ignore[arg-type]

    pairs = {}
    for name, views in context.objects.items():
        if context.store is None or name not in context.auxiliary:
            pairs[name] = made(views, about)
        else:
            about_views = {"views": len(views), "content": context.auxiliary[name]}
            store = store_of(context.store, extractor, kept | about_views)
            pairs[name] = store.get(name, partial(made, views, kept))
    return pairs


def warn_of_objects(pairs: Mapping[str, Sequence[TrainingPair]], unlabeled: Sequence[FeatureMap]) -> None:
    """Warn of every object that has little to learn from, see `object_diagnostics`."""
    for name, of_object in pairs.items():
        warn_if_little(name, change_of(of_object, unlabeled), sum(len(pair.xy0) for pair in of_object))


def with_head(extractor: Extractor, head: nn.Module) -> Extractor:
    """Return the extractor with one more head on top."""
    chain = head if extractor.head is None else HeadChain([extractor.head, head])
    return Extractor(extractor.backbone, extractor.config, chain.to(extractor.device))


def counted_maps(
    extractor: Extractor,
    objects: Mapping[str, Sequence[View]],
    progress: Callable[[str, int, int], None],
    more: int,
) -> Maps:
    """Return a function from pictures to maps on the CPU that reports how many of all were computed.

    Args:
        extractor: What computes them.
        objects: All of their views are asked for.
        progress: Called with ("solve", maps done, maps in all).
        more: How many other pictures are asked for.
    """
    extractor.eval()
    total, done = more + sum(len(views) for views in objects.values()), itertools.count(1)

    def maps(pictures: Sequence[Picture]) -> Iterator[FeatureMap]:
        for fmap in extractor.maps(pictures, device="cpu"):
            progress("solve", next(done), total)
            yield fmap

    return maps
