"""The examples run as they are, without a network."""

import runpy
import socket
import sys
from pathlib import Path

import pytest

from equiview.render import RenderConfig

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
SAID = {
    "01_match_two_views": "points are visible in both",
    "02_measure_a_backbone": "report.html",
    "03_adapt_and_load": "modeling_equiview.py",
}
# Those that need a file made before: which test runs them.
ELSEWHERE = {"04_onnx_match": "tests/models/test_onnx.py"}


def test_every_example_is_numbered_short_and_known():
    assert [path.stem for path in EXAMPLES] == sorted({*SAID, *ELSEWHERE})
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) < 60, path
    for name, test in ELSEWHERE.items():
        assert name in (EXAMPLES[0].parents[1] / test).read_text()


@pytest.fixture
def small(monkeypatch):
    """Pictures of fewer pixels, and no network."""

    def refuse(*args, **kwargs):
        raise AssertionError("the example asked for the network")

    monkeypatch.setattr("equiview.data.meshes.RenderConfig", lambda: RenderConfig(hw=(224, 224)))
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem in SAID], ids=lambda path: path.stem)
def test_example_runs(path, small, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert SAID[path.stem] in capsys.readouterr().out
