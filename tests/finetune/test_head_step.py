"""One full-batch step of a linear head: which way it goes, how far, and what it refuses."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.adapt import adapt
from equiview.finetune.head_pairs import TrainingPair
from equiview.finetune.head_step import HELD_OUT, SIZES, HeadStep, split_pairs, step_head
from equiview.finetune.head_training import pair_loss
from equiview.finetune.overrides import override
from equiview.finetune.recipes import get_recipe
from equiview.io import read_jsonl
from equiview.models.heads import LinearHead, head_spec
from equiview.types import FeatureMap
from finetune.test_head_training import DIM, NOISY, noisy_pair
from finetune.tiny import objects, tiny_backbone

CONFIG = HeadStep(points=60, negatives=60)


def ring(views=8, seed=0, noise=4.0):
    """Maps of one object, alike but for loud first channels that are new in every view, and all their pairs."""
    one = noisy_pair(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    common = one.source.tokens.clone()
    common[:NOISY] = 0
    maps = []
    for _ in range(views):
        loud = torch.zeros_like(common)
        loud[:NOISY] = noise * torch.randn(NOISY, *common.shape[1:], generator=generator)
        maps.append(FeatureMap(common + loud, one.source.stride_xy, one.source.offset_xy, one.source.image_hw))
    return [TrainingPair(a, b, one.xy0, one.xy1) for a in maps for b in maps if a is not b]


def length_of(head):
    return float((head.matrix - torch.eye(DIM)).norm()) / DIM**0.5


def test_it_turns_down_what_changes_with_the_view():
    head = step_head([ring()], replace(CONFIG, strength=0.4))
    gain = head.matrix.diag()
    assert gain[:NOISY].max() < 1 < gain[NOISY:].min()
    assert head.strength == 0.4 and not head.mean.any() and not any(p.requires_grad for p in head.parameters())


def test_its_length_is_one_of_those_tried_and_helps_another_object():
    head = step_head([ring()], CONFIG)
    assert min(abs(length_of(head) - size) for size in SIZES) < 1e-5
    fresh, identity = ring(2, seed=50)[0], LinearHead(torch.eye(DIM), torch.zeros(DIM))
    with torch.no_grad():
        losses = [float(pair_loss(one, fresh, CONFIG, np.random.default_rng(0))) for one in (identity, head)]
    assert losses[1] < losses[0]


def test_the_direction_is_minus_the_gradient_of_all_pairs_that_are_not_held_out():
    pairs = ring()
    own, held = split_pairs(pairs)
    assert len(own) == 6 * 5 and len(own) + len(held) == len(pairs)
    views = list({id(pair.target): None for pair in pairs})
    assert all({id(p.source), id(p.target)} & set(views[::HELD_OUT]) for p in held)
    # With every token a negative and every point used, nothing is drawn: the gradient is the full one.
    head = LinearHead(torch.eye(DIM), torch.zeros(DIM))
    config = replace(CONFIG, points=1000, negatives=1000)
    torch.stack([pair_loss(head, pair, config, np.random.default_rng(5)) for pair in own]).mean().backward()
    step = step_head([pairs], config).matrix - torch.eye(DIM)
    cosine = torch.nn.functional.cosine_similarity(-head.matrix.grad.flatten(), step.flatten(), dim=0)
    assert cosine > 0.9999


def test_held_out_views_decide_the_length_and_may_refuse_the_step():
    # Where views that took no part are as noisy, the step is long; where what the step turns down tells their points
    # apart, none of it helps them.
    pairs = ring()
    own, held = split_pairs(pairs)
    places = torch.randn(NOISY, *own[0].source.tokens.shape[1:], generator=torch.Generator().manual_seed(9))

    def telling(fmap):
        tokens = torch.zeros_like(fmap.tokens)
        tokens[:NOISY] = places
        return fmap.replace_tokens(tokens)

    marked = {id(m): telling(m) for p in held for m in (p.source, p.target)}
    turned = [TrainingPair(marked[id(p.source)], marked[id(p.target)], p.xy0, p.xy1) for p in held]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equiview.finetune.head_step.split_pairs", lambda _: (own, turned))
        refused = step_head([pairs], CONFIG)
    assert length_of(step_head([pairs], CONFIG)) > 0 and length_of(refused) == 0


def test_the_search_looks_at_many_held_out_pairs(monkeypatch):
    monkeypatch.setattr("equiview.finetune.head_step.SEARCHED", 7)
    counts = []
    step_head([ring()], CONFIG, progress=lambda done, total: counts.append((done, total)))
    assert counts[-1] == (6 * 5 + 7 * (1 + len(SIZES)),) * 2


def test_one_seed_one_head():
    both = [ring(4), ring(4, seed=3)]
    first, again, other = (step_head(both, CONFIG, seed=seed).matrix for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_two_views_have_none_to_hold_out(caplog):
    with caplog.at_level(logging.INFO):
        head = step_head([ring(2)], CONFIG)
    assert "2 views that share surface are too few" in caplog.text and head.matrix.diag()[:NOISY].max() < 1
    assert "2 of its pairs" in caplog.text and "held-out" not in caplog.text


def test_what_it_refuses():
    with pytest.raises(EquiviewError, match="at least one pair of views"):
        step_head([[]], CONFIG)
    flat = noisy_pair()
    same = flat.source.replace_tokens(torch.zeros_like(flat.source.tokens))
    with pytest.raises(EquiviewError, match="a finite gradient above 0"):
        step_head([[TrainingPair(same, same, flat.xy0, flat.xy1)]], CONFIG)


@pytest.fixture
def one_step(monkeypatch):
    """The recipe on small pictures, few of them."""
    monkeypatch.setattr("equiview.finetune.unlabeled_images.IMAGES", 12)
    small = override(get_recipe("one-step"), {"features.long_side": 96})
    return replace(small.with_stage(replace(CONFIG, points=30)), depths=())


def test_the_recipe_steps_from_a_mesh_and_reports(tmp_path, one_step):
    seen = []
    extractor = adapt(tiny_backbone(), objects(), one_step, tmp_path, progress=lambda *what: seen.append(what))
    assert [part["kind"] for part in head_spec(extractor.head)] == ["average", "center", "whiten", "average", "linear"]
    for stage in ("solve", "train"):
        counts = [(done, total) for name, done, total in seen if name == stage]
        assert counts[-1][0] == counts[-1][1] and [done for done, _ in counts] == list(range(1, len(counts) + 1))


def test_the_log_has_the_loss_before_and_after_the_step(tmp_path, one_step):
    for _ in range(2):  # The second time it writes the same log, not a longer one.
        adapt(tiny_backbone(), objects(), one_step, tmp_path)
        rows = read_jsonl(tmp_path / "log.jsonl")
        assert [(row["stage"], row["step"]) for row in rows] == [("head_step", 0), ("head_step", 1)]
        assert rows[1]["loss"] <= rows[0]["loss"]


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"points": 0}, {"dead_zone": -1.0}, {"strength": 2.0}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(EquiviewError):
        HeadStep(**wrong)
