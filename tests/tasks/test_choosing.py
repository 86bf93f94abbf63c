"""Candidates are what an extractor makes of the same blocks, and categories are scored where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from equiview.data.synthetic.categories import CategoryWorld, category_views
from equiview.finetune.stages.add_head import AddHead, add_head
from equiview.jobs.choose import HEADS, candidate_heads
from equiview.models.extractor import Extractor, FeatureConfig, blocks_at
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.choosing import (
    Candidate,
    block_maps,
    candidate_map,
    candidates,
    points_that_count,
    score_category,
    score_views,
)
from equiview.tasks.equivariance import MeasureConfig, plan_object
from layered_worlds import layered
from worlds import sphere_ring


def test_single_blocks_and_sets_come_with_every_head_from_few_blocks_to_many():
    ways = candidates(12, ("none", "average"))
    assert [way.blocks for way in ways[:24:2]] == [(n,) for n in range(1, 13)]
    assert {way.blocks for way in ways[24:]} == {
        *((6, 12), (8, 12), (10, 12), (6, 10, 12), (8, 10, 12), (4, 6, 8, 10), (3, 6, 9, 12)),
    }
    assert len(ways) == len({way.name for way in ways}) == 2 * 19


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 24, 40])
def test_any_depth_has_its_sets_without_a_block_twice(depth):
    for way in candidates(depth, ("none",)):
        assert len(set(way.blocks)) == len(way.blocks)
        assert all(1 <= block <= depth for block in way.blocks)
    assert blocks_at((1 / 3, 1), 24) == (8, 24)


@pytest.mark.parametrize("blocks", [(2,), (2, 5)])
@pytest.mark.parametrize("head", HEADS)
def test_a_candidate_is_what_the_extractor_makes_of_it(blocks, head):
    source, views = layered(2), sphere_ring(2)
    made = candidate_heads(source)(Candidate(blocks, head))
    own = add_head(AddHead(head), Extractor(source.backbone, FeatureConfig(blocks=blocks, long_side=64)), 0)
    for wanted, maps in zip(own.maps(views), block_maps(source, views), strict=True):
        found = candidate_map(maps, blocks, made)
        assert (found.stride_xy, found.offset_xy, found.image_hw) == (
            *(wanted.stride_xy, wanted.offset_xy, wanted.image_hw),
        )
        # All blocks are kept in half precision.
        torch.testing.assert_close(found.tokens, wanted.tokens, atol=0.02, rtol=0.02)


def test_points_that_cannot_be_told_apart_do_not_count():
    """Of a view whose points are all ambiguous no pair counts; where that holds of every view, all points do."""
    views = sphere_ring(3)
    plan = plan_object("sphere", views, MeasureConfig(points=30))
    flags = [np.zeros(len(xy), bool) for xy in plan.xy]
    flags[0][:] = True
    flags[1][::2] = True
    maps = [[one] for one in OracleExtractor(4).maps(views)]
    rows = score_views(replace(plan, ambiguous=flags), maps, [Candidate((1,), "none")], lambda way: None)
    assert {row["pair"][0] for row in rows} == {1, 2} == {i for i, _ in plan.pairs} - {0}
    counts = {tuple(row["pair"]): row["n"] for row in rows}
    assert all(n == int((plan.pairs[1, j].index % 2 == 1).sum()) for (i, j), n in counts.items() if i == 1)
    assert all(n == len(plan.pairs[2, j]) for (i, j), n in counts.items() if i == 2)
    for unknown in (None, [np.ones(len(xy), bool) for xy in plan.xy]):
        found = points_that_count(replace(plan, ambiguous=unknown))
        assert found.keys() == plan.pairs.keys() and all(chosen.all() for chosen in found.values())


def test_a_category_is_transferred_by_what_knows_it_and_not_by_noise():
    views = category_views(range(2), CategoryWorld(categories=("chair",), hw=(160, 160)))
    ways, heads = [Candidate((1,), "none")], lambda way: None

    def scored(source, pictures):
        rows = score_category(views, [[one] for one in source.maps(pictures)], ways, heads)
        assert {row["object"] for row in rows} == {"chair"}
        return sum(row["pck@0.10"] for row in rows) / len(rows)

    assert scored(OracleExtractor(4), [one.surface for one in views]) > 90
    assert scored(NoiseExtractor(stride_px=4), [one.view for one in views]) < 40
