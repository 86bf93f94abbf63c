"""The demo: no network, a random backbone that is said to be random, and the same numbers again."""

import json
import socket

import pytest

from equiview import demo
from equiview.backbones import load_backbone
from equiview.errors import EquiviewError


@pytest.fixture
def small(monkeypatch):
    """The demo with less of everything, on a machine without a network."""
    for name, value in {"TEST_OBJECTS": ("procedural:11", "procedural:12"), "LONG_SIDE": 160, "STEPS": 2}.items():
        monkeypatch.setattr(demo, name, value)
    config = demo.ImproveConfig
    monkeypatch.setattr(demo, "ImproveConfig", lambda *a, **k: config(*a, views=5, points=40, **k))
    monkeypatch.setattr("equiview.finetune.adapt.PICTURES", 6)

    def refuse(*args, **kwargs):
        raise AssertionError("the demo asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_demo_runs_says_what_it_is_and_resumes(small, tmp_path):
    stages = []
    summary = demo.run_demo(tmp_path / "a", progress=lambda stage, done, total: stages.append(stage))
    assert summary["protocol"]["notes"] == [demo.NOTE]
    assert "RANDOM" in demo.NOTE
    assert stages[0] == "render" and stages[-1] == "score"
    assert (tmp_path / "a" / "adapter" / "equiview.json").is_file()
    for variant in (summary["before"], summary["after"], *summary["controls"].values()):
        assert 0 <= variant["metrics"]["pcdp@0.1"]["value"] <= 100
    again = demo.run_demo(tmp_path / "a")
    assert json.dumps(again) == json.dumps(summary)
    with pytest.raises(EquiviewError, match="another run"):
        demo.run_demo(tmp_path / "a", seed=1)


def test_the_backbone_is_an_ordinary_folder_made_from_its_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        demo.write_random_vit(tmp_path / name, seed)
    a, b, c = (load_backbone(tmp_path / name).info for name in "abc")
    assert (a.family, a.patch, a.dim, a.blocks) == ("vit", demo.PATCH, demo.DIM, demo.BLOCKS)
    assert a.weights_sha256 == b.weights_sha256 != c.weights_sha256


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EquiviewError, match=str(tmp_path / "file")):
        demo.write_random_vit(tmp_path / "file" / "backbone", 0)
