"""docs/science.md says what the committed baselines say."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_page_is_written_from_the_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("science", BENCHMARKS / "science.py")
    assert spec is not None and spec.loader is not None
    science = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "science", science)
    spec.loader.exec_module(science)
    assert "{{" in science.TEXT.read_text() and "{{" not in science.PAGE.read_text()
    assert science.render(science.TEXT.read_text()) == science.PAGE.read_text(), "run python benchmarks/science.py"
    # A number that changes in a baseline changes the page.
    changed = science.baseline(science.METHOD)["rows"]["one-step"]["metrics"]["pcdp@0.05"]
    monkeypatch.setitem(changed, "value", 99.99)
    assert "99.99" in science.render(science.TEXT.read_text())
