"""Many ways to use one backbone, scored on the same pictures: every block is computed once, the rest is cheap.

A candidate is a set of blocks and a fixed head on top. One object, or one category of objects, is in memory at a time.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import nn

from ..data.synthetic.categories import CategoryView, pairs_of
from ..matching.match import match
from ..metrics.equivariance import error_px, pcdp
from ..metrics.pck import pck
from ..models.extractor import Extractor, Picture, blocks_at, image_batch, join_blocks, picture_rgb, resize
from ..sampling import descriptors
from ..types import FeatureMap
from .equivariance import ObjectPlan

SETS = (
    (1 / 2, 1),
    (2 / 3, 1),
    (5 / 6, 1),
    (1 / 2, 5 / 6, 1),
    (2 / 3, 5 / 6, 1),
    (1 / 3, 1 / 2, 2 / 3, 5 / 6),
    (0.25, 0.5, 0.75, 1),
)
"""Sets of blocks as shares of the depth; of 12: 6,12; 8,12; 10,12; 6,10,12; 8,10,12; 4,6,8,10; 3,6,9,12."""
THRESHOLDS = (0.05, 0.02)
ALPHA = 0.1
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """A way to use a backbone.

    Attributes:
        blocks: Numbers from 1; several are each L2-normalised and concatenated, as `Extractor` does.
        head: The name of a fixed head.
    """

    blocks: tuple[int, ...]
    head: str

    @property
    def name(self) -> str:
        """Blocks and head in one word: "10,12 average"."""
        return f"{','.join(map(str, self.blocks))} {self.head}"


Heads = Callable[[Candidate], nn.Module | None]
"""Makes the head of a candidate."""


def candidates(blocks: int, heads: Iterable[str]) -> list[Candidate]:
    """Return every single block and the sets of `SETS`, each with every head; the order is from few blocks to many."""
    singles = [(block,) for block in range(1, blocks + 1)]
    sets = dict.fromkeys([*singles, *(blocks_at(depths, blocks) for depths in SETS)])
    return [Candidate(own, head) for own in sorted(sets, key=len) for head in heads]


@torch.no_grad()
def block_maps(source: Extractor, views: Iterable[Picture]) -> list[list[FeatureMap]]:
    """Return the maps of all blocks of every view, without a head, not L2-normalised, in half precision.

    Memory: views x blocks x channels x tokens x 2 bytes; 12 blocks of 384 channels at 336 px: 5 MB a view.
    """
    config, found = source.config, []
    every = tuple(range(1, source.backbone.info.blocks + 1))
    for view in views:
        rgb = picture_rgb(view)
        image_hw = (rgb.shape[0], rgb.shape[1])
        image = resize(image_batch([rgb], source.device), source.network_hw(image_hw))
        maps = source.backbone(image, blocks=every, norm=config.norm, stride=config.stride, position=config.position)
        found.append([source.feature_map(one[0].half(), image_hw) for one in maps])
    return found


@torch.no_grad()
def candidate_map(maps: Sequence[FeatureMap], blocks: Sequence[int], head: nn.Module | None) -> FeatureMap:
    """Return one view's features of a candidate from the maps of all its blocks."""
    tokens = join_blocks([maps[block - 1].tokens[None].float() for block in blocks])
    return maps[0].replace_tokens((tokens if head is None else head(tokens))[0])


def score_views(
    plan: ObjectPlan,
    maps: Sequence[Sequence[FeatureMap]],
    ways: Iterable[Candidate],
    heads: Heads,
) -> Rows:
    """Match every planned pair of an object's views with every candidate.

    Points that cannot be told apart are left out, for they say nothing of features, unless the object has no others.

    Returns:
        Rows with variant, object, pair, angle_deg, n, pcdp@0.05 and pcdp@0.02 (percent).
    """
    rows, counted = [], points_that_count(plan)
    for way in ways:
        head = heads(way)
        own = [candidate_map(one, way.blocks, head) for one in maps]
        queries = [descriptors(fmap, torch.from_numpy(xy).float()) for fmap, xy in zip(own, plan.xy, strict=True)]
        for (i, j), chosen in counted.items():
            truth = plan.pairs[i, j]
            visible = queries[i][torch.from_numpy(truth.index[chosen]).to(queries[i].device)]
            errors = error_px(match(visible, own[j]).xy1.cpu().double().numpy(), truth.xy1[chosen])
            row = {"variant": way.name, "object": plan.name, "pair": [i, j], "angle_deg": round(truth.angle_deg, 4)}
            scores = {f"pcdp@{t:g}": pcdp(errors, own[j].image_hw, t) for t in THRESHOLDS}
            rows.append(row | {"n": len(errors)} | scores)
    return rows


def points_that_count(plan: ObjectPlan) -> dict[tuple[int, int], Bool[np.ndarray, "n"]]:
    """Return which points of every pair can be told apart, pairs without any left out; all, where there are none."""
    everything = {pair: np.ones(len(truth), bool) for pair, truth in plan.pairs.items()}
    if plan.ambiguous is None:
        return everything
    apart = {(i, j): ~plan.ambiguous[i][truth.index] for (i, j), truth in plan.pairs.items()}
    return {pair: chosen for pair, chosen in apart.items() if chosen.any()} or everything


def score_category(
    views: Sequence[CategoryView],
    maps: Sequence[Sequence[FeatureMap]],
    ways: Iterable[Candidate],
    heads: Heads,
) -> Rows:
    """Transfer the key points of every ordered pair of instances of one category with every candidate.

    Returns:
        Rows with variant, object (the category), pair, n and pck@0.10 (percent, of the target box's longer side).
    """
    rows = []
    for way in ways:
        head = heads(way)
        own = [candidate_map(one, way.blocks, head) for one in maps]
        for (i, j), pair in zip(itertools.permutations(range(len(views)), 2), pairs_of(views), strict=True):
            if not pair.visible.any() or pair.box1_wh is None:
                continue
            queries = descriptors(own[i], torch.from_numpy(pair.xy0[pair.visible]).float())
            errors = error_px(match(queries, own[j]).xy1.cpu().double().numpy(), pair.xy1[pair.visible])
            row = {"variant": way.name, "object": views[0].category, "pair": [i, j], "n": len(errors)}
            rows.append(row | {"pck@0.10": pck(errors, max(pair.box1_wh), ALPHA)})
    return rows
