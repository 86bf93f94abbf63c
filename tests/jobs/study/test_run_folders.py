"""Run folders become points: runs of the same features are joined, others are kept apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from equiview.errors import EquiviewError
from equiview.jobs.study.readers import read_results

FEATURES = {"backbone": "some/where/tiny", "weights_sha256": "abcdef99", "family": "vit", "blocks": [8], "norm": True}
SCORES = ("ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2")


def entry(value: float | None) -> dict[str, Any]:
    return {"value": value, "ci95": None, "n": 2}


def measured(folder: Path, ape: float = 10.0, **changes: Any) -> str:
    folder.mkdir()
    protocol = {"features": FEATURES | {"long_side": 640} | changes, "measure": {"points": 3}}
    rows = [{"object": o, "pair": [0, 1]} | dict.fromkeys(SCORES, ape + k) for k, o in enumerate("ab")]
    summary = {"metrics": {name: entry(ape + 0.5) for name in SCORES}, "protocol": protocol}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def benched(folder: Path, pck: float | None = 40.0, long_side: int | None = None, **changes: Any) -> str:
    folder.mkdir()
    features = FEATURES | {"long_side": long_side or 640} | changes
    protocol = {"features": features, "bench": {"long_side": long_side}}
    tasks = {"transfer": {"pf-willow": {"pck@0.10": entry(pck), "pck@0.05": entry(None)}}}
    (folder / "summary.json").write_text(json.dumps({"tasks": tasks, "protocol": protocol}))
    return str(folder)


def test_a_measurement_and_a_bench_of_the_same_features_are_one_point(tmp_path: Path) -> None:
    sources = [benched(tmp_path / "b"), measured(tmp_path / "m"), measured(tmp_path / "other", blocks=[12])]
    points = read_results(sources).points
    assert [dict(p.scores).keys() >= {"ape", "transfer/pf-willow/pck@0.10"} for p in points] == [True, False]
    first = points[0]
    assert first.family == "tiny" and first.tags["blocks"] == "8" and first.scores["ape"] == 10.5
    assert first.units["ape"] == {"a": 10.0, "b": 11.0}
    assert "transfer/pf-willow/pck@0.05" not in first.scores  # An empty score was not measured.


def test_resolutions_are_paired_where_the_bench_has_one(tmp_path: Path) -> None:
    small, large = measured(tmp_path / "s", 9.0, long_side=320), measured(tmp_path / "l")
    points = read_results([small, large, benched(tmp_path / "b", long_side=320)]).points
    joined = [p for p in points if "transfer/pf-willow/pck@0.10" in p.scores]
    assert len(points) == 2 and joined[0].tags["long_side"] == "320" and joined[0].scores["ape"] == 9.5
    with pytest.raises(EquiviewError, match="one measurement of its features"):
        read_results([small, large, benched(tmp_path / "c")])


def test_other_weights_are_another_family(tmp_path: Path) -> None:
    sources = [measured(tmp_path / "a"), measured(tmp_path / "b", weights_sha256="123456789")]
    assert {p.family for p in read_results(sources).points} == {"tiny (abcdef)", "tiny (123456)"}


def test_the_same_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EquiviewError, match="every score of the same features once"):
        read_results([measured(tmp_path / "a"), measured(tmp_path / "b")])


def test_a_run_of_improve_is_refused(tmp_path: Path) -> None:
    from report.make_run import write_run

    with pytest.raises(EquiviewError, match="run of measure, bench"):
        read_results([str(write_run(tmp_path / "run"))])


def test_an_unfinished_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EquiviewError, match="summary.json"):
        read_results([str(tmp_path / "empty")])


def test_two_strengths_of_one_adapter_are_two_points(tmp_path: Path) -> None:
    def of(strength: float | None) -> dict[str, Any]:
        return {"sha256": "feed" * 16, "strength": strength, "lora": {"rank": 4, "strength": strength}}

    sources = [measured(tmp_path / str(s), adapter=of(s)) for s in (0.0, 0.5, 1.0, None)]
    points = read_results(sources).points
    assert [p.tags["strength"] for p in points] == ["0", "0.5", "1", "mixed"]
    assert len({p.name for p in points}) == 4 and {p.tags["adapter"] for p in points} == {"feedfeed"}
    assert points[1].name.endswith("feedfeed, strength 0.5")


def test_a_run_from_before_strengths_joins_the_full_one(tmp_path: Path) -> None:
    head = [{"kind": "linear", "in": 4, "out": 4}]
    old = {"head": head, "adapter": {"sha256": "feed" * 16, "lora": None}}
    new = {"head": [head[0] | {"strength": 1.0}], "adapter": old["adapter"] | {"strength": 1.0}}
    half = {"head": [head[0] | {"strength": 0.5}], "adapter": old["adapter"] | {"strength": 0.5}}
    sources = [measured(tmp_path / "m", **new), benched(tmp_path / "b", **old), benched(tmp_path / "h", **half)]
    points = read_results(sources).points
    assert [sorted(p.scores) for p in points][1:] == [["transfer/pf-willow/pck@0.10"]] and len(points) == 2
    assert points[0].tags["strength"] == "1" and points[1].tags["strength"] == "0.5"
