"""`improve` from end to end on hand-made spheres and a tiny random network."""

import importlib
import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.head_training import HeadTraining
from equiview.jobs.improve import ImproveConfig, improve, variants
from equiview.models.adapters import has_lora, load_adapter
from equiview.models.adapters.lora import LoraSpec
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from finetune.tiny import changed, recipe
from models.backbones.tiny import make_model, save
from worlds import sphere_ring

pytestmark = pytest.mark.usefixtures("undrawn")
TEST = [f"procedural:{seed}" for seed in range(2, 7)]
BOTH = recipe(ClosedFormConfig(points=30), head="average", steps=2)
CONFIG = ImproveConfig(BOTH, views=4, points=40, notes=("a note",))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(save(make_model("vit"), tmp_path_factory.mktemp("vit")))


@pytest.fixture(scope="module", autouse=True)
def spheres():
    """Every object is a sphere; nothing is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equiview.finetune.unlabeled_images.IMAGES", 3)
        patch.setattr("equiview.jobs.run_folder.open_source", lambda source, *, n_views, **_: sphere_ring(n_views))
        yield


@pytest.fixture(scope="module")
def finished(backbone, tmp_path_factory):
    """One run for the tests that only look at it."""
    out, stages = tmp_path_factory.mktemp("run"), []
    improve(backbone, ["procedural:1"], TEST, out, CONFIG, lambda stage, done, total: stages.append(stage))
    assert stages[0] == "render" and stages[-1] == "score"
    return out


def read(path):
    return json.loads(path.read_text())


def test_the_summary_has_its_form(finished):
    summary = read(finished / "summary.json")
    assert {"before", "after", "controls", "difference", "protocol"} == set(summary)
    assert {"pretrained", "fixed_average", "random_head"} <= set(summary["controls"])
    for part in (summary["before"], summary["after"], *summary["controls"].values()):
        assert set(part["metrics"]) == {"ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2", "pcdp@0.01", "pcdp@0.02"}
        for metric in part["metrics"].values():
            assert {"value", "ci95", "n", "by_angle"} <= set(metric)
            assert metric["n"] == len(TEST)
    for metric in summary["difference"].values():
        assert {"value", "relative", "ci95", "vs_best_control"} <= set(metric)
    assert summary["protocol"]["notes"] == ["a note"]
    assert summary["before"]["metrics"] == summary["controls"]["pretrained"]["metrics"]


def test_the_difference_is_after_minus_before(finished):
    summary = read(finished / "summary.json")
    for name, difference in summary["difference"].items():
        after, before = (summary[key]["metrics"][name]["value"] for key in ("after", "before"))
        assert difference["value"] == pytest.approx(after - before, abs=1e-6)


def test_rows_have_every_variant_of_every_pair(finished):
    rows = [json.loads(line) for line in (finished / "rows.jsonl").read_text().splitlines()]
    pairs = {}
    for row in rows:
        pairs.setdefault(row["variant"], set()).add((row["object"], *row["pair"]))
    assert {"pretrained", "fixed_average", "random_head", "adapted"} <= set(pairs)
    assert len({frozenset(p) for p in pairs.values()}) == 1
    assert {row["object"] for row in rows} == {t.replace(":", "-") for t in TEST}


def test_everything_else_is_there(finished):
    for name in ("adapter/equiview.json", "adapter/head.safetensors", "log.jsonl", "run.json"):
        assert (finished / name).is_file(), name
    with np.load(finished / "pictures" / "procedural-2.npz") as file:
        assert {"rgb0", "xy1_true", "xy1_before", "xy1_after", "heat_after", "pca1_before"} <= set(file)


def test_the_adapter_loads_in_one_line(finished, backbone):
    import equiview

    model = equiview.load(backbone, adapter=finished)
    assert model.at(torch.rand(1, 3, 64, 64), torch.tensor([[[30.0, 30.0]]])).shape == (1, 1, 32)


@pytest.mark.parametrize("moment", [("train network", 1), ("score", 2)])
def test_an_interrupted_run_goes_on_to_the_same_scores(finished, backbone, tmp_path, moment, sent):
    def stop(stage, done, total):
        if (stage, done) == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        improve(backbone, ["procedural:1"], TEST, tmp_path, CONFIG, stop)
    assert not (tmp_path / "summary.json").exists()
    resumed = improve(backbone, ["procedural:1"], TEST, tmp_path, CONFIG, engine=sent)
    whole = read(finished / "summary.json")
    for part in ("before", "after"):
        assert resumed[part]["metrics"] == whole[part]["metrics"]
    assert resumed["difference"] == whole["difference"]
    assert (tmp_path / "rows.jsonl").read_bytes() == (finished / "rows.jsonl").read_bytes()
    # A finished run is only summarised again.
    assert improve(backbone, ["procedural:1"], TEST, tmp_path, CONFIG) == resumed


def test_another_run_in_the_same_folder_is_refused(finished, backbone):
    before = (finished / "summary.json").read_bytes()
    with pytest.raises(EquiviewError, match="another run"):
        improve(backbone, ["procedural:1"], TEST[:2], finished, CONFIG)
    assert (finished / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("train", "test"),
    [(["procedural:2"], TEST), (["a/mug.glb"], ["b/mug.glb"]), ([], TEST), (["procedural:1"] * 2, TEST)],
)
def test_an_object_is_trained_on_or_tested_on(backbone, tmp_path, train, test):
    with pytest.raises(EquiviewError):
        improve(backbone, train, test, tmp_path / "new", CONFIG)
    assert not (tmp_path / "new").exists()


def test_the_first_two_objects_get_a_live_part(finished):
    from equiview.draw.live.pack import read_pack

    packs = [read_pack(path) for path in sorted((finished / "live").glob("*.npz"))]
    assert [pack.name for pack in packs] == ["procedural-2", "procedural-3"]
    for pack in packs:
        assert list(pack.tokens) == ["pretrained", "adapted"] and len(pack.views) == CONFIG.views
        assert all(loss["pcdp_full"] is not None for loss in pack.loss.values())


@pytest.mark.parametrize(
    "change, what",
    [
        ({"train_long_side": 4}, "one patch"),
        ({"features": replace(BOTH.features, blocks=(9,))}, "block"),
        ({"lora": LoraSpec(rank=99, last_blocks=2)}, "LoRA rank"),
        ({"lora": LoraSpec(last_blocks=9)}, "last_blocks"),
        ({"lora": None}, "such as default"),
    ],
)
def test_what_does_not_fit_the_backbone_is_found_before_anything_is_rendered(change, what, backbone, tmp_path):
    wrong = replace(BOTH, **change) if "features" in change else changed(BOTH, **change)
    stages = []
    with pytest.raises(EquiviewError, match=what):
        improve(
            backbone,
            ["procedural:1"],
            TEST,
            tmp_path,
            replace(CONFIG, recipe=wrong),
            lambda *stage: stages.append(stage),
        )
    assert stages == []


HEAD = HeadTraining(steps=3, instances=0, pictures=2)
JOINED = replace(CONFIG, recipe=recipe(HEAD, head="average", steps=2))


@pytest.fixture(scope="module")
def joined(backbone, tmp_path_factory):
    """A run of both stages that nothing interrupted."""
    return improve(backbone, ["procedural:1"], TEST[:2], tmp_path_factory.mktemp("joined"), JOINED)


@pytest.mark.parametrize("stage", ["train network", "solve", "train"])
def test_a_head_on_a_network_goes_on_after_an_interruption_and_says_what_both_did(stage, backbone, joined, tmp_path):
    def stop(found, done, total):
        if (found, done) == (stage, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        improve(backbone, ["procedural:1"], TEST[:2], tmp_path / "run", JOINED, stop)
    resumed = improve(backbone, ["procedural:1"], TEST[:2], tmp_path / "run", JOINED)
    assert resumed["after"]["metrics"] == joined["after"]["metrics"]
    record = read(tmp_path / "run" / "adapter" / "equiview.json")
    assert (record["trained_network"], record["trained"]) == ([2, 2], [3, 3])


GENERAL = recipe(HEAD, network=False, auxiliary_objects=("procedural:91", "procedural:92"), time_budget_s=1e5)


def test_a_recipe_with_auxiliary_objects_needs_no_object_of_ones_own(backbone, tmp_path):
    summary = improve(backbone, [], TEST[:2], tmp_path / "run", replace(CONFIG, recipe=GENERAL))
    record = read(tmp_path / "run" / "adapter" / "equiview.json")
    assert record["data"]["objects"] == ["procedural-91", "procedural-92"] and record["trained"] == [3, 3]
    assert read(tmp_path / "run" / "plan.json")["costs"]["own_views"] == 0
    assert summary["after"]["metrics"] != summary["controls"]["pretrained"]["metrics"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (replace(GENERAL, auxiliary_objects=()), "train objects: expected at least one object"),
        (changed(recipe(HEAD, auxiliary_objects=("procedural:91",)), own_objects_only=True), "an object of one's own"),
        (replace(GENERAL, auxiliary_objects=("procedural:91", "nowhere.obj")), "nowhere.obj"),
        (replace(GENERAL, auxiliary_objects=("procedural:91", TEST[0])), "procedural-2 twice"),
    ],
)
def test_nothing_to_learn_from_is_found_before_anything_is_done(given, message, backbone, tmp_path):
    with pytest.raises(EquiviewError, match=message):
        improve(backbone, [], TEST[:2], tmp_path / "run", replace(CONFIG, recipe=given))
    assert not (tmp_path / "run").exists()


def test_no_time_for_the_network_is_said_and_recorded(backbone, tmp_path, caplog):
    improve(backbone, ["procedural:1"], TEST[:1], tmp_path, replace(JOINED, budget_s=0.0))
    record = read(tmp_path / "adapter" / "equiview.json")
    assert record["trained_network"] == [0, 2] and "take default" in caplog.text
    assert "0 of 2 steps" in caplog.text and read(tmp_path / "plan.json")["stages"]["network"]["steps"] == 0


def adapter_bytes(out):
    return {path.name: path.read_bytes() for path in (out / "adapter").glob("*.safetensors")}


def test_a_plan_is_made_once_and_holds_on_a_machine_that_has_become_slow(backbone, tmp_path, monkeypatch, caplog):
    """What is trained follows the plan: the clock of another sitting, or of none at all, changes no weight."""

    def stop(stage, done, total):
        if (stage, done) == ("solve", 1):
            raise KeyboardInterrupt

    caplog.set_level("INFO")
    planned = replace(JOINED, budget_s=1e5)
    with pytest.raises(KeyboardInterrupt):
        improve(backbone, ["procedural:1"], TEST[:2], tmp_path / "a", planned, stop)
    assert read(tmp_path / "a" / "plan.json")["stages"]["head_training"]["steps"] == 3
    assert "--set time_budget_s=none auxiliary_objects= network.steps=2 head_training.steps=3" in caplog.text

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("equiview.jobs.finetune.measure_costs", never)
    improve(backbone, ["procedural:1"], TEST[:2], tmp_path / "a", planned)
    improve(backbone, ["procedural:1"], TEST[:2], tmp_path / "b", JOINED)
    assert adapter_bytes(tmp_path / "a") == adapter_bytes(tmp_path / "b") != {}


FORMER = {
    **{"name": "test", "kind": "train_then_closed_form", "head": "average", "depths": [], "companions": []},
    **{"train_long_side": None, "loss": "smooth_ap", "temperature": 0.01, "regulariser": 0.0, "lr": 1e-3},
    **{"weight_decay": 1e-4, "clip": 1.0, "steps": 2, "time_budget_s": None, "augment": None, "batch": 1},
    **{"accumulate": 1, "dtype": "float32", "checkpoint_every": 25, "strength": 1.0, "head_training": None},
    "lora": {"rank": 4, "alpha": None, "last_blocks": 2},
    "pairs": {"sampler": "overlap", "points": 60, "min_overlap": 0.1, "max_angle_deg": 180.0},
}


def test_a_run_that_an_earlier_version_began_goes_on(finished, backbone, tmp_path):
    """Its run.json holds the flat form of the recipe, and companions.json what its budget decided."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    about = read(run / "run.json")
    closed = {k: v for k, v in about["recipe"]["stages"][-1].items() if k not in ("stage", "strength")}
    flat = FORMER | {"features": about["recipe"]["features"], "closed_form": closed}
    (run / "run.json").write_text(json.dumps(about | {"recipe": flat}))
    (run / "companions.json").write_text(json.dumps({"companions": []}))
    for made in ("plan.json", "summary.json", "rows.jsonl", "log.jsonl", "checkpoint.pt"):
        (run / made).unlink()
    shutil.rmtree(run / "adapter")
    again = improve(backbone, ["procedural:1"], TEST, run, CONFIG)
    assert again["difference"] == read(finished / "summary.json")["difference"]
    assert adapter_bytes(run) == adapter_bytes(finished)
    (run / "run.json").write_text(json.dumps(about | {"recipe": flat | {"lr": 0.5}}))
    with pytest.raises(EquiviewError, match="differs in: recipe"):
        improve(backbone, ["procedural:1"], TEST, run, CONFIG)


def test_one_backbone_serves_the_whole_run(backbone, tmp_path, monkeypatch):
    """Loaded, hashed and its adapter's record read once; with the adapter off it is the base to the last bit."""
    calls = Counter()

    def counted(place, name):
        whole = getattr(importlib.import_module(place), name)

        def call(*args, **kwargs):
            calls[name] += 1
            return whole(*args, **kwargs)

        monkeypatch.setattr(f"{place}.{name}", call)

    counted("equiview.jobs.finetune", "load_backbone")
    counted("equiview.models.backbones.huggingface", "state_sha256")
    counted("equiview.models.adapters.folder", "read_adapter")
    two_blocks = replace(BOTH, features=replace(BOTH.features, blocks=(2, 3)))
    improve(backbone, ["procedural:1"], TEST[:1], tmp_path, replace(CONFIG, recipe=two_blocks))
    assert calls == {"load_backbone": 1, "state_sha256": 1, "read_adapter": 1}
    base, views = load_backbone(backbone), sphere_ring(3)
    adapted = load_adapter(tmp_path / "adapter", load_backbone(backbone))
    found = dict(variants(adapted, views, seed=0))
    assert has_lora(adapted.backbone)
    for name, config in (("pretrained", adapted.config), ("last_block", FeatureConfig(long_side=64))):
        for one, other in zip(found[name], Extractor(base, config).maps(views), strict=True):
            assert torch.equal(one.tokens, other.tokens)
    assert not torch.equal(found["adapted"][0].tokens, found["fixed_average"][0].tokens)
