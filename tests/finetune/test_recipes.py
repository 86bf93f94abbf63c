"""Recipes: what they say, and that wrong settings are told apart from right ones."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.adapt import adapt
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.head_step import HeadStep
from equiview.finetune.head_training import HeadTraining
from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.overrides import override
from equiview.finetune.recipe_records import current_form, stage_of
from equiview.finetune.recipes import RECIPES, get_recipe, prepare
from equiview.finetune.stages.add_head import AddHead
from equiview.finetune.train import train
from equiview.models.adapters import has_lora, load_adapter, save_adapter
from equiview.models.extractor import FeatureConfig
from equiview.models.heads import AverageHead, CenterHead, RandomConvHead
from finetune.tiny import objects, recipe, tiny_backbone


def test_the_paper_recipe_says_what_the_paper_does():
    recipe = get_recipe("paper")
    paper = recipe.stage(NetworkTraining)
    assert (paper.lora.rank, paper.lora.scale, paper.lora.last_blocks) == (4, 1.0, 4)
    assert (recipe.stage(AddHead).head, paper.loss, paper.temperature) == ("random_conv", "smooth_ap_published", 0.01)
    assert (paper.lr, paper.weight_decay, paper.clip, paper.batch, paper.dtype) == (1e-5, 1e-4, 1.0, 1, "float32")
    assert (paper.pairs.sampler, paper.pairs.points, paper.pairs.max_angle_deg) == ("published", 3000, 120)
    assert recipe.feature_config(12).blocks == () and recipe.features.long_side == 640


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
            "stages": "add_head,network,closed_form",
            "steps": "10",
            "lr": "1e-4",
            "time_budget_s": "none",
            "lora.rank": "8",
            "features.blocks": "4,6",
            "features.norm": "false",
            "pairs.points": 50,
            "augment.noise": 0.1,
            "depths": (),
            "network.dtype": "bfloat16",
            "lora.alpha": 16,
        },
    )
    network = changed.stage(NetworkTraining)
    assert (network.steps, network.lr, changed.time_budget_s, network.dtype) == (10, 1e-4, None, "bfloat16")
    assert (network.lora.rank, network.lora.scale, network.pairs.points) == (8, 2.0, 50)
    assert changed.features == FeatureConfig(blocks=(4, 6), norm=False) and changed.feature_config(12).blocks == (4, 6)
    assert network.augment.noise == 0.1 and network.augment.shift == 0.25
    assert changed.stage(ClosedFormConfig).c == 4 and changed.find(HeadTraining) is None
    assert changed.stage(AddHead) == get_recipe("default").stage(AddHead)
    assert override(changed, {"lora": None}).stage(NetworkTraining).lora is None
    assert override(changed, {"augment": "none"}).stage(NetworkTraining).augment is None


FORMER = {
    "train": ["network"],
    "closed_form": ["closed_form"],
    "train_then_closed_form": ["network", "closed_form"],
    "train_head": ["head_training"],
    "train_then_head": ["network", "head_training"],
    "step_head": ["head_step"],
}


@pytest.mark.parametrize("kind", FORMER)
def test_a_former_kind_chooses_stages_and_is_said_once(kind, caplog):
    changed = override(get_recipe("default"), {"kind": kind})
    assert [settings.stage for settings in changed.stages] == ["add_head", *FORMER[kind]]
    assert changed.strength == (1.0 if kind == "train" else 0.5)
    named = f"setting kind has another name now: stages=add_head,{','.join(FORMER[kind])}"
    assert caplog.text.count(named) == caplog.text.count("WARNING") == 1


def test_former_names_of_settings_still_work_and_are_said_once(caplog):
    former = {"companions": "a.glb,b.glb", "head_training.members": "3", "head_training.family_share": "0.25"}
    now = {"auxiliary_objects": "a.glb,b.glb", "head_training.instances": 3, "head_training.category_share": 0.25}
    assert override(get_recipe("default"), former) == override(get_recipe("default"), now)
    assert [caplog.text.count(f"setting {name} has another name now") for name in former] == [1, 1, 1]
    caplog.clear()
    step = override(get_recipe("one-step"), {"head_training.points": "9"}).stage(HeadStep)
    assert step.points == 9 and "head_step.points" in caplog.text


def test_a_step_and_the_training_of_a_head_hand_on_what_they_share():
    trained = override(get_recipe("one-step"), {"stages": "add_head,head_training"}).stage(HeadTraining)
    assert (trained.points, trained.strength, trained.steps) == (300, 0.3, HeadTraining().steps)
    solved = override(get_recipe("one-step"), {"stages": "add_head,closed_form"}).stage(ClosedFormConfig)
    assert (solved.points, solved.strength) == (ClosedFormConfig().points, 0.3)


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
        ("stages", "add_head,magic", "head_training"),
        ("stages", "network,network", "every stage once"),
        ("kind", "magic", "train_then_head"),
    ],
)
def test_wrong_settings_are_refused(key: str, value, message: str):
    with pytest.raises(EquiviewError, match=message):
        override(get_recipe("lora-and-head"), {key: value})


def test_the_closed_form_of_0_2_0_can_be_had():
    """As the changelog says it."""
    old = override(get_recipe("wiener"), {"head": "average", "closed_form.center": "objects", "strength": "1"})
    assert (old.stage(AddHead).head, old.strength) == ("average", 1.0)
    assert old.stage(ClosedFormConfig) == ClosedFormConfig()
    extractor = prepare(tiny_backbone(), override(old, {"head": "centered"}), seed=0)
    assert isinstance(extractor.head, CenterHead)


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(
        EquiviewError, match="paper, one-step, default, general, thorough, own-object, lora-and-head, wiener, lora-only"
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
    assert isinstance(prepare(tiny_backbone(), recipe(head="average", network=False), seed=0).head, AverageHead)


@pytest.mark.parametrize(
    ("name", "changes", "meant"),
    [
        ("default", {"steps": "10"}, "Do you mean head_training.steps?"),
        ("default", {"lr": "1"}, "Do you mean head_training.lr?"),
        ("default", {"dtype": "bfloat16"}, "Leave it out"),
        ("lora-and-head", {"closed_form.c": "2"}, "stages add_head, network, head_training read"),
        ("one-step", {"head_step.steps": "10"}, "one of temperature, points"),
        ("one-step", {"lora.rank": "4"}, "Leave it out"),
        ("wiener", {"c": "2"}, "setting 'c'"),
        ("paper", {"strength": "0.2"}, "stages add_head, network read"),
    ],
)
def test_a_change_that_would_do_nothing_is_refused(name, changes, meant):
    with pytest.raises(EquiviewError) as error:
        override(get_recipe(name), changes)
    assert meant in str(error.value)


def test_settings_of_another_stage_may_be_given_with_that_stage():
    changes = {"stages": "add_head,network", "lora": "none", "head": "residual_conv", "steps": "3"}
    assert override(get_recipe("one-step"), changes).stage(NetworkTraining).steps == 3


@pytest.mark.parametrize("settings", [HeadStep(points=30), HeadTraining(2, instances=0, pictures=3)])
def test_a_head_is_learned_on_pictures_seen_once_and_used_on_them_seen_several_times(settings, tmp_path):
    plain = recipe(settings, network=False)
    features = replace(plain.features, sizes=(0.5, 1.0), mirrored=0.25)
    several = replace(plain, features=features)
    one, other = (adapt(tiny_backbone(), objects(), own, tmp_path) for own in (plain, several))
    assert torch.equal(one.head.matrix, other.head.matrix) and not torch.equal(one.head.matrix, torch.eye(32))
    assert one.config == plain.features and other.config == features


def test_a_head_is_trained_on_what_the_network_became_and_auxiliary_objects_teach_the_head_alone(tmp_path, monkeypatch):
    head = HeadTraining(2, instances=0, pictures=3)
    below = {"steps": 2, "train_long_side": 32, "own_objects_only": True, "seen_once": True}
    both = recipe(head, head="average", auxiliary_objects=("procedural:7",), **below)
    seen, stages = {}, []

    def spied(extractor, views, *rest, **more):
        seen.update(side=extractor.config.long_side, objects=list(views), several=extractor.config.several)
        return train(extractor, views, *rest, **more)

    monkeypatch.setattr("equiview.finetune.stages.network.train", spied)
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
    plain = adapt(tiny_backbone(), pair, recipe(head, network=False, head="average"), tmp_path / "plain")
    assert not torch.equal(found.head[-1].matrix, plain.head[-1].matrix)
    again = load_adapter(save_adapter(tmp_path / "adapter", found), tiny_backbone())
    view = pair["sphere"][0]
    assert torch.equal(next(again.maps([view])).tokens, next(found.maps([view])).tokens)


def test_own_object_is_default_on_the_object_alone_and_in_full():
    """As docs/recipes.md says it."""
    changes = {"name": "own-object", "auxiliary_objects": "", "head_training.instances": "0", "strength": "1"}
    assert override(get_recipe("default"), changes) == get_recipe("own-object")


def test_lora_and_head_ends_in_the_head_of_default():
    """The two learn the same head, on other features and at other strengths."""
    changes = {"name": "default", "stages": "add_head,head_training", "strength": "0.5"}
    assert override(get_recipe("lora-and-head"), changes) == get_recipe("default")
    assert get_recipe("lora-and-head").stage(NetworkTraining).lora is not None


def test_thorough_is_default_on_pictures_seen_several_times_and_its_adapter_remembers(tmp_path):
    thorough = get_recipe("thorough")
    config = thorough.feature_config(12)
    assert config.blocks == get_recipe("default").feature_config(12).blocks and config.several
    extractor = prepare(tiny_backbone(), override(thorough, {"depths": (), "features.long_side": 64}), seed=0)
    again = load_adapter(save_adapter(tmp_path / "adapter", extractor), tiny_backbone())
    assert again.config.sizes == (0.7, 1.0, 1.4) and again.config.mirrored == 0.25
    assert override(thorough, {"features.sizes": "0.5,1"}).features.sizes == (0.5, 1.0)


FLAT = {
    "name": "lora-and-head",
    "kind": "train_then_head",
    "features": asdict(FeatureConfig()),
    "depths": [1 / 3, 1 / 2, 2 / 3, 5 / 6],
    "lora": {"rank": 4, "alpha": None, "last_blocks": None},
    "head": "whitened_average",
    "closed_form": None,
    "head_training": {
        **{"steps": 100, "lr": 1e-3, "temperature": 0.05, "retention": 3.0, "shrinkage": 0.1, "pairs": 4},
        **{"points": 128, "negatives": 400, "dead_zone": 1.5, "max_angle_deg": 120.0, "min_overlap": 0.1},
        **{"members": 24, "family_share": 0.5, "pictures": 60},
    },
    "strength": 1.0,
    "train_long_side": 320,
    **{"loss": "smooth_ap", "temperature": 0.01, "regulariser": 0.0, "lr": 3e-4, "weight_decay": 1e-4, "clip": 1.0},
    **{"steps": 200, "time_budget_s": 600.0},
    "companions": [f"procedural:{seed}" for seed in range(9001, 9009)],
    "pairs": {"sampler": "overlap", "points": 500, "min_overlap": 0.1, "max_angle_deg": 120.0},
    **{"augment": None, "batch": 1, "accumulate": 1, "dtype": "float32", "checkpoint_every": 25},
}
"""The record of lora-and-head as version 0.3.0 wrote it."""


def test_a_flat_record_of_an_earlier_version_is_the_recipe_of_today():
    changes = {
        "lora-and-head": {},
        "default": {"name": "default", "kind": "train_head", "strength": 0.5},
        "one-step": {
            **{"name": "one-step", "kind": "step_head", "strength": 0.3, "companions": [], "time_budget_s": None},
            "head_training": FLAT["head_training"] | {"steps": 1, "points": 300, "members": 0},
        },
    }
    for name, change in changes.items():
        today = json.loads(json.dumps(asdict(get_recipe(name))))
        assert current_form(json.loads(json.dumps(FLAT | change))) == today
        assert current_form(today) == today
    assert stage_of(FLAT, "head_training")["instances"] == 24 and stage_of(FLAT, "head_step") is None


@pytest.mark.parametrize("record", [None, "paper", {"name": "paper", "source": "a checkpoint"}, {"kind": ["x"]}, []])
def test_what_is_no_recipe_of_ours_is_left_as_it_is(record):
    assert current_form(record) == record and stage_of(record, "network") is None


def test_blocks_given_by_number_go_before_the_recipe_s_depths():
    recipe = override(get_recipe("default"), {"features.blocks": "11,12"})
    assert recipe.feature_config(12).blocks == (11, 12)
