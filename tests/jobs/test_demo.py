"""The demo: no network, the bundled backbone, and the same numbers again."""

import json
import socket
from types import SimpleNamespace

import pytest

from equiview.errors import EquiviewError
from equiview.jobs import demo
from equiview.metrics.equivariance import METRIC_NAMES, object_values
from equiview.render import RenderConfig


@pytest.fixture
def small(monkeypatch):
    """The demo with less of everything, on a machine without a network."""
    monkeypatch.setattr(demo, "TEST_OBJECTS", ("builtin:mug", "builtin:duck"))
    config, recipe = demo.ImproveConfig, demo.get_recipe
    monkeypatch.setattr(demo, "ImproveConfig", lambda *a, **k: config(*a, views=5, points=40, **k))
    monkeypatch.setattr(demo, "get_recipe", lambda name: demo_recipe(recipe(name)))
    monkeypatch.setattr("equiview.finetune.unlabeled_images.IMAGES", 6)
    monkeypatch.setattr("equiview.data.meshes.RenderConfig", lambda: RenderConfig(hw=(224, 224)))

    def refuse(*args, **kwargs):
        raise AssertionError("the demo asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def demo_recipe(recipe):
    from equiview.finetune.overrides import override

    return override(recipe, {"features.long_side": 160})


def test_demo_runs_says_what_it_is_and_resumes(small, tmp_path):
    stages = []
    summary = demo.run_demo(tmp_path / "a", progress=lambda stage, done, total: stages.append(stage))
    assert summary["protocol"]["notes"] == [demo.NOTE]
    assert summary["protocol"]["features"]["backbone"] == "equiview/tiny"
    assert summary["protocol"]["adapter"]["recipe"]["name"] == "one-step"
    assert stages[0] == "render" and stages[-1] == "score"
    assert (tmp_path / "a" / "adapter" / "equiview.json").is_file()
    rows = [json.loads(line) for line in (tmp_path / "a" / "rows.jsonl").read_text().splitlines()]
    variants = {"pretrained": summary["before"], "adapted": summary["after"], **summary["controls"]}
    assert {row["variant"] for row in rows} == set(variants) and len(variants) >= 4
    for metric in METRIC_NAMES:
        scores = {}
        for name, variant in variants.items():
            values = object_values([row for row in rows if row["variant"] == name], metric)
            assert sorted(values) == ["builtin-duck", "builtin-mug"]
            scores[name] = variant["metrics"][metric]["value"]
            assert scores[name] == pytest.approx(sum(values.values()) / 2)
        # What was learned, and every control, changes the features.
        assert len(set(scores.values())) == len(scores)
    # A point placed anywhere in the picture is within a tenth of its edge less often than this.
    assert summary["before"]["metrics"]["pcdp@0.1"]["value"] > 10
    again = demo.run_demo(tmp_path / "a")
    assert json.dumps(again) == json.dumps(summary)
    elsewhere = demo.run_demo(tmp_path / "b")
    assert {**elsewhere["after"]["metrics"]} == {**summary["after"]["metrics"]}
    with pytest.raises(EquiviewError, match="another run"):
        demo.run_demo(tmp_path / "a", seed=1)


def test_a_disk_too_small_is_found_out_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda where: SimpleNamespace(free=5 * 2**20))
    with pytest.raises(EquiviewError, match="300 MiB of free disk space, found 5 MiB"):
        demo.run_demo(tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []
