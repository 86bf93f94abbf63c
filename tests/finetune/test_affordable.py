"""What a short time leaves out, and that the rest is said and used."""

import logging
from dataclasses import replace

import pytest

from equiview.data.synthetic.category_instances import FAMILIES
from equiview.finetune.adapt import train_network
from equiview.finetune.budget import FEW_PICTURES, MEMBER_S, NETWORK_SHARE, Costs, affordable
from equiview.finetune.learned_heads import LEAST_SHARE, with_trained_head
from equiview.finetune.ordinary import PICTURES
from equiview.finetune.recipes import get_recipe, prepare
from equiview.finetune.train import TrainResult
from equiview.models.extractor import FeatureConfig
from finetune.tiny import objects, tiny_backbone

DEFAULT = get_recipe("default")
COSTS = Costs(left_s=0, map_s=1.0, render_s=2.0, views=12, own=12, pictures=PICTURES)
MEMBERS = DEFAULT.head_training.members


def all_s(recipe):
    """Return the seconds of everything the recipe wants beside the object's own 12 views."""
    training = recipe.head_training
    families = training.members * len(FAMILIES) * (1 + MEMBER_S)
    return training.pictures + families + len(recipe.companions) * (2 + 12)


def test_a_closed_form_leaves_out_companions():
    solve = replace(DEFAULT, kind="closed_form", closed_form=get_recipe("wiener").closed_form)
    # 60 ordinary pictures and 12 views of the object take 72 s; a companion 14 s.
    assert len(affordable(solve, replace(COSTS, left_s=72 + 3 * 14)).companions) == 3
    assert affordable(solve, replace(COSTS, left_s=0)).companions == ()


def test_a_trained_head_keeps_half_of_the_time_and_all_else_shrinks_alike(caplog):
    assert affordable(DEFAULT, replace(COSTS, left_s=2 * (12 + all_s(DEFAULT)))) == DEFAULT
    with caplog.at_level(logging.WARNING):
        half = affordable(DEFAULT, replace(COSTS, left_s=2 * (12 + all_s(DEFAULT) / 2)))
    assert (len(half.companions), half.head_training.members, half.head_training.pictures) == (4, MEMBERS // 2, 30)
    assert all_s(half) <= all_s(DEFAULT) / 2 and half.companions == DEFAULT.companions[:4]
    assert "4 of 8 companions" in caplog.text and "Raise time_budget_s" in caplog.text


def test_a_network_below_the_head_has_its_share_before_all_else():
    joined = get_recipe("lora-and-head")
    enough_s = 2 * (12 + all_s(joined)) / (1 - NETWORK_SHARE)
    assert affordable(joined, replace(COSTS, left_s=1.001 * enough_s)) == joined
    assert len(affordable(joined, replace(COSTS, left_s=0.9 * enough_s)).companions) < len(joined.companions)


@pytest.mark.parametrize("left_s", [-50.0, 0.0, 30.0])
def test_no_time_leaves_the_object_and_a_few_pictures(left_s):
    least = affordable(DEFAULT, replace(COSTS, left_s=left_s))
    assert least.companions == () and least.head_training.members == 0
    assert least.head_training.pictures == FEW_PICTURES


def test_the_training_gets_its_share_where_extraction_took_all_the_time(monkeypatch):
    given = []

    def asked(*_, budget_s, **__):
        given.append(budget_s)
        raise RuntimeError("enough")

    monkeypatch.setattr("equiview.finetune.learned_heads.train_head", asked)
    training = replace(DEFAULT.head_training, members=0, pictures=2)
    recipe = replace(DEFAULT, depths=(), companions=(), head_training=training)
    recipe = replace(recipe, features=FeatureConfig(long_side=64))
    extractor = prepare(tiny_backbone(), recipe, seed=0)
    with pytest.raises(RuntimeError, match="enough"):
        with_trained_head(extractor, objects(), recipe, None, 0, lambda *_: None, 1e-3)
    assert given == [pytest.approx(LEAST_SHARE * 1e-3)]


@pytest.mark.parametrize("own, side", [(320, 320), (64, 64)])
def test_the_network_is_trained_for_its_share_and_on_no_larger_pictures_than_are_used(own, side, monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(
        "equiview.finetune.adapt.train",
        lambda learner, *_, **more: given.update(more, side=learner.config.long_side) or TrainResult(),
    )
    joined = get_recipe("lora-and-head")
    recipe = replace(joined, features=replace(joined.features, long_side=own))
    train_network(prepare(tiny_backbone(), recipe, seed=0), objects(), recipe, tmp_path, 0, lambda *_: None, 100.0)
    assert given["time_budget_s"] == pytest.approx(100 * NETWORK_SHARE) and given["side"] == side


def test_without_a_budget_the_time_of_the_recipe_does_not_end_the_network(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(
        "equiview.finetune.adapt.train",
        lambda learner, objects, recipe, *_, **more: given.update(more, own=recipe.time_budget_s) or TrainResult(),
    )
    recipe = get_recipe("lora-and-head")
    train_network(prepare(tiny_backbone(), recipe, seed=0), objects(), recipe, tmp_path, 0, lambda *_: None)
    assert recipe.time_budget_s == 600 and given["own"] is None and given["time_budget_s"] is None
