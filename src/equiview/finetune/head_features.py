"""What stages share that learn a head: feature maps with their progress, pairs, warnings, and the head put on top."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from torch import nn

from ..models.extractor import Extractor, Picture
from ..models.heads import HeadChain
from ..types import FeatureMap, View
from .head_pairs import TrainingPair, object_pairs
from .object_diagnostics import change_of, warn_if_little

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
    objects: Mapping[str, Sequence[View]], maps: Maps, limits: PairLimits, seed: int
) -> list[list[TrainingPair]]:
    """Return the pairs of views of every object."""
    about = {"min_overlap": limits.min_overlap, "max_angle_deg": limits.max_angle_deg, "seed": seed}
    return [object_pairs(views, list(maps(views)), **about) for views in objects.values()]  # type: ignore[arg-type]


def warn_of_objects(
    objects: Iterable[str], pairs: Sequence[Sequence[TrainingPair]], unlabeled: Sequence[FeatureMap]
) -> None:
    """Warn of every object that has little to learn from, see `object_diagnostics`."""
    for name, of_object in zip(objects, pairs, strict=True):
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
