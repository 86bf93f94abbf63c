"""A linear head trained on fixed features: laws where the answer is known, and what goes into it."""

import logging

import numpy as np
import pytest
import torch

from equiview.data.synthetic.categories import CategoryWorld, category_views
from equiview.errors import EquiviewError
from equiview.finetune import unlabeled_images as images_module
from equiview.finetune.adapt import adapt
from equiview.finetune.head_pairs import SAME_PLACE, TrainingPair, category_pairs, object_pairs
from equiview.finetune.head_training import HeadTraining, pair_loss, rate, retention_loss, train_head
from equiview.io import read_jsonl
from equiview.models.heads import LinearHead, head_spec
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.types import FeatureMap
from finetune.tiny import objects, recipe, tiny_backbone
from worlds import sphere_ring

DIM, NOISY, SIDE = 12, 4, 12
STRIDE, HW = 8.0, (96, 96)


def noisy_pair(seed=0):
    """Two maps that agree token by token except in their first channels, which are loud and new in every map."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(DIM, SIDE, SIDE, generator=generator)
    maps = []
    for _ in range(2):
        noise = torch.zeros(DIM, SIDE, SIDE)
        noise[:NOISY] = 4 * torch.randn(NOISY, SIDE, SIDE, generator=generator)
        maps.append(FeatureMap(common + noise, (STRIDE, STRIDE), (STRIDE / 2, STRIDE / 2), HW))
    rows, cols = np.mgrid[:SIDE, :SIDE]
    xy = torch.from_numpy(np.stack([cols.ravel(), rows.ravel()], 1) * STRIDE + STRIDE / 2).float()
    return TrainingPair(*maps, xy, xy)


def unlabeled(n=3, seed=9):
    generator = torch.Generator().manual_seed(seed)
    return [FeatureMap(torch.randn(DIM, 6, 7, generator=generator), (8.0, 8.0), (4.0, 4.0), (48, 56)) for _ in range(n)]


def short(**changes):
    return HeadTraining(**{"steps": 150, "lr": 0.03, "retention": 0.0, "shrinkage": 0.0, "instances": 0} | changes)


def test_without_steps_it_is_the_identity():
    head = train_head([[noisy_pair()]], [], unlabeled(), short(steps=0, strength=0.3))
    assert torch.equal(head.matrix, torch.eye(DIM)) and not head.mean.any() and head.strength == 0.3
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_it_suppresses_what_changes_with_the_view_and_keeps_the_rest():
    head = train_head([[noisy_pair(seed) for seed in range(4)]], [], unlabeled(), short())
    gain = head.matrix.norm(dim=0)
    assert gain[:NOISY].max() < 0.3 * gain[NOISY:].min()
    fresh = noisy_pair(99)
    rng = np.random.default_rng(0)
    untrained = pair_loss(LinearHead(torch.eye(DIM), torch.zeros(DIM)), fresh, short(), rng)
    assert pair_loss(head, fresh, short(), rng) < 0.5 * untrained


def test_categories_are_drawn_at_their_share(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "equiview.finetune.head_training.pair_loss",
        lambda head, pair, *rest: drawn.append(pair) or head.matrix.square().mean(),
    )
    own, of_category = noisy_pair(0), noisy_pair(1)
    for share in (0.0, 0.25):
        drawn.clear()
        train_head([[own]], [of_category], unlabeled(), short(steps=100, category_share=share))
        assert np.mean([pair is of_category for pair in drawn]) == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize(("steps", "warm_up"), [(1, 1), (10, 2), (100, 20), (120, 20)])
def test_the_rate_warms_up_in_proportion_and_falls_to_zero(monkeypatch, steps, warm_up):
    rates, step = [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    train_head([[noisy_pair()]], [], unlabeled(), short(steps=steps, lr=0.5, points=4, negatives=4))
    expected = [0.5 * min(1, (n + 1) / warm_up) * (1 - n / steps) for n in range(steps)]
    assert rates == pytest.approx(expected)


def test_retention_and_shrinkage_hold_it_at_the_identity():
    free, held, shrunk = (
        train_head([[noisy_pair()]], [], unlabeled(), short(steps=50, **changes)).matrix
        for changes in ({}, {"retention": 1e4}, {"shrinkage": 1e4})
    )
    away = [float((matrix - torch.eye(DIM)).norm()) for matrix in (free, held, shrunk)]
    assert away[1] < 0.5 * away[0] and away[2] < 0.5 * away[0]


def test_retention_is_zero_for_the_identity_at_any_scale_and_about_two_for_unrelated_features():
    tokens = [one.tokens.flatten(1).T for one in unlabeled()]
    same = LinearHead(5 * torch.eye(DIM), torch.zeros(DIM))
    other = LinearHead(
        torch.zeros(DIM, DIM).index_put_((torch.tensor(0), torch.tensor(0)), torch.tensor(1.0)), torch.zeros(DIM)
    )
    assert retention_loss(same, tokens, np.random.default_rng(0)) < 1e-9
    assert retention_loss(other, tokens, np.random.default_rng(0)) > 1


def test_the_seed_decides_everything():
    one, again, other = (
        train_head([[noisy_pair()]], [], unlabeled(), short(steps=5, retention=1.0), seed=seed).matrix
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_an_overrun_ends_it_and_is_said_and_the_rate_does_not_follow_the_clock(caplog, monkeypatch):
    seen, rates, step = [], [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    settings = short(steps=10**6, lr=0.5)
    with caplog.at_level(logging.WARNING):
        head = train_head(
            [[noisy_pair()]], [], unlabeled(), settings, stop_after_s=0.2, progress=lambda *n: seen.append(n)
        )
    assert 0 < seen[-1][0] < 10**6 and torch.isfinite(head.matrix).all()
    assert f"overran: time for {seen[-1][0]} of 1000000 steps" in caplog.text
    assert rates == [rate(settings, n) for n in range(len(rates))]


def test_every_step_is_logged_with_its_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(images_module, "IMAGES", 3)
    own = recipe(short(steps=4), network=False)
    for _ in range(2):  # The second time it writes the same log, not a longer one.
        adapt(tiny_backbone(), objects(), own, tmp_path)
        rows = read_jsonl(tmp_path / "log.jsonl")
        assert [(row["stage"], row["step"]) for row in rows] == [("head_training", n) for n in range(1, 5)]
        assert np.isfinite([row["loss"] for row in rows]).all()


def test_the_log_of_a_head_follows_that_of_the_network_below_it(tmp_path):
    both = recipe(short(steps=2, pictures=2), steps=3)
    adapt(tiny_backbone(), objects(), both, tmp_path)
    whole = (tmp_path / "log.jsonl").read_text()
    stages = [row["stage"] for row in read_jsonl(tmp_path / "log.jsonl")]
    assert stages == ["network"] * 3 + ["head_training"] * 2
    # The network is finished, so it goes on from there; the head's rows are written anew.
    adapt(tiny_backbone(), objects(), both, tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == whole


def test_places_near_the_right_one_are_no_negatives():
    """Two maps that are one colour everywhere: the only wrong answers are those outside the dead zone."""
    flat = FeatureMap(torch.ones(DIM, SIDE, SIDE), (STRIDE, STRIDE), (STRIDE / 2, STRIDE / 2), HW)
    xy = torch.tensor([[48.0, 48.0]])
    identity = LinearHead(torch.eye(DIM), torch.zeros(DIM))
    wide, none = (
        pair_loss(
            identity,
            TrainingPair(flat, flat, xy, xy),
            short(dead_zone=zone, negatives=SIDE * SIDE),
            np.random.default_rng(0),
        ).item()
        for zone in (100.0, 0.0)
    )
    assert wide == pytest.approx(0, abs=1e-6)
    # The match itself stands beside all tokens as a candidate: its distance is not below zero.
    assert none == pytest.approx(np.log(1 + 1 + SIDE * SIDE), rel=1e-5)


def test_pairs_of_an_object_are_where_the_surface_is():
    views = sphere_ring(6)
    maps = list(OracleExtractor(stride_px=4).maps(views))
    pairs = object_pairs(views, maps)
    assert pairs and all(len(pair.xy0) == len(pair.xy1) > 0 for pair in pairs)
    with pytest.raises(EquiviewError, match="closer together"):
        object_pairs(sphere_ring(2), maps[:2], min_overlap=0.5)


def test_pairs_of_a_category_show_the_same_place():
    pictures = category_views(range(7000, 7002), CategoryWorld(hw=(128, 128)))
    maps = list(NoiseExtractor(4, seed=0).maps([one.view for one in pictures]))
    pairs = category_pairs(pictures, maps)
    views_by_map = {id(fmap): one for fmap, one in zip(maps, pictures, strict=True)}
    assert pairs
    for pair in pairs:
        one, other = views_by_map[id(pair.source)], views_by_map[id(pair.target)]
        assert one.category == other.category and one.seed != other.seed
        places = [
            who.surface.points_in_world[(xy[:, 1] - 0.5).long().numpy(), (xy[:, 0] - 0.5).long().numpy()]
            for who, xy in ((one, pair.xy0), (other, pair.xy1))
        ]
        assert np.linalg.norm(places[0] - places[1], axis=1).max() < SAME_PLACE


def test_a_recipe_trains_the_head_after_its_fixed_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(images_module, "IMAGES", 3)
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    own = recipe(short(steps=3, instances=2, strength=0.6), network=False, head="centered_average")
    stages = []
    extractor = adapt(backbone, objects(), own, tmp_path, progress=lambda *what: stages.append(what))
    assert [part["kind"] for part in head_spec(extractor.head)] == ["average", "center", "linear"]
    assert head_spec(extractor.head)[-1]["strength"] == 0.6
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert stages[-1] == ("train", 3, 3) and ("solve", stages[-4][2], stages[-4][2]) == stages[-4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"steps": -1},
        {"retention": float("nan")},
        {"instances": 1},
        {"category_share": 1.0},
        {"strength": 2.0},
    ],
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(EquiviewError, match="head training|strength"):
        HeadTraining(**wrong)


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(EquiviewError, match="at least one object"):
        train_head([], [], unlabeled(), short())
    with pytest.raises(EquiviewError, match="one picture"):
        train_head([[noisy_pair()]], [], [], short())
