"""`measure_objects`: a run folder that goes on, and is one run only."""

import json

import pytest

from equiview.errors import EquiviewError
from equiview.jobs.measure import MeasureRun, measure_objects
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.equivariance import MeasureConfig
from worlds import sphere_ring

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(autouse=True)
def spheres(monkeypatch):
    """Every object is a sphere; nothing is drawn."""
    monkeypatch.setattr("equiview.jobs.run_folder.open_source", lambda source, *, n_views, **_: sphere_ring(n_views))


RUN = MeasureRun(("procedural:1", "procedural:2"), views=6, measure=MeasureConfig(points=60))


def value(summary, name="pcdp@0.1"):
    return summary["metrics"][name]["value"]


def test_perfect_features_score_all_and_noise_next_to_nothing(tmp_path):
    oracle = measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path / "oracle")
    noise = measure_objects(NoiseExtractor(stride_px=4), RUN, tmp_path / "noise")
    # Pictures of 64 px and tokens of 4: a token is 6 % of the edge.
    assert value(oracle) > 95 and value(oracle, "ape") < 6
    assert value(noise) < 15
    assert len(list((tmp_path / "oracle" / "live").glob("*.npz"))) == 2


def test_the_folder_has_every_file_and_each_summary_the_same_form(tmp_path):
    summary = measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path)
    for name in ("summary.json", "summary_in_mask.json", "summary_unambiguous.json"):
        found = json.loads((tmp_path / name).read_text())
        assert set(found) == {"metrics", "protocol"}
        assert set(found["metrics"]) == {"ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2", "pcdp@0.01", "pcdp@0.02"}
        for metric in found["metrics"].values():
            assert {"value", "ci95", "n", "by_angle"} <= set(metric)
            assert list(metric["by_angle"]) == ["0-45", "45-90", "90-180"]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["object"] for row in rows} == {"procedural-1", "procedural-2"}
    assert all({"pair", "angle_deg", "overlap", "n", "status", "ape", "in_mask", "unambiguous"} <= set(r) for r in rows)


def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, sent):
    whole = measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path / "whole")
    calls = []

    def stop(stage, done, total):
        calls.append(stage)
        if (stage, done) == ("score", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path / "cut", stop)
    assert not (tmp_path / "cut" / "summary.json").exists()
    finished = (tmp_path / "cut" / "rows" / "procedural-1.jsonl").stat().st_mtime_ns
    assert measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path / "cut") == whole
    assert (tmp_path / "cut" / "rows" / "procedural-1.jsonl").stat().st_mtime_ns == finished
    assert calls[0] == "render"
    seen = []
    summary = measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path / "sent", lambda *at: seen.append(at), sent)
    assert summary == whole and seen == [("score", done, 2) for done in (0, 1, 2)]
    for file in ("rows.jsonl", "run.json", "summary_unambiguous.json"):
        assert (tmp_path / "sent" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize("change", ["features", "seed", "objects"])
def test_another_run_in_the_same_folder_is_refused(tmp_path, change):
    measure_objects(OracleExtractor(stride_px=4), RUN, tmp_path)
    before = (tmp_path / "summary.json").read_text()
    other = {
        "features": (OracleExtractor(stride_px=8), RUN),
        "seed": (OracleExtractor(stride_px=4), MeasureRun(RUN.objects, 6, MeasureConfig(points=60, seed=1))),
        "objects": (OracleExtractor(stride_px=4), MeasureRun(("procedural:1",), 6, RUN.measure)),
    }[change]
    with pytest.raises(EquiviewError, match="another run"):
        measure_objects(*other, tmp_path)
    assert (tmp_path / "summary.json").read_text() == before


@pytest.mark.parametrize("names", [(), ("a/mug.glb", "b/mug.glb")])
def test_no_objects_or_two_of_one_name_are_errors(tmp_path, names):
    with pytest.raises(EquiviewError, match="object"):
        measure_objects(OracleExtractor(), MeasureRun(names), tmp_path)


def test_a_plan_rests_on_units_that_the_run_keeps(run, tmp_path, monkeypatch):
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: OracleExtractor(stride_px=4))
    objects = [f"procedural:{n}" for n in range(1, 9)]
    command = ("measure", "-b", "none", "--objects", *objects, "--views", 6, "--points", 60, "--out", tmp_path)
    code, stdout, stderr = run(*command, "--dry-run", "--json")
    assert code == 0, stderr
    plan = json.loads(stdout)["plan"]
    assert (plan["units"], plan["done"], plan["measured"], plan["workers"]) == (8, 3, 3, 1)
    assert plan["remaining_s"] == pytest.approx(5 * plan["seconds_per_unit"], abs=0.1)
    assert plan["disk_mb"] > 0 and plan["memory_mb"] > 10 and not (tmp_path / "summary.json").exists()
    kept = sorted(path.stem for path in (tmp_path / "rows").iterdir())
    assert kept == ["procedural-1", "procedural-5", "procedural-8"]  # Evenly spread.
    code, stdout, stderr = run(*command, "--dry-run")
    assert code == 0 and "8 units, 6 done; from 3 measured now" in stdout
    for code, more in ((0, ("--json",)), (2, ("--dry-run",))):
        found, _, stderr = run(*command, *more)
        assert found == code, stderr
    assert "units that are not done yet, found none" in " ".join(stderr.split())
