"""What stages share that learn a head: feature maps with their progress, pairs, warnings, and the head put on top."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from torch import nn

from ..models.adapters.lora import has_lora
from ..models.extractor import Extractor, Picture
from ..models.heads import on_top, without_fine
from ..types import FeatureMap, View
from .head_pairs import TrainingPair, object_pairs
from .object_diagnostics import change_of, warn_if_little
from .pair_store import store_of

if TYPE_CHECKING:
    from .stages.base import Context


class PairLimits(Protocol):
    """Which pairs of views are used, see `HeadTraining`."""

    @property
    def min_overlap(self) -> float: ...
    @property
    def max_angle_deg(self) -> float: ...


def on_pictures_seen_once(extractor: Extractor) -> Extractor:
    """Return the extractor for pictures seen once, as they are, without the fine part of its head.

    What a linear head learns there serves features averaged over sizes and the mirrored picture as well, at a seventh
    of the work (`docs/science.md`). It goes below the fine part, which learns nothing.
    """
    return Extractor(extractor.backbone, extractor.config.single_pass, without_fine(extractor.head))


def training_pairs(
    extractor: Extractor, maps: "CountedMaps", limits: PairLimits, context: "Context"
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

    # What a LoRA makes of an object is no other run's business.
    root = None if has_lora(extractor.backbone) else context.store
    store = None if root is None else store_of(root, extractor, kept)
    pairs = {}
    for name, views in context.objects.items():
        lasting = context.auxiliary.get(name)
        if store is None or lasting is None:
            pairs[name] = made(views, about)
            continue
        key = f"{lasting}-{len(views)}"
        if key in store:
            maps.skip(len(views))
        pairs[name] = store.get(key, partial(made, views, kept))
    return pairs


def warn_of_objects(pairs: Mapping[str, Sequence[TrainingPair]], unlabeled: Sequence[FeatureMap]) -> None:
    """Warn of every object that has little to learn from, see `object_diagnostics`."""
    for name, of_object in pairs.items():
        warn_if_little(name, change_of(of_object, unlabeled), sum(len(pair.xy0) for pair in of_object))


def with_head(extractor: Extractor, head: nn.Module) -> Extractor:
    """Return the extractor with one more head on top, see `on_top`."""
    return Extractor(extractor.backbone, extractor.config, on_top(extractor.head, head).to(extractor.device))


class CountedMaps:
    """From pictures to maps on the CPU, saying how many of all were computed.

    Args:
        extractor: What computes them.
        objects: All of their views are asked for.
        progress: Called with ("solve", maps done, maps in all).
        more: How many other pictures are asked for.
    """

    def __init__(
        self,
        extractor: Extractor,
        objects: Mapping[str, Sequence[View]],
        progress: Callable[[str, int, int], None],
        more: int,
    ) -> None:
        self.extractor, self.progress = extractor.eval(), progress
        self.total, self.done = more + sum(len(views) for views in objects.values()), 0

    def __call__(self, pictures: Sequence[Picture]) -> Iterator[FeatureMap]:
        for fmap in self.extractor.maps(pictures, device="cpu"):
            self.skip(1)
            yield fmap

    def skip(self, count: int) -> None:
        """Count maps as done."""
        self.done += count
        self.progress("solve", self.done, self.total)
