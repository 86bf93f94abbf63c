"""Two runs side by side: pairing, units, refusals, and the command."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equiview.cli import main
from equiview.errors import EquiviewError
from equiview.jobs.compare import compare_runs, protocol_differences
from equiview.metrics.rows import identity, scores
from report.make_run import write_measured, write_run

FEATURES = {"backbone": "tiny", "weights_sha256": "ab", "blocks": [4], "long_side": 640, "norm": True, "stride": 16}


def write(folder: Path, rows: list[dict], metrics: tuple[str, ...] = (), **protocol: Any) -> Path:
    """Write a finished run of a task."""
    folder.mkdir(parents=True)
    entries = {name: {"value": 1.0, "ci95": None, "n": 1} for name in metrics}
    summary = {"metrics": entries, "protocol": {"features": FEATURES} | protocol}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def clip_rows(gain: float, n: int = 6) -> list[dict]:
    rows = []
    for i in range(n):
        head = {"clip": f"c{i}"}
        rows.append({"kind": "clip", **head, "average_jaccard": 40 + 3 * i + gain, "n": 10, "n_hits": 4 + (gain > 0)})
        rows += [{"kind": "point", **head, "point": p, "n": 5, "n_hits": 2, "errors_px": [1, 2]} for p in range(2)]
    return rows


def test_differences_are_paired_and_means_are_over_units(tmp_path: Path) -> None:
    rows = [{"object": name, "pair": [0, k], "ape": 10.0 * o + k} for o, name in enumerate("abcde") for k in range(4)]
    better = [row | {"ape": row["ape"] - 1 - (row["object"] == "e")} for row in rows]
    a = write(tmp_path / "a", rows, ("ape",), measure={"points": 10})
    b = write(tmp_path / "b", better[::-1], ("ape",), measure={"points": 10})
    found = compare_runs(a, b)
    entry = found["metrics"]["ape"]
    assert (found["kind"], found["unit"], found["n_rows"], found["only_in"]) == ("measure", "object", 20, [0, 0])
    assert entry["before"] == pytest.approx(21.5) and entry["after"] == pytest.approx(20.3)
    assert entry["value"] == pytest.approx(-1.2) and (entry["n"], entry["n_improved"]) == (5, 5)
    # The interval is of the differences, five objects, and far narrower than that of either mean.
    assert -1.7 < entry["ci95"][0] <= entry["value"] <= entry["ci95"][1] <= -1.0


def test_what_is_no_number_is_null_with_a_reason(tmp_path: Path) -> None:
    rows = [
        {"object": name, "pair": [0, k], "ape": 10.0 + k, "pcdp@0.05": float("nan")} for name in "ab" for k in range(4)
    ]
    broken = [row | {"ape": float("inf") if row["pair"][1] == 0 else row["ape"]} for row in rows]
    names = ("ape", "pcdp@0.05")
    a = write(tmp_path / "a", rows, names, measure={"points": 10})
    b = write(tmp_path / "b", broken, names, measure={"points": 10})
    found = compare_runs(a, b)
    ape, pcdp = (found["metrics"][name] for name in names)
    assert (pcdp["before"], pcdp["value"], pcdp["reason"]) == (None, None, "8 of 8 rows are no finite number")
    assert (ape["before"], ape["value"], ape["reason"]) == (12.0, 0.0, "2 of 8 rows are no finite number")
    json.dumps(found, allow_nan=False)


def test_swapping_the_runs_changes_the_sign(tmp_path: Path) -> None:
    a = write(tmp_path / "a", clip_rows(0), ("average_jaccard",), tracking={"queries": "first"})
    b = write(tmp_path / "b", clip_rows(2.5), ("average_jaccard",), tracking={"queries": "first"})
    there, back = compare_runs(a, b)["metrics"], compare_runs(b, a)["metrics"]
    assert there["average_jaccard"]["value"] == pytest.approx(2.5) == -back["average_jaccard"]["value"]
    assert (there["average_jaccard"]["n_improved"], back["average_jaccard"]["n_improved"]) == (6, 0)


def test_a_run_beside_itself_is_no_difference(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for entry in compare_runs(run, run)["metrics"].values():
        assert entry["value"] == 0 and entry["ci95"] == [0, 0] and entry["n_improved"] == 0


def test_runs_of_improve_and_measure(tmp_path: Path) -> None:
    """The written gains come back: the second run's adapted features are about 3 points better."""
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", gains={"pretrained": 0.0, "adapted": 7.6})
    found = compare_runs(a, b)
    assert found["variant"] == "adapted" and found["kind"] == "improve"
    assert found["metrics"]["pcdp@0.05"]["value"] == pytest.approx(3.0, abs=0.6)
    assert "in_mask/pcdp@0.05" in found["metrics"] and "unambiguous/ape" in found["metrics"]
    assert compare_runs(a, b, variant="pretrained")["metrics"]["pcdp@0.05"]["value"] == pytest.approx(0, abs=1e-9)
    measured = write_measured(tmp_path / "m")
    assert compare_runs(measured, measured)["kind"] == "measure"
    with pytest.raises(EquiviewError, match="two runs of one kind, found improve and measure"):
        compare_runs(a, measured, anyway=True)
    with pytest.raises(EquiviewError, match="'gone', found"):
        compare_runs(a, b, variant="gone")


def test_rows_about_whole_units_are_taken(tmp_path: Path) -> None:
    a, b = (write(tmp_path / str(g), clip_rows(g), ("average_jaccard", "share_under_8px")) for g in (0, 1))
    by_clip, by_point = compare_runs(a, b), compare_runs(a, b, unit="point")
    assert (by_clip["unit"], by_clip["n_rows"]) == ("clip", 6)
    assert by_clip["metrics"]["share_under_8px"]["value"] == pytest.approx(0.1)
    assert by_point["n_rows"] == 12 and by_point["metrics"]["share_under_8px"]["value"] == 0
    with pytest.raises(EquiviewError, match="rows with object, found clip"):
        compare_runs(a, b, unit="object")


def test_few_units_have_no_interval(tmp_path: Path) -> None:
    a, b = (write(tmp_path / str(g), clip_rows(g, 4), ("average_jaccard",)) for g in (0, 1))
    assert compare_runs(a, b)["metrics"]["average_jaccard"]["ci95"] is None


def test_rows_without_a_partner_are_counted(tmp_path: Path) -> None:
    a = write(tmp_path / "a", clip_rows(0, 6), ("average_jaccard",))
    b = write(tmp_path / "b", clip_rows(0, 8)[3:], ("average_jaccard",))
    found = compare_runs(a, b)
    assert found["only_in"] == [1, 2] and found["n_rows"] == 5
    c = write(tmp_path / "c", [row | {"clip": "x" + row["clip"]} for row in clip_rows(0)])
    with pytest.raises(EquiviewError, match="rows about the same, found not one"):
        compare_runs(a, c)


def test_a_failed_pose_counts_as_not_recalled(tmp_path: Path) -> None:
    good = {"rotation_error_deg": 2.0, "translation_error_cm": 0.5}
    rows = [{"object": f"o{i}", "query": "q", **good} for i in range(5)]
    failed = [{"object": "o0", "query": "q", "failed": "fewer than 4 matches"}, *rows[1:]]
    found = compare_runs(write(tmp_path / "a", rows), write(tmp_path / "b", failed))["metrics"]
    assert found["pose_recall@5cm5deg"]["value"] == pytest.approx(-20) and found["pose_recall@1cm1deg"]["value"] == 0
    assert found["failed"]["value"] == pytest.approx(20) and found["failed"]["n_improved"] == 0
    # The error of a failed pose is unknown, so that its object is left out of the mean error.
    assert found["rotation_error_deg"]["n"] == 4


def test_key_points_are_counted_by_the_protocol(tmp_path: Path) -> None:
    """PCK from errors: an error that equals the threshold counts when it is inclusive only."""
    row = {"pair": "p", "category": "c", "image0": "i", "errors_px": [5.0, 10.0, 40.0, 1.0], "extent_px": 100.0}
    assert scores(row, {"threshold": "extent", "inclusive": True})["pck@0.05"] == 50
    assert scores(row, {"threshold": "extent"})["pck@0.05"] == 25
    assert scores(row, {"threshold": "extent"})["pck@0.15"] == 75
    assert not [name for name in scores(row, {"threshold": "box"}) if name.startswith("pck")]
    scoring = {"threshold": "extent", "average": "pair", "inclusive": True}
    rows = [row | {"pair": f"p{i}", "image0": f"i{i // 2}"} for i in range(12)]
    better = [one | {"errors_px": [0.0] * 4} for one in rows]
    a, b = (write(tmp_path / n, r, ("pck@0.10",), scoring=scoring) for n, r in (("a", rows), ("b", better)))
    found = compare_runs(a, b)
    assert found["unit"] == "image0" and found["metrics"]["pck@0.10"]["n"] == 6
    assert found["metrics"]["pck@0.10"]["value"] == pytest.approx(25)


def test_repeats_of_a_row_are_averaged(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [{"clip": "c", "score_x": v} for v in (1.0, 3.0)])
    b = write(tmp_path / "b", [{"clip": "c", "score_x": 5.0}])
    assert compare_runs(a, b)["metrics"]["score_x"]["value"] == 3


def test_context_is_no_score() -> None:
    row = {"object": "o", "pair": [0, 1], "angle_deg": 3.0, "n": 4, "n_ambiguous": 2, "ape": 1.0, "ok": True}
    assert scores(row) == {"ape": 1.0, "failed": 0.0}
    assert identity(row) == ("object=o", "pair=[0, 1]")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"measure": {"points": 20}}, ["measure.points"]),
        ({"features": FEATURES | {"blocks": [12]}}, ["features.blocks"]),
        ({"features": FEATURES | {"adapter": {"sha256": "x"}, "head": [1]}}, []),
        ({"features": FEATURES | {"backbone": "other", "blocks": [24], "stride": 14}}, []),
        ({"features": FEATURES | {"backbone": "other", "long_side": 448}}, ["features.long_side"]),
        ({"versions": {"torch": "2"}, "device": "cuda", "run": {"backbone": "b", "recipe": {"steps": 1}}}, []),
        ({"run": {"test_objects": ["a"]}}, ["run.test_objects"]),
    ],
)
def test_only_features_may_differ(changes: dict, named: list[str]) -> None:
    protocol = {"features": FEATURES, "measure": {"points": 10}}
    assert [name for name, _, _ in protocol_differences(protocol, protocol | changes)] == named
    assert [name for name, _, _ in protocol_differences(protocol | changes, protocol)] == named


def test_other_protocols_are_refused_by_name_or_shown_anyway(tmp_path: Path) -> None:
    a = write(tmp_path / "a", clip_rows(0), ("average_jaccard",), tracking={"queries": "first"})
    b = write(tmp_path / "b", clip_rows(1), ("average_jaccard",), tracking={"queries": "strided"})
    with pytest.raises(EquiviewError, match=r"tracking.queries \(first and strided\).*--anyway"):
        compare_runs(a, b)
    found = compare_runs(a, b, anyway=True)
    assert found["protocol_differs"] == ["tracking.queries"]
    assert found["metrics"]["average_jaccard"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("missing", ["summary.json", "rows.jsonl"])
def test_a_run_that_is_not_finished_is_refused(tmp_path: Path, missing: str) -> None:
    run = write(tmp_path / "a", clip_rows(0))
    (run / missing).unlink()
    with pytest.raises(EquiviewError, match=missing):
        compare_runs(run, run)


def test_broken_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(EquiviewError, match="nothing there"):
        compare_runs(tmp_path / "gone", tmp_path / "gone")
    run = write(tmp_path / "a", [])
    with pytest.raises(EquiviewError, match="a row for each sample"):
        compare_runs(run, run)
    (run / "summary.json").write_text("[]")
    with pytest.raises(EquiviewError, match="expected an object"):
        compare_runs(run, run)


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["equiview", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_the_command(tmp_path: Path, capsys, monkeypatch) -> None:
    a = write(tmp_path / "a", clip_rows(0), ("average_jaccard",), tracking={"queries": "first"})
    b = write(tmp_path / "b", clip_rows(1.5)[3:], ("average_jaccard",), tracking={"queries": "first"})
    code, out, _ = call(capsys, monkeypatch, a, b)
    assert code == 0
    assert "average_jaccard" in out and "+1.50" in out and "5 of 5" in out
    assert "bootstrap over 5 x clip" in out and "1 rows that only the first" in out
    code, out, _ = call(capsys, monkeypatch, a, b, "--json", "--out", tmp_path / "c.json")
    found = json.loads(out)
    assert code == 0 and found["wrote"] == [str(tmp_path / "c.json")]
    assert json.loads((tmp_path / "c.json").read_text())["metrics"] == found["metrics"]


def test_the_command_refuses_and_says_what_to_do(tmp_path: Path, capsys, monkeypatch) -> None:
    a = write(tmp_path / "a", clip_rows(0), tracking={"queries": "first"})
    b = write(tmp_path / "b", clip_rows(1), tracking={"queries": "strided"})
    code, out, err = call(capsys, monkeypatch, a, b)
    assert (code, out) == (2, "") and "tracking.queries" in err and "--anyway" in err
    code, out, _ = call(capsys, monkeypatch, a, b, "--anyway")
    assert code == 0 and "protocols differ in tracking.queries" in out


def test_the_interval_is_reproducible(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=12)
    rows = [{"clip": f"c{i}", "average_jaccard": float(v)} for i, v in enumerate(noise)]
    a = write(tmp_path / "a", rows)
    b = write(tmp_path / "b", [row | {"average_jaccard": row["average_jaccard"] ** 2} for row in rows])
    assert compare_runs(a, b) == compare_runs(a, b)
