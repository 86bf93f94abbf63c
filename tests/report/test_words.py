"""The sentence on top never says more than the run shows."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from equiview.report import read_run, summarize_run
from equiview.report.boxes import Cell, Row, Table
from equiview.report.numbers import best_of, interval, number, signed, typeset
from equiview.report.shell import environment
from equiview.report.words import Summary
from report.make_run import write_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


def said(run_dir: Path, tmp_path: Path, change: dict[str, Any]) -> Summary:
    """Summarise the run after changing some entries of difference["pcdp@0.05"]; keys reach inside with dots."""
    summary = json.loads((run_dir / "summary.json").read_text())
    entry = copy.deepcopy(summary["difference"]["pcdp@0.05"])
    for path, value in change.items():
        *parents, last = path.split(".")
        node = entry
        for parent in parents:
            node = node[parent]
        node[last] = value
    summary["difference"]["pcdp@0.05"] = entry
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "rows.jsonl").write_bytes((run_dir / "rows.jsonl").read_bytes())
    return summarize_run(read_run(tmp_path))


def test_a_clear_gain(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {})
    assert found.verdict == "good"
    assert found.sentences[0].startswith("On 5 objects never trained on, PCDP@0.05 rose from ")
    assert found.sentences[0].endswith("above every control.")
    assert "Better on 5 of 5 objects." in found.sentences


def test_interval_that_reaches_zero(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"ci95": [-0.2, 3.0]})
    assert found.verdict == "unclear"
    assert any("reaches zero" in s for s in found.sentences)


def test_interval_to_the_best_control_that_reaches_zero(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"vs_best_control.ci95": [-0.1, 1.0]})
    assert found.verdict == "unclear"
    assert "above every control" not in found.sentences[0]


def test_a_control_that_may_be_better_is_not_called_so(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"vs_best_control.value": -0.4, "vs_best_control.ci95": [-1.0, 0.3]})
    assert found.label == "Not clear of the controls"
    assert not any("A control does better" in s for s in found.sentences)


def test_a_better_control(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"vs_best_control.value": -1.0, "vs_best_control.ci95": [-2.0, -0.5]})
    assert found.verdict == "bad"
    assert any(s.startswith("A control does better: the fixed average") for s in found.sentences)
    assert "above every control" not in " ".join(found.sentences)


def test_a_loss(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"value": -2.0, "ci95": [-3.0, -1.0]})
    assert (found.verdict, found.label) == ("bad", "Worse than before")
    assert " fell from " in found.sentences[0]


def test_a_loss_at_one_angle_is_said(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"by_angle.90-180.value": -2.0, "by_angle.90-180.ci95": [-3.0, -1.0]})
    assert any("It is worse at 90-180 degrees." in s for s in found.sentences)


def test_a_loss_within_its_interval_is_not_called_worse(run_dir: Path, tmp_path: Path) -> None:
    found = said(run_dir, tmp_path, {"by_angle.90-180.value": -2.0, "by_angle.90-180.ci95": [-5.0, 1.0]})
    assert not any("It is worse" in s for s in found.sentences)


def test_objects_that_were_trained_on_are_said(run_dir: Path, tmp_path: Path) -> None:
    summary = json.loads((run_dir / "summary.json").read_text())
    summary["protocol"]["run"]["train_objects"] = ["elsewhere/mug.glb"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "rows.jsonl").write_bytes((run_dir / "rows.jsonl").read_bytes())
    found = summarize_run(read_run(tmp_path))
    assert "1 of them also trained on (mug)" in found.sentences[0]
    assert found.label != "Better on unseen objects"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("-1.5 to -0.2", "\u22121.5 to \u22120.2"), ("0-45", "0-45"), ("a-1", "a-1"), ("(-3", "(\u22123")],
)
def test_minus_signs(text: str, wanted: str) -> None:
    assert typeset(text) == wanted


def test_numbers() -> None:
    assert (number(None), signed(None), interval(None)) == ("\u2013", "\u2013", "")
    assert interval([1, 2], 1, sign=True) == "+1.0 to +2.0"
    assert best_of({"a": 1.001, "b": 1.002, "c": None}, "pcdp@0.05") == {"a", "b"}
    assert best_of({"a": 1.0, "b": 2.0}, "ape") == {"a"}
    assert best_of({"a": None}, "ape") == set()


def test_text_is_escaped_and_markup_is_not() -> None:
    parts = environment().get_template("parts.html.j2").module
    table = Table('"', ["<x>"], [Row(Cell("<x>\n&"), [Cell("&", ["<"], bold=True)])])
    html = "".join(parts.table(table).split("\n"))
    assert "<b>&amp;</b><small>&lt;</small>" in html and "&lt;x&gt;<br>&amp;" in html
    assert 'aria-label="&#34;"' in html and "<x>" not in html


@pytest.mark.parametrize(
    "tested, words", [(5, "On other views of 5 objects it was trained on,"), (1, "1 of them other")]
)
def test_other_views_of_what_was_trained_on_are_said(run_dir: Path, tmp_path: Path, tested: int, words: str) -> None:
    summary = json.loads((run_dir / "summary.json").read_text())
    names = sorted(read_run(run_dir).objects())
    rows = (run_dir / "rows.jsonl").read_text()
    for name in names[:tested]:
        rows = rows.replace(f'"{name}"', f'"{name}@1__2"')
    summary["protocol"]["run"] |= {
        "train_objects": [f"captures/{name}@0::2" for name in names[:tested]],
        "test_objects": [f"captures/{name}@1::2" for name in names],
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "rows.jsonl").write_text(rows)
    found = summarize_run(read_run(tmp_path))
    assert words in found.sentences[0] and found.label == "Better, but partly on objects it was trained on"
