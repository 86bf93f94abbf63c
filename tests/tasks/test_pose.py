"""The pose task: perfect with the oracle, chance with noise, and every query has its row."""

import json
from dataclasses import replace

import numpy as np
import pytest

from equiview.data.synthetic.procedural import procedural_mesh
from equiview.errors import EquiviewError
from equiview.geometry import project
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.render import render_depth, render_view
from equiview.tasks.pose import ObjectModel, PoseConfig, bop_errors, protocol_of, run, seeded, summarize
from equiview.types import PoseScene
from posed_worlds import posed, views

ORACLE = OracleExtractor(4)


@pytest.fixture(scope="module")
def scene():
    surface = np.random.default_rng(0).normal(size=(300, 3))
    surface = 0.5 * surface / np.linalg.norm(surface, axis=1, keepdims=True)
    return PoseScene("sphere", views(12), views(6, 0.7, "q"), surface, world_unit_cm=10.0)


def test_the_oracle_is_perfect(scene):
    config = PoseConfig()
    seen = []
    rows = run(ORACLE, [scene], config, lambda *step: seen.append(step))
    summary = summarize(rows, protocol_of(ORACLE, config))
    assert seen[-1] == ("sphere", 6, 6) and len(rows) == 6
    for name in ("pose_recall@1cm1deg", "pose_recall@5cm5deg", "pose_recall@5deg", "located"):
        assert summary["metrics"][name] == {"value": 100.0, "ci95": [100.0, 100.0], "n": 6}
    assert summary["metrics"]["rotation_error_deg_median"]["value"] < 1
    assert summary["by_object"]["sphere"]["n"] == 6
    for row in rows:
        assert row["translation_error_cm"] == pytest.approx(10 * row["translation_error"])
        assert np.hypot(row["lateral_error"], row["depth_error"]) == pytest.approx(row["translation_error"])
        assert row["add_s"] <= row["add"] < 0.1
    json.dumps([rows, summary], allow_nan=False)


def test_noise_is_chance(scene):
    rows = run(NoiseExtractor(stride_px=8), [scene])
    metrics = summarize(rows, {})["metrics"]
    assert metrics["pose_recall@5deg"]["value"] == 0 and metrics["pose_recall@5cm5deg"]["value"] == 0
    json.dumps([rows, metrics], allow_nan=False)


def test_paper_protocol(scene):
    pytest.importorskip("cv2")
    rows = run(ORACLE, [scene], PoseConfig(protocol="paper"))
    assert summarize(rows, {})["metrics"]["pose_recall@5deg"]["value"] == 100
    bad = run(NoiseExtractor(stride_px=8), [scene], PoseConfig(protocol="paper"))
    assert summarize(bad, {})["metrics"]["pose_recall@5deg"]["value"] == 0


def test_a_failure_is_a_counted_row(scene, tmp_path):
    good = scene.queries[0]
    gone = replace(posed(good), image=tmp_path / "gone.png", name="gone")
    rows = run(ORACLE, [replace(scene, queries=[good, gone])])
    assert "gone.png: expected an image file" in rows[1]["failed"]
    metrics = summarize(rows, {})["metrics"]
    assert metrics["located"]["value"] == 50 and metrics["pose_recall@1cm1deg"]["value"] == 50
    assert metrics["rotation_error_deg_median"]["value"] is None  # between a number and infinity


def test_bop_scores(scene):
    mesh = procedural_mesh(1)
    camera = scene.queries[0].camera
    depth = render_depth(mesh, camera)
    view = render_view(mesh, camera)
    np.testing.assert_allclose(depth[view.mask], project(camera, view.points_in_world[view.mask])[1])
    assert (depth[~view.mask] == 0).all()

    query, model = replace(posed(scene.queries[0]), depth=depth), ObjectModel(1.0, mesh=mesh)
    assert bop_errors(camera.cam_from_world, query, scene, model) == {"mssd": 0, "mspd": 0, "vsd": [0] * 10}
    moved = camera.cam_from_world.copy()
    moved[0, 3] += 0.3
    errors = bop_errors(moved, query, scene, model)
    assert errors["mssd"] == pytest.approx(0.3) and errors["mspd"] > 30 and errors["vsd"][0] > 0.3

    rows = run(ORACLE, [scene], models={"sphere": ObjectModel(1.0)})
    rows[0] = {key: rows[0][key] for key in ("object", "query", "world_unit_cm", "diameter", "image_width")}
    metrics = summarize([*rows[:2], rows[0] | {"failed": "x"}], {})["metrics"]
    assert metrics["ar_mssd"]["value"] == pytest.approx(100 / 3, abs=7) and "ar_vsd" not in metrics
    assert metrics["add@0.1d"]["value"] == metrics["add_s@0.1d"]["value"] == pytest.approx(100 / 3)


def test_without_scale_there_are_no_centimetres(scene):
    rows = run(ORACLE, [replace(scene, world_unit_cm=None)])
    metrics = summarize(rows, {})["metrics"]
    assert "pose_recall@1cm1deg" not in metrics and metrics["pose_recall@5deg"]["value"] == 100


def test_intervals_are_over_queries_or_objects():
    def row(name, turn):
        return {"object": name, "query": "q", "world_unit_cm": None, "rotation_error_deg": turn}

    one = summarize([row("a", turn) for turn in (1, 2, 3, 20, 30, 40)], {})["metrics"]["pose_recall@5deg"]
    assert one["n"] == 6 and one["value"] == 50 and one["ci95"][0] < 50 < one["ci95"][1]
    few = summarize([row(name, 1) for name in "ab"] + [row("b", 90)], {})["metrics"]["pose_recall@5deg"]
    assert few == {"value": 75.0, "ci95": None, "n": 2}
    many = summarize([row(name, 1) for name in "abcde"], {})["metrics"]["pose_recall@5deg"]
    assert many == {"value": 100.0, "ci95": [100.0, 100.0], "n": 5}
    nothing = summarize([row("a", 1) | {"failed": "x"}] * 0 + [{**row("a", 0), "rotation_error_deg": np.inf}], {})
    assert nothing["metrics"]["located"]["value"] == 0


def test_bad_input(scene):
    with pytest.raises(EquiviewError, match="'corrected' or 'paper'"):
        PoseConfig(protocol="other")
    with pytest.raises(EquiviewError, match="at least one query"):
        run(ORACLE, [replace(scene, queries=[])])
    with pytest.raises(EquiviewError, match="at least one query"):
        summarize([], {})
    assert seeded(PoseConfig(), 7).locate.seed == 7
