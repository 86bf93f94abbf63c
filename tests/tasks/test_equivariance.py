"""The equivariance task between its bounds: oracle features are perfect, noise is chance."""

import json

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from equiview.data.correspond import pixel_index
from equiview.errors import EquiviewError
from equiview.matching.match import match
from equiview.metrics.equivariance import error_px
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.sampling import descriptors
from equiview.tasks.comparison import compare, improvement_summary, paired_difference
from equiview.tasks.equivariance import (
    MeasureConfig,
    measure,
    object_values,
    plan_object,
    protocol_of,
    score_object,
    summarize,
)
from worlds import moved, sphere_ring

CONFIG = MeasureConfig(points=200)


@pytest.fixture(scope="module")
def views():
    return sphere_ring(8, hw=(128, 128), focal_px=140.0)


@pytest.fixture(scope="module")
def oracle_rows(views):
    return measure(OracleExtractor(stride_px=4), {"sphere": views}, CONFIG)


def test_the_oracle_is_perfect_away_from_the_rim(views):
    """More than one stride from a depth edge, in both pictures, no error exceeds one stride; none is left out."""
    stride = 4
    plan = plan_object("sphere", views, CONFIG)
    maps = list(OracleExtractor(stride_px=stride).maps(views))
    inner = [binary_erosion(view.mask, iterations=stride + 2) for view in views]
    errors = []
    for (i, j), truth in plan.pairs.items():
        rows0, cols0, rows1, cols1 = (*pixel_index(truth.xy0), *pixel_index(truth.xy1))
        keep = inner[i][rows0, cols0] & inner[j][rows1, cols1]
        queries = descriptors(maps[i], torch.from_numpy(truth.xy0[keep]).float())
        errors.append(error_px(match(queries, maps[j]).xy1.numpy(), truth.xy1[keep]))
    errors = np.concatenate(errors)
    assert len(errors) > 1000
    assert errors.max() < stride


def test_the_oracle_scores_high_over_all_points(oracle_rows):
    summary = summarize(oracle_rows, {})["metrics"]
    assert summary["pcdp@0.05"]["value"] > 97
    assert summary["ape"]["value"] < 2


def test_noise_is_chance(views):
    """A random place in a square image is within 0.2 edges with probability under pi * 0.04."""
    summary = summarize(measure(NoiseExtractor(dim=32, seed=0), {"sphere": views}, CONFIG), {})["metrics"]
    assert summary["pcdp@0.2"]["value"] < 100 * np.pi * 0.04 * 1.5
    assert summary["ape"]["value"] > 25


def test_rows_say_what_they_are(oracle_rows):
    row = oracle_rows[0]
    assert {"object", "pair", "angle_deg", "overlap", "n", "status", "ape", "pcdp@0.05", "in_mask"} <= row.keys()
    assert all(0.1 <= r["overlap"] <= 1 for r in oracle_rows)
    json.dumps(oracle_rows, allow_nan=False)


def test_pairs_without_overlap_do_not_count(oracle_rows):
    """Antipodal views of a sphere share nothing."""
    pairs = {tuple(r["pair"]) for r in oracle_rows}
    assert (0, 1) in pairs and (1, 0) in pairs
    assert (0, 4) not in pairs


def test_a_world_frame_change_leaves_the_scores_alone(views, oracle_rows):
    new_from_world = np.eye(4)
    new_from_world[:3, :3] = Rotation.random(random_state=1).as_matrix()
    rotated = [moved(view, new_from_world) for view in views]
    source = OracleExtractor(stride_px=4)
    again = summarize(measure(source, {"sphere": rotated}, CONFIG), {})["metrics"]
    for name, before in summarize(oracle_rows, {})["metrics"].items():
        assert again[name]["value"] == pytest.approx(before["value"], abs=0.5)


def test_summary_has_the_documented_form(oracle_rows, views):
    source = OracleExtractor(stride_px=4)
    summary = summarize(oracle_rows, protocol_of(source, CONFIG))
    assert set(summary) == {"metrics", "protocol"}
    assert set(summary["metrics"]) == {"ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2", "pcdp@0.01", "pcdp@0.02"}
    for metric in summary["metrics"].values():
        assert set(metric) == {"value", "ci95", "ci95_views", "n", "by_angle", "ceiling"}  # one object
        assert set(metric["by_angle"]) == {"0-45", "45-90", "90-180"}
        assert metric["ci95"] is None and metric["n"] == 1
    json.dumps(summary, allow_nan=False)


def _row(name, angle, value, variant="pretrained", pair=(0, 1)):
    scores = {"ape": 50 - value, "pcdp@0.05": value, "pcdp@0.1": value, "pcdp@0.2": value}
    extra = {"in_mask": scores, "unambiguous": scores}
    return {"object": name, "pair": list(pair), "angle_deg": angle, "variant": variant, **scores, **extra}


def test_averages_are_pairs_then_objects_and_empty_bins_are_null():
    rows = [_row("a", 10, 0.0), _row("a", 20, 10.0), _row("a", 30, 20.0), _row("b", 180, 40.0)]
    metric = summarize(rows, {})["metrics"]["pcdp@0.05"]
    assert metric["value"] == 25.0 and metric["n"] == 2
    assert metric["by_angle"]["0-45"] == {"value": 10.0, "ci95": None, "n": 1}
    assert metric["by_angle"]["45-90"] == {"value": None, "ci95": None, "n": 0}
    assert metric["by_angle"]["90-180"]["value"] == 40.0
    assert object_values(rows, "ape") == {"a": 40.0, "b": 10.0}


def test_differences_are_paired_and_count_the_improved():
    before = [_row(name, 10, value) for name, value in zip("abcdef", (0, 10, 20, 30, 40, 50), strict=True)]
    after = [_row(name, 10, value + 2) for name, value in zip("abcdef", (0, 10, 20, 30, 40, 45), strict=True)]
    result = paired_difference(before, after, "pcdp@0.05")
    assert result["value"] == pytest.approx(7 / 6) and result["n_improved"] == 5 and result["n"] == 6
    assert result["ci95"][0] < 7 / 6 < result["ci95"][1]
    assert paired_difference(before, after, "ape")["n_improved"] == 5


def test_the_best_control_is_best_for_each_metric():
    good, bad = [_row("a", 10, 30.0)], [_row("a", 10, 10.0)]
    result = compare(bad, [_row("a", 10, 31.0)], {"pretrained": bad, "average": good})
    for metric in ("ape", "pcdp@0.05"):
        assert result[metric]["vs_best_control"]["control"] == "average"
    assert result["pcdp@0.05"]["vs_best_control"]["value"] == pytest.approx(1.0)
    assert result["ape"]["vs_best_control"]["value"] == pytest.approx(-1.0)


def test_improvement_summary_has_the_documented_form():
    rows = [_row("a", 10, v, name) for name, v in (("pretrained", 1.0), ("random_head", 2.0), ("adapted", 3.0))]
    summary = improvement_summary(rows, {"seed": 0})
    assert set(summary) == {"before", "after", "controls", "difference", "protocol"}
    assert set(summary["controls"]) == {"pretrained", "random_head"}
    assert summary["difference"]["pcdp@0.05"]["value"] == pytest.approx(2.0)


def test_a_single_object_has_an_interval_over_its_views():
    before = [_row("a", 10, v, pair=(v, 9)) for v in range(6)]
    after = [_row("a", 10, v + 2, pair=(v, 9)) for v in range(6)]
    metric = summarize(before, {})["metrics"]["pcdp@0.05"]
    assert metric["ci95"] is None
    assert 0 <= metric["ci95_views"][0] < metric["value"] < metric["ci95_views"][1] <= 5
    change = compare(before, after, {"average": before})["pcdp@0.05"]
    assert change["ci95_views"] == pytest.approx([2.0, 2.0])
    two = summarize([*before, _row("b", 10, 3.0)], {})["metrics"]["pcdp@0.05"]
    assert "ci95_views" not in two


def test_one_view_is_not_enough(views):
    with pytest.raises(EquiviewError, match="two views"):
        plan_object("lonely", views[:1], CONFIG)
    with pytest.raises(EquiviewError, match="shares? 10%|share 10%"):
        plan_object("apart", [views[0], views[4]], CONFIG)


def test_nan_features_are_an_error(views):
    plan = plan_object("sphere", views[:2], CONFIG)
    maps = list(NoiseExtractor(dim=8, seed=0).maps(views[:2]))
    maps[1] = maps[1].replace_tokens(maps[1].tokens * float("nan"))
    with pytest.raises(EquiviewError, match="finite"):
        score_object(plan, maps, CONFIG)


def test_errors_are_shares_of_the_target_picture_where_sizes_differ(views):
    """The pictures of a capture need not have one size; an error is pixels of the picture that is searched."""
    mixed = [views[0], sphere_ring(8, hw=(64, 64), focal_px=70.0)[1]]
    plan, maps = plan_object("sphere", mixed, CONFIG), list(NoiseExtractor(stride_px=4).maps(mixed))
    rows = {tuple(row["pair"]): row for row in score_object(plan, maps, CONFIG)}
    for (i, j), truth in plan.pairs.items():
        found = match(descriptors(maps[i], torch.from_numpy(truth.xy0).float()), maps[j]).xy1.double().numpy()
        edge_px = min(mixed[j].camera.hw)
        assert rows[i, j]["ape"] == pytest.approx(100 * error_px(found, truth.xy1).mean() / edge_px, rel=1e-4)
