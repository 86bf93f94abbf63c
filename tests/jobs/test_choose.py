"""`choose` takes the block that knows, goes on where it stopped, and refuses what it cannot use; presets come back."""

import json
from dataclasses import dataclass, replace

import pytest

from equiview.cli import main
from equiview.errors import EquiviewError
from equiview.finetune.head_training import HeadTraining
from equiview.finetune.overrides import override
from equiview.finetune.recipes import RECIPES, get_recipe
from equiview.jobs import choose as job
from equiview.jobs.choose import ChooseRun, choose, find_preset
from equiview.jobs.feature_options import FeatureOptions, open_features
from equiview.jobs.finetune import ImproveConfig, with_features
from equiview.jobs.presets import (
    SHIPPED,
    advice,
    measured_preset,
    read_preset,
    recipe_with_preset,
    shipped_presets,
    with_preset,
)
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead
from equiview.report.choice import choice_table, choice_words, write_block_picture
from equiview.tasks.choosing import score_views
from layered_worlds import layered
from worlds import sphere_ring

RUN = ChooseRun(tuple(f"procedural:{n}" for n in range(5)), views=3, points=40, instances=0)


@pytest.fixture(autouse=True)
def spheres(monkeypatch, tmp_path):
    """Every object is a sphere; what is kept for the user is kept apart."""
    monkeypatch.setattr(job, "open_source", lambda source, *, n_views, **_: sphere_ring(n_views))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tiny():
    return load_backbone("equiview/tiny").info


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """The folder of a run, and what was chosen."""
    folder = tmp_path_factory.mktemp("chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "open_source", lambda source, *, n_views, **_: sphere_ring(n_views))
        return folder, choose(layered(2), RUN, folder)


@pytest.fixture
def shipped(monkeypatch, tmp_path, tiny):
    """Two presets come with the package: of a whole family, and of the weights of equiview/tiny alone."""
    backbone = {"family": "dinov2", "blocks": 12, "weights_sha256": "0"}
    common = {"format": "equiview preset 1", "long_side": None, "head": "whitened"}
    content = {"some-dinov2": common | {"backbone": backbone, "blocks": [10, 12], "whole_family": True}}
    backbone = {"family": tiny.family, "blocks": 12, "weights_sha256": tiny.weights_sha256}
    content["some-tiny"] = common | {"backbone": backbone, "blocks": [3, 5]}
    (tmp_path / "shipped.json").write_text(json.dumps(content))
    monkeypatch.setattr("equiview.jobs.presets.SHIPPED", tmp_path / "shipped.json")


@pytest.mark.parametrize("knowing", [2, 6])
def test_the_block_that_knows_is_taken(tmp_path, chosen, knowing):
    folder, found = chosen if knowing == 2 else (tmp_path, choose(layered(knowing), RUN, tmp_path))
    assert found["blocks"] == [knowing]
    entries = {(*e["blocks"], e["head"]): e["matching"] for e in found["candidates"]}
    assert entries[knowing, found["head"]]["value"] > 80
    others = [entries[block, "none"] for block in range(1, 7) if block != knowing]
    assert all(one["value"] < 20 and one["within_noise"] is False for one in others)
    assert "transfer" not in found["best"]
    assert json.loads((folder / "choice.json").read_text()) == found


def test_an_interrupted_run_goes_on_to_the_same_choice(tmp_path, monkeypatch):
    whole = choose(layered(2, blocks=3), RUN, tmp_path / "whole")

    def stop(stage, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(layered(2, blocks=3), RUN, tmp_path / "cut", progress=stop)
    scored = []
    monkeypatch.setattr(job, "score_views", lambda plan, *_: scored.append(plan.name) or score_views(plan, *_))
    assert choose(layered(2, blocks=3), RUN, tmp_path / "cut") == whole
    assert scored == ["procedural-2", "procedural-3", "procedural-4"]


def test_another_goal_needs_no_new_scores_and_other_objects_another_folder(tmp_path, monkeypatch):
    choose(layered(2, blocks=3), RUN, tmp_path)
    monkeypatch.setattr(job, "block_maps", None)
    assert choose(layered(2, blocks=3), RUN, tmp_path, goal="position")["goal"] == "position"
    with pytest.raises(EquiviewError, match="another run"):
        choose(layered(2, blocks=3), replace(RUN, points=50), tmp_path)


def test_what_cannot_be_chosen_from_is_refused(tmp_path):
    headed = layered(1)
    headed.head = AverageHead()
    with pytest.raises(EquiviewError, match="a backbone as it is"):
        choose(headed, RUN, tmp_path)
    with pytest.raises(EquiviewError, match="goal"):
        choose(layered(1), RUN, tmp_path, goal="beauty")
    with pytest.raises(EquiviewError, match="instances of categories"):
        choose(layered(1), RUN, tmp_path, goal="transfer")
    with pytest.raises(EquiviewError, match="at least one object"):
        choose(layered(1), replace(RUN, objects=()), tmp_path)


def test_table_words_and_picture_name_the_choice(tmp_path, chosen):
    found = chosen[1]
    words = choice_words(found)
    assert words.startswith("Chosen for matching: blocks 2 ") and "worse by more than chance" in words
    assert choice_table(found).row_count == 13
    write_block_picture(found, tmp_path / "blocks.png")
    assert (tmp_path / "blocks.png").read_bytes().startswith(b"\x89PNG")


def test_a_preset_comes_back_and_makes_the_features_it_names(tmp_path):
    source = layered(2)
    found = choose(source, replace(RUN, objects=RUN.objects[:1]), tmp_path, long_side=32)
    for name in (str(tmp_path), str(tmp_path / "choice.json")):
        preset = read_preset(name)
        assert (list(preset.blocks), preset.head, preset.long_side) == (found["blocks"], found["head"], 32)
    made = with_preset(source, preset)
    assert made.blocks == preset.blocks and made.config.long_side == 32
    assert with_preset(source, preset, long_side=64).config.long_side == 64
    (deeper,) = with_preset(layered(1, blocks=12), preset).blocks
    assert deeper == 4


@pytest.mark.parametrize(
    "change",
    [{"format": "x"}, {"blocks": [7]}, {"blocks": []}, {"blocks": [2, 2]}, {"blocks": "2"}, {"head": "linear"}]
    + [{"long_side": 1}, {"long_side": "big"}, {"backbone": {}}, {"backbone": None}],
)
def test_a_broken_preset_is_named(tmp_path, change):
    good = {"format": "equiview preset 1", "blocks": [2], "head": "average", "long_side": None}
    good |= {"backbone": {"family": "made", "blocks": 6, "weights_sha256": "0"}}
    path = tmp_path / "choice.json"
    path.write_text(json.dumps(good))
    assert read_preset(str(path)).blocks == (2,)
    path.write_text(json.dumps(good | change))
    with pytest.raises(EquiviewError, match=r"choice\.json"):
        read_preset(str(path))


def test_a_name_that_is_no_preset_is_refused_with_those_there_are(tmp_path, shipped):
    with pytest.raises(EquiviewError, match="auto, some-dinov2, some-tiny"):
        read_preset("dinov3")
    with pytest.raises(EquiviewError, match=r"choice\.json"):
        read_preset(str(tmp_path))


def test_auto_takes_what_was_measured_else_chooses_once_and_keeps_it(monkeypatch, shipped):
    dinov2 = shipped_presets()["some-dinov2"]
    like_it = layered(1, blocks=24)
    like_it.backbone.info = replace(like_it.backbone.info, family="dinov2")
    assert find_preset("auto", like_it) == dinov2
    assert with_preset(like_it, dinov2).blocks == (20, 24)
    unknown = layered(3, sha256="ab" * 32)
    monkeypatch.setattr(job, "ChooseRun", lambda: RUN)
    monkeypatch.setattr(job, "PLAIN", {"blocks": (), "long_side": 64})
    first = find_preset("auto", unknown)
    assert first.blocks == (3,) and "abab" in first.name and first.long_side is None
    monkeypatch.setattr(job, "choose", None)
    assert find_preset("auto", unknown) == first


def test_shipped_presets_say_how_they_were_measured():
    content = json.loads(SHIPPED.read_text())
    assert content and set(shipped_presets()) == set(content)
    for one in content.values():
        assert one["command"].startswith(("equiview choose ", "python benchmarks/preset.py "))
        measured = json.loads((SHIPPED.parents[3] / one["baseline"]).read_text())
        made = measured["choice"] if "choice" in measured else measured["protocol"]["preset"]
        assert [one[key] for key in ("blocks", "head", "long_side")] == [
            made[k] for k in ("blocks", "head", "long_side")
        ]
        assert one["backbone"]["weights_sha256"] == made["weights_sha256"]


def test_a_recipe_takes_blocks_and_fixed_head_and_keeps_what_it_learns(chosen):
    preset = replace(read_preset(str(chosen[0])), head="whitened")
    backbone = layered(2).backbone
    for name in ("default", "one-step"):
        recipe, changed = get_recipe(name), recipe_with_preset(get_recipe(name), preset, backbone)
        assert changed.feature_config(6).blocks == (2,) and changed.stages[0].head == "whitened"
        assert changed.stages[1:] == recipe.stages[1:] and changed.features.long_side == 640
    paper = recipe_with_preset(get_recipe("paper"), preset, backbone)
    assert paper.feature_config(6).blocks == (2,) and paper.stages[0].head == "random_conv"


def preset_file(tmp_path, **more):
    """A preset for `layered` backbones, with settings of its own for a recipe."""
    content = {"format": "equiview preset 1", "blocks": [2], "head": "low_rank_whitened", "long_side": None}
    content |= {"backbone": {"family": "made", "blocks": 6, "weights_sha256": "0"}} | more
    path = tmp_path / "preset.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_preset_changes_settings_of_a_recipe_and_the_users_own_go_before_them(tmp_path):
    settings = {"head_training.steps": 7, "strength": 0.9, "auxiliary_objects": ["procedural:5"]}
    path = preset_file(tmp_path, recipes={"default": settings})
    config = ImproveConfig(get_recipe("default"), features=path)
    found = with_features(layered(2).backbone, config)
    training = found.recipe.stage(HeadTraining)
    assert (training.steps, training.strength, found.recipe.auxiliary_objects) == (7, 0.9, ("procedural:5",))
    assert found.preset == path and found.recipe.stages[0].head == "low_rank_whitened"
    mine = with_features(layered(2).backbone, replace(config, changes={"head_training.steps": "11"}))
    assert mine.recipe.stage(HeadTraining).steps == 11 and mine.recipe.strength == 0.9
    other = with_features(layered(2).backbone, replace(config, recipe=get_recipe("one-step")))
    assert other.recipe.stages[1:] == get_recipe("one-step").stages[1:]
    with pytest.raises(EquiviewError, match="setting 'head_training.stepz'"):
        broken = preset_file(tmp_path, recipes={"default": {"head_training.stepz": 7}})
        with_features(layered(2).backbone, replace(config, features=broken))


def test_without_a_word_features_are_those_measured_for_the_backbone_else_chosen(monkeypatch, shipped, tmp_path):
    config = ImproveConfig(get_recipe("default"), features=None)
    like_it = layered(1, blocks=12).backbone
    like_it.info = replace(like_it.info, family="dinov2")
    assert with_features(like_it, config).recipe.features.blocks == (10, 12)
    chosen = read_preset(preset_file(tmp_path))
    monkeypatch.setattr("equiview.jobs.finetune.find_preset", lambda name, *_: chosen if name == "auto" else None)
    unknown = layered(3).backbone
    assert with_features(unknown, config).recipe.features.blocks == (2,)
    # Who names features keeps them, and so do recipes that stand on the last block.
    for kept in (
        replace(config, features="recipe"),
        replace(config, recipe=get_recipe("paper")),
        replace(config, changes={"depths": "0.5,1"}),
        replace(config, changes={"head": "average"}),
        replace(config, recipe=get_recipe("wiener")),
    ):
        assert with_features(unknown, kept) is kept
    # So does a run that was begun with the recipe's own.
    (tmp_path / "run.json").write_text("{}")
    assert with_features(unknown, config, tmp_path) is config


def test_other_stages_go_with_a_preset_that_has_settings_of_the_usual_ones(tmp_path):
    path = preset_file(tmp_path, recipes={"default": {"head_training.steps": 7, "strength": 0.9}})
    changes = {"stages": "add_head,head_step"}
    config = ImproveConfig(override(get_recipe("default"), changes), features=path, changes=changes)
    found = with_features(layered(2).backbone, config).recipe
    assert [settings.stage for settings in found.stages] == ["add_head", "head_step"] and found.strength == 0.9


@pytest.mark.parametrize("depth", [12, 24])
def test_a_dinov2_of_any_depth_learns_from_household_objects_on_its_own_blocks(depth):
    backbone = layered(1, blocks=depth).backbone
    backbone.info = replace(backbone.info, family="dinov2")
    config = with_features(backbone, ImproveConfig(get_recipe("default"), features=None))
    assert config.preset == "dinov2-class"
    blocks = (depth // 2, 5 * depth // 6, depth)
    assert config.recipe.feature_config(depth).blocks == blocks
    assert config.recipe.strength == 1 and config.recipe.keep_auxiliary
    assert {name.partition(":")[0] for name in config.recipe.auxiliary_objects} == {"household"}
    unlimited = replace(config, features=None, recipe=get_recipe("default"), changes={"time_budget_s": None})
    assert with_features(backbone, unlimited).recipe.time_budget_s is None
    alone = with_preset(Extractor(backbone), shipped_presets()["dinov2-class"])
    assert alone.blocks == blocks


def test_published_backbones_keep_the_recipe_they_were_published_with():
    backbone = load_backbone("equiview/tiny")
    for recipe in RECIPES.values():
        config = ImproveConfig(recipe, features=None)
        assert with_features(backbone, config) is config


def test_a_preset_is_recorded_and_a_run_without_one_is_the_run_it_was():
    config = ImproveConfig(get_recipe("default"))
    assert "preset" not in config.record
    assert replace(config, preset="dinov2-class").record["preset"] == "dinov2-class"


def test_advice_is_given_where_a_measured_preset_has_other_blocks(shipped):
    info = replace(layered(1, blocks=12).backbone.info, family="dinov2")
    preset = measured_preset(info)
    told = advice(get_recipe("default"), info)
    assert told is not None and "--features auto" in told and ", ".join(map(str, preset.blocks)) in told
    assert advice(get_recipe("paper"), info) is None
    assert advice(get_recipe("default"), layered(1).backbone.info) is None


@pytest.mark.parametrize("also", [{"blocks": (4,)}, {"adapter": "somewhere"}])
def test_what_a_preset_says_already_is_refused_beside_it(also):
    with pytest.raises(EquiviewError, match="--features"):
        open_features(FeatureOptions("equiview/tiny", preset="auto", **also))


@pytest.mark.parametrize("name", ["some-tiny", "auto"])
def test_features_by_name_are_opened(shipped, name):
    found = open_features(FeatureOptions("equiview/tiny", preset=name))
    assert found.config == FeatureConfig(blocks=(3, 5))
    assert [part["kind"] for part in found.describe()["head"]] == ["center", "whiten"]


@dataclass(frozen=True)
class Matching(ChooseRun):
    """Nothing is rendered for it."""

    instances: int = 0


def test_the_command_writes_a_preset_that_the_next_command_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(job, "ChooseRun", Matching)
    names = ["procedural:0", "procedural:1"]
    said = ["choose", "-b", "equiview/tiny", "--objects", *names, "--views", "3", "--points", "20", "--long-side", "64"]
    monkeypatch.setattr("sys.argv", ["equiview", *said, "--out", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as done:
        main()
    result = json.loads(capsys.readouterr().out)
    assert not done.value.code and result["command"] == "choose"
    assert result["wrote"] == [str(tmp_path / "choice.json"), str(tmp_path / "blocks.png")]
    found = open_features(FeatureOptions("equiview/tiny", preset=str(tmp_path)))
    assert list(found.blocks) == result["choice"]["blocks"] and found.config.long_side == 64
