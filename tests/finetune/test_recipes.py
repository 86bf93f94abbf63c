"""Recipes: what they say, and that wrong settings are told apart from right ones."""

from dataclasses import replace

import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.adapt import adapt
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.head_training import HeadTraining
from equiview.finetune.overrides import override
from equiview.finetune.recipes import RECIPES, get_recipe, prepare
from equiview.finetune.train import train
from equiview.models.adapters import has_lora, load_adapter, save_adapter
from equiview.models.extractor import FeatureConfig
from equiview.models.heads import AverageHead, CenterHead, RandomConvHead
from finetune.tiny import objects, recipe, tiny_backbone


def test_the_paper_recipe_says_what_the_paper_does():
    paper = get_recipe("paper")
    assert (paper.lora.rank, paper.lora.scale, paper.lora.last_blocks) == (4, 1.0, 4)
    assert (paper.head, paper.loss, paper.temperature) == ("random_conv", "smooth_ap_published", 0.01)
    assert (paper.lr, paper.weight_decay, paper.clip, paper.batch, paper.dtype) == (1e-5, 1e-4, 1.0, 1, "float32")
    assert (paper.pairs.sampler, paper.pairs.points, paper.pairs.max_angle_deg) == ("published", 3000, 120)
    assert paper.feature_config(12).blocks == () and paper.features.long_side == 640


@pytest.mark.parametrize("blocks, expected", [(12, (4, 6, 8, 10)), (24, (8, 12, 16, 20)), (3, (1, 2))])
def test_several_blocks_scale_with_depth(blocks: int, expected: tuple[int, ...]):
    assert get_recipe("one-step").feature_config(blocks).blocks == expected


def test_every_recipe_is_named_after_itself():
    assert all(name == recipe.name for name, recipe in RECIPES.items())


def test_overrides_read_text_as_the_type_of_the_setting():
    changed = override(
        get_recipe("default"),
        {
            "closed_form.c": "4",
            "kind": "train_then_closed_form",
            "steps": "10",
            "lr": "1e-4",
            "time_budget_s": "none",
            "lora.rank": "8",
            "features.blocks": "4,6",
            "features.norm": "false",
            "pairs.points": 50,
            "augment.noise": 0.1,
            "depths": (),
            "dtype": "bfloat16",
            "lora.alpha": 16,
        },
    )
    assert (changed.steps, changed.lr, changed.time_budget_s) == (10, 1e-4, None)
    assert (changed.lora.rank, changed.lora.scale, changed.pairs.points) == (8, 2.0, 50)
    assert changed.features == FeatureConfig(blocks=(4, 6), norm=False) and changed.feature_config(12).blocks == (4, 6)
    assert changed.augment.noise == 0.1 and changed.augment.shift == 0.25 and changed.closed_form.c == 4
    assert override(changed, {"lora": None}).lora is None
    assert override(changed, {"augment": "none"}).augment is None


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("stepz", 1, "steps"),
        ("lora.rang", 1, "rank"),
        ("steps", "ten", "int"),
        ("steps", 2.5, "int"),
        ("steps", "2.5", "int"),
        ("steps", True, "int"),
        ("steps", -1, "0 or more"),
        ("lr", "nan", "above 0"),
        ("lr", 0, "above 0"),
        ("features.norm", "maybe", "bool"),
        ("loss", "triplet", "info_nce"),
        ("head", "conv", "random_conv"),
        ("pairs.sampler", "all", "published"),
        ("steps.more", 1, "dot"),
        ("lora", "4", "LoraSpec or none"),
        ("depths", "0.5,x", "float"),
        ("lora.rank", 0, "rank"),
        ("strength", 3, "from 0 to 1"),
        ("head_training.steps", -1, "0 or more"),
    ],
)
def test_wrong_settings_are_refused(key: str, value, message: str):
    with pytest.raises(EquiviewError, match=message):
        override(get_recipe("default"), {key: value})


def test_the_closed_form_of_0_2_0_can_be_had():
    """As the changelog says it."""
    old = override(get_recipe("wiener"), {"head": "average", "closed_form.center": "objects", "strength": "1"})
    assert (old.head, old.strength, old.closed_form) == ("average", 1.0, ClosedFormConfig())
    extractor = prepare(tiny_backbone(), override(old, {"head": "centered"}), seed=0)
    assert isinstance(extractor.head, CenterHead)


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(
        EquiviewError, match="paper, one-step, default, thorough, own-object, lora-and-head, wiener, lora-only"
    ):
        get_recipe("papre")


def test_a_depth_outside_the_network_is_refused():
    with pytest.raises(EquiviewError, match="shares"):
        override(get_recipe("one-step"), {"depths": "1.5"}).feature_config(12)


def test_preparing_adds_adapter_and_head_of_the_right_width():
    extractor = prepare(tiny_backbone(), recipe(depths=(0.3, 1.0), head="random_conv"), seed=0)
    assert extractor.blocks == (1, 3)
    assert isinstance(extractor.head, RandomConvHead) and extractor.head.dim == 64
    trainable = {name for name, p in extractor.named_parameters() if p.requires_grad}
    assert sum("lora" in name for name in trainable) == 8 and {"head.conv.weight", "head.conv.bias"} <= trainable
    assert isinstance(prepare(tiny_backbone(), recipe(head="average", lora=None), seed=0).head, AverageHead)


@pytest.mark.parametrize(
    ("name", "changes", "meant"),
    [
        ("default", {"steps": "10"}, "Do you mean head_training.steps?"),
        ("default", {"lr": "1"}, "Do you mean head_training.lr?"),
        ("default", {"dtype": "bfloat16"}, "Leave it out"),
        ("lora-and-head", {"closed_form.c": "2"}, "kind 'train_then_head'"),
        ("one-step", {"head_training.steps": "10"}, "kind 'step_head'"),
        ("one-step", {"lora.rank": "4"}, "Leave it out"),
        ("wiener", {"c": "2"}, "setting 'c'"),
        ("paper", {"strength": "0.2"}, "kind 'train'"),
    ],
)
def test_a_change_that_would_do_nothing_is_refused(name, changes, meant):
    with pytest.raises(EquiviewError) as error:
        override(get_recipe(name), changes)
    assert meant in str(error.value)


def test_settings_of_another_kind_may_be_given_as_they_are_or_with_that_kind():
    assert override(get_recipe("default"), {"steps": "0"}) == get_recipe("default")
    trained = override(get_recipe("one-step"), {"kind": "train", "lora": "none", "head": "residual_conv", "steps": "3"})
    assert trained.steps == 3


@pytest.mark.parametrize(
    "kind, settings", [("step_head", HeadTraining(points=30, members=0)), ("train_head", HeadTraining(2, members=0))]
)
def test_a_head_is_learned_on_pictures_seen_once_and_used_on_them_seen_several_times(kind, settings, tmp_path):
    plain = recipe(kind=kind, lora=None, head_training=replace(settings, pictures=3))
    features = replace(plain.features, sizes=(0.5, 1.0), mirrored=0.25)
    several = replace(plain, features=features)
    one, other = (adapt(tiny_backbone(), objects(), own, tmp_path) for own in (plain, several))
    assert torch.equal(one.head.matrix, other.head.matrix) and not torch.equal(one.head.matrix, torch.eye(32))
    assert one.config == plain.features and other.config == features


def test_a_head_is_trained_on_what_the_network_became_and_companions_teach_the_head_alone(tmp_path, monkeypatch):
    settings = {"steps": 2, "head_training": HeadTraining(2, members=0, pictures=3), "head": "average"}
    both = recipe(kind="train_then_head", companions=("procedural:7",), train_long_side=32, **settings)
    seen, stages = {}, []

    def spied(extractor, views, *rest, **more):
        seen.update(side=extractor.config.long_side, objects=list(views), several=extractor.config.several)
        return train(extractor, views, *rest, **more)

    monkeypatch.setattr("equiview.finetune.adapt.train", spied)
    # Named as runs name them, not as the recipe does.
    pair = {"sphere": objects()["sphere"], "procedural-7": objects(5)["sphere"]}
    features = replace(both.features, sizes=(0.5, 1.0))
    found = adapt(
        tiny_backbone(),
        pair,
        replace(both, features=features),
        tmp_path,
        progress=lambda stage, *_: stages.append(stage),
    )
    assert seen == {"side": 32, "objects": ["sphere"], "several": False}
    assert list(dict.fromkeys(stages)) == ["train network", "solve", "train"]
    assert found.config == features and has_lora(found.backbone)
    plain = adapt(tiny_backbone(), pair, replace(both, kind="train_head", lora=None), tmp_path / "plain")
    assert not torch.equal(found.head[-1].matrix, plain.head[-1].matrix)
    again = load_adapter(save_adapter(tmp_path / "adapter", found), tiny_backbone())
    view = pair["sphere"][0]
    assert torch.equal(next(again.maps([view])).tokens, next(found.maps([view])).tokens)


def test_own_object_is_default_on_the_object_alone_and_in_full():
    """As docs/recipes.md says it."""
    changes = {"name": "own-object", "companions": "", "head_training.members": "0", "strength": "1"}
    assert override(get_recipe("default"), changes) == get_recipe("own-object")


def test_lora_and_head_ends_in_the_head_of_default():
    """The two learn the same head, on other features and at other strengths."""
    changes = {"name": "default", "kind": "train_head", "strength": "0.5"}
    joined, default = override(get_recipe("lora-and-head"), changes), get_recipe("default")
    for name in ("features", "depths", "head", "head_training", "companions", "strength", "time_budget_s"):
        assert getattr(joined, name) == getattr(default, name)
    assert joined.lora is not None and default.lora is None


def test_thorough_is_default_on_pictures_seen_several_times_and_its_adapter_remembers(tmp_path):
    thorough = get_recipe("thorough")
    config = thorough.feature_config(12)
    assert config.blocks == get_recipe("default").feature_config(12).blocks and config.several
    extractor = prepare(tiny_backbone(), override(thorough, {"depths": (), "features.long_side": 64}), seed=0)
    again = load_adapter(save_adapter(tmp_path / "adapter", extractor), tiny_backbone())
    assert again.config.sizes == (0.7, 1.0, 1.4) and again.config.mirrored == 0.25
    assert override(thorough, {"features.sizes": "0.5,1"}).features.sizes == (0.5, 1.0)
