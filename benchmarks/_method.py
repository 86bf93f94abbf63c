"""What the table of methods shares: pictures computed once, the two measurements every row gets, and repetitions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _protocol import MEASURE, pick_blocks, source_of, split
from _willow import WILLOW_SIDE, Willow
from torch import nn

from equiview.data.meshes import open_object
from equiview.data.names import source_name
from equiview.data.synthetic.categories import CategoryView
from equiview.finetune.adapt import adapt
from equiview.finetune.head_pairs import TrainingPair, category_pairs, instance_views, object_pairs
from equiview.finetune.recipe import Recipe
from equiview.finetune.recipes import SPREAD, THOROUGH
from equiview.finetune.stages.add_head import FIXED_HEADS
from equiview.finetune.unlabeled_images import unlabeled_images
from equiview.io import atomic_path, read_jsonl
from equiview.jobs.improve import apply_head
from equiview.jobs.scoring import rows_path, write_rows
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig, picture_rgb
from equiview.tasks import transfer
from equiview.tasks.equivariance import plan_object, score_object
from equiview.tasks.transfer import TransferConfig
from equiview.types import FeatureMap

VIEWS, TRAIN_VIEWS = 6, 12
TRAIN_OBJECTS = ("large_marker", "correction_fluid", "mini_claw_hammer_1")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Repetition:
    """One try: a seed and the objects trained on."""

    seed: int
    objects: tuple[str, ...]

    @property
    def name(self) -> str:
        objects = source_name(self.objects[0]) if len(self.objects) == 1 else f"{len(self.objects)}-objects"
        return f"{objects}-{self.seed}"


def repetitions(objects: int = 1) -> list[Repetition]:
    """Return 3 seeds x 3 objects for one object, and 3 seeds for several (drawn, or all ten)."""
    if objects == 1:
        return [Repetition(seed, (name,)) for seed, name in product(SEEDS, TRAIN_OBJECTS)]
    names = split("train")
    return [
        Repetition(seed, tuple(names[n] for n in np.random.default_rng(seed).permutation(len(names))[:objects]))
        for seed in SEEDS
    ]


def plain_name(name: str) -> str:
    """Return a row's name as it stands in the names of files."""
    return name.replace(", ", "-").replace(" ", "-").replace("(", "").replace(")", "")


def claim(work: Path, weights: str) -> None:
    """Stop where a folder holds finished rows of another backbone: rows are told by their names only."""
    note = work / "backbone.txt"
    if note.exists() and note.read_text() != weights:
        raise SystemExit(f"{work} holds rows of another backbone: give another --work.")
    work.mkdir(parents=True, exist_ok=True)
    note.write_text(weights)


class Features:
    """Feature maps of a fixed backbone, float16 on disk, by what they show and which blocks.

    With something fixed on top they are kept in memory, one kind at a time: whitening a map costs more than reading it.

    Args:
        weights: A backbone.
        work: Views and maps lie here.
        wide: Blocks of which several sets are asked for: computed in one pass, and each set cut out of it.
        fixed: What there is to put on top, by name.
        seen: Every picture is seen in three sizes and mirrored, as the recipe thorough does.
    """

    def __init__(
        self, weights: str, work: Path, wide: tuple[int, ...] = (), fixed=FIXED_HEADS, seen: bool = False
    ) -> None:
        self.weights, self.work, self.backbone = weights, work, load_backbone(weights)
        claim(work, self.backbone.info.weights_sha256)
        self.wide, self.fixed, self.seen = wide, fixed, seen
        depth = self.backbone.info.blocks
        self.spread = tuple(max(1, round(share * depth)) for share in SPREAD)
        self.last, self.best = (depth,), (max(1, round(2 / 3 * depth)),)
        self.kept_maps: dict[tuple[str, Any, int, str], list[FeatureMap]] = {}
        self.kept_pairs: dict[tuple[Any, ...], list[TrainingPair]] = {}
        self.kept_instances: dict[int, list[CategoryView]] = {}

    def views(self, name: str, count: int) -> list[Any]:
        return list(open_object(source_of(name), n_views=count, seed=0, cache_dir=self.work / "views"))

    def maps(self, what: str, pictures, blocks, long_side: int = 640, fixed: str = "none") -> list[FeatureMap]:
        """Return the maps of some pictures, computed when first asked for."""
        head = self.fixed[fixed]()
        if head is None:
            return self.plain(what, pictures, blocks, long_side)
        key = (what, tuple(blocks), long_side, fixed)
        if key not in self.kept_maps:
            self.kept_maps = {other: own for other, own in self.kept_maps.items() if other[3] == fixed}
            made = apply_head(head, self.plain(what, pictures, blocks, long_side))
            self.kept_maps[key] = [one.replace_tokens(one.tokens.half()) for one in made]
        return [one.replace_tokens(one.tokens.float()) for one in self.kept_maps[key]]

    def plain(self, what: str, pictures: Callable[[], Sequence[Any]], blocks, long_side: int) -> list[FeatureMap]:
        """Return the maps of some pictures with nothing on top."""
        if self.wide and tuple(blocks) not in (self.spread, self.wide):
            places = [self.wide.index(block) + 1 for block in blocks]
            return pick_blocks(self.plain(what, pictures, self.wide, long_side), places, self.backbone.info.dim)
        label = "-".join(map(str, blocks))
        name = f"{self.backbone.info.weights_sha256[:12]}-{what}-{label}-{long_side}{'-seen' * self.seen}.pt"
        path = self.work / "maps" / name
        if not path.exists():
            config = THOROUGH.features if self.seen else FeatureConfig()
            config = replace(config, blocks=tuple(blocks), long_side=long_side)
            source = Extractor(self.backbone, config).eval()
            found = [
                (one.tokens.half(), one.stride_xy, one.offset_xy, one.image_hw)
                for one in source.maps(pictures(), batch_size=1)
            ]
            with atomic_path(path) as temporary:
                torch.save(found, temporary)
        # As the extractor makes them: several blocks are each L2-normalised, one alone is not.
        return [FeatureMap(t.float(), *geometry) for t, *geometry in torch.load(path, weights_only=True)]

    def of_object(self, name: str, blocks, count: int = TRAIN_VIEWS, fixed: str = "none") -> list[FeatureMap]:
        label = f"{name.replace(':', '-')}-{count}"
        return self.maps(label, lambda: self.views(name, count), blocks, fixed=fixed)

    def adapted(self, recipe: Recipe, repetition: Repetition, folder: Path) -> Extractor:
        """Return what `adapt` makes of a recipe with a repetition's objects and the recipe's auxiliary objects."""
        names = (*repetition.objects, *recipe.auxiliary_objects)
        views = {source_name(name): self.views(name, TRAIN_VIEWS) for name in names}
        return adapt(load_backbone(self.weights), views, recipe, folder, seed=repetition.seed)

    def unlabeled(self, seed: int, blocks, fixed: str = "none") -> list[FeatureMap]:
        return self.maps(f"drawn-{seed}", lambda: unlabeled_images(None, seed), blocks, fixed=fixed)

    def pairs(self, name: str, seed: int, blocks, count: int = TRAIN_VIEWS, fixed: str = "none") -> list[TrainingPair]:
        """Return an object's training pairs; the last twenty are kept, as all rows share auxiliary objects."""
        key = (name, seed, tuple(blocks), count, fixed)
        if key not in self.kept_pairs:
            self.kept_pairs = dict(list(self.kept_pairs.items())[-19:])
            maps = self.of_object(name, blocks, count, fixed)
            self.kept_pairs[key] = object_pairs(self.views(name, count), maps, seed=seed)
        return self.kept_pairs[key]

    def categories(self, count: int, seed: int, fixed: str) -> list[TrainingPair]:
        """Return the pairs of instances of rendered categories, `count` of each."""
        if count == 0:
            return []
        pictures = self.kept_instances.setdefault(count, instance_views(count))
        views = [one.view for one in pictures]
        return category_pairs(pictures, self.maps(f"instances-{count}", lambda: views, self.spread, fixed=fixed), seed)


def through(head: nn.Module | None, maps: list[FeatureMap]) -> list[FeatureMap]:
    """Return the maps with a head applied, if there is one."""
    return maps if head is None else apply_head(head, maps)


class Fixed:
    """Maps already computed, as a source of features: found by the picture's pixels."""

    def __init__(self, pictures: Iterable[Any], maps: Iterable[FeatureMap], about: dict[str, Any]) -> None:
        self.about = about
        self.by_pixels = {picture_rgb(p).tobytes(): fmap for p, fmap in zip(pictures, maps, strict=True)}

    def maps(self, views: Iterable[Any], *, batch_size: int = 1) -> Iterator[FeatureMap]:
        for view in views:
            yield self.by_pixels[picture_rgb(view).tobytes()]

    def describe(self) -> dict[str, Any]:
        return self.about


class Measured:
    """The two measurements: PCDP and APE on some objects, PCK on PF-WILLOW. A finished row is only read."""

    def __init__(self, features: Features, objects: Sequence[str], chosen_only: bool = False) -> None:
        self.features, self.work, self.config = features, features.work, MEASURE
        self.plans = {name: plan_object(name, features.views(name, VIEWS), MEASURE) for name in objects}
        self.willow = Willow(chosen_only)
        self.pictures = self.willow.pictures()

    def head(self, row: str, blocks, head: Callable[[], nn.Module | None], fixed: str = "none") -> None:
        """Score a head on the backbone's features; the head is made only when it is needed."""
        if self.done(row):
            return
        made = head()
        self.score(
            row,
            lambda name: through(made, self.features.of_object(name, blocks, VIEWS, fixed)),
            lambda: through(made, self.willow_maps(blocks, fixed)),
        )

    def willow_maps(self, blocks, fixed: str) -> list[FeatureMap]:
        return self.features.maps("willow", lambda: self.pictures, blocks, WILLOW_SIDE, fixed)

    def extractor(self, row: str, make: Callable[[], Extractor]) -> None:
        """Score an adapted network: every picture goes through it."""
        if self.done(row):
            return
        made = make()
        at_448 = copy(made).eval()
        at_448.config = replace(made.config, long_side=WILLOW_SIDE)
        self.score(row, lambda name: list(made.maps(self.plans[name].views)), lambda: list(at_448.maps(self.pictures)))

    @torch.no_grad()
    def score(self, row: str, of_object, willow) -> None:
        for name, plan in self.plans.items():
            if not self.path(row, name).exists():
                write_rows(self.path(row, name), score_object(plan, of_object(name), self.config))
        self.match(row, willow())

    def match(self, row: str, maps: list[FeatureMap]) -> None:
        """Write what maps of all its pictures find on PF-WILLOW."""
        source = Fixed(self.pictures, maps, {})
        write_rows(self.path(row, "willow"), transfer.run(source, self.willow.pairs, TransferConfig()))

    def path(self, row: str, name: str) -> Path:
        return rows_path(self.work / "rows" / row, name)

    def done(self, row: str) -> bool:
        return all(self.path(row, name).exists() for name in (*self.plans, "willow"))

    def rows(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        return [row for label in labels for name in self.plans for row in read_jsonl(self.path(label, name))]

    def pck(self, labels: Sequence[str], which: str) -> dict[str, float]:
        """Return PCK@0.10 by distinct source picture of `chosen`, `unseen` or `all` pairs, repetitions averaged."""
        return self.willow.pck([row for label in labels for row in read_jsonl(self.path(label, "willow"))], which)
