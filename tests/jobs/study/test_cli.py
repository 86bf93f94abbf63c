"""The command from end to end: files, page, table, and messages."""

import json
from pathlib import Path

import numpy as np
import pytest

from equiview.jobs.study.points import PointSet, StudyPoint, write_points


@pytest.fixture
def points(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    made = []
    for i in range(24):
        ape = float(rng.uniform(5, 20))
        scores = {"ape": ape, "transfer/pf-willow/pck@0.10": 60 - ape + float(rng.normal()), "other/<b>": float(i % 5)}
        made.append(StudyPoint(f"<i>{i}", f"family {i % 6}", scores, {"state": "ab"[i % 2]}))
    write_points(tmp_path / "points.json", PointSet(tuple(made), sources=("made up",)))
    return tmp_path / "points.json"


def test_a_study_from_a_file(points: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "out"
    code, text, _ = run("study", str(points), "--out", str(out), "--x", "ape", "--y", "pck@0.10", "other/<b>")
    assert code == 0 and "Go together" in text and "transfer/pf-willow/pck@0.10" in text
    result = json.loads((out / "study.json").read_text())
    assert [(r["x"], r["y"], r["verdict"]) for r in result["relations"]] == [
        ("ape", "transfer/pf-willow/pck@0.10", "together"),
        ("ape", "other/<b>", "not shown"),
    ]
    page = (out / "study.html").read_text()
    assert page.count("<svg") >= 4 and "http://" not in page and "https://" not in page and "<script" not in page
    assert "other/<b>" not in page and "&lt;i&gt;3" in page
    # What was written can be studied again, as JSON, and gives the same numbers.
    again = ("study", str(out / "points.json"), "--out", str(tmp_path / "again"), "--x", "ape", "--y", "transfer")
    code, text, _ = run(*again, "--json")
    assert code == 0 and json.loads(text)["relations"][0] == result["relations"][0]


def test_only_some_points(points: Path, tmp_path: Path, run) -> None:
    common = ("study", str(points), "--out", str(tmp_path / "out"))
    code, text, _ = run(*common, "--only", "state=a", "--json")
    found = json.loads(text)
    assert code == 0 and found["points"] == 12 and "Only points with state = a." in found["notes"]
    code, _, error = run(*common, "--only", "state")
    assert code == 2 and "TAG=VALUE" in error


def test_the_paper_needs_no_file(tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equiview.jobs.study.relations.DRAWS", 300)
    code, text, _ = run("study", "paper", "--out", str(tmp_path / "out"), "--json")
    found = json.loads(text)
    assert code == 0 and len(found["relations"]) == 20
    assert {one["verdict"] for one in found["relations"]} == {"too few"}


def test_messages(points: Path, tmp_path: Path, run) -> None:
    code, _, error = run("study", "omniprobe:missing.json", "--out", str(tmp_path / "out"))
    assert code == 2 and "missing.json" in error
    code, _, error = run("study", f"omniprobe:{points}", "--out", str(tmp_path / "out"))
    assert code == 2 and "board" in error
    code, _, error = run("study", str(points), "--out", str(tmp_path / "out"), "--x", "depth")
    assert code == 2 and "--x depth" in error
    assert not (tmp_path / "out").exists()
    code, _, error = run("study", str(points), "--out", str(points))
    assert code == 2 and "a file" in error
