"""Rows and summaries of point tracking."""

import json
from dataclasses import replace

import numpy as np
import pytest

from equiview.matching.tracking import Tracks
from equiview.models.oracle import NoiseExtractor
from equiview.tasks.tracking import (
    TrackingConfig,
    counted_frames,
    part_of,
    queries_of,
    run,
    score_clip,
    share_with_ci,
    summarize,
)
from equiview.types import Clip


def clip(name="goat", n=6, t=5, hw=(48, 64), seed=0):
    rng = np.random.default_rng(seed)
    known = np.ones((n, t), bool)
    known[:, 3] = False
    visible = rng.random((n, t)) < 0.8
    visible[:, 1] = True
    frames = rng.integers(0, 256, (t, *hw, 3), dtype=np.uint8)
    return Clip(name, frames, hw, rng.uniform(0, 48, (n, t, 2)), visible, known)


def perfect(one, points):
    return Tracks(one.xy[points], one.visible[points], np.ones((len(points), 5)), np.zeros((len(points), 5)))


@pytest.mark.parametrize("mode", ["first", "strided", "first_annotated"])
def test_the_truth_scores_100_and_frames_without_annotation_do_not_count(mode):
    one, config = clip(), TrackingConfig(mode, query_stride=2)
    points, queries = queries_of(one, config)
    assert not counted_frames(one, points, queries, config)[:, 3].any()
    rows = score_clip(one, points, queries, perfect(one, points), config)
    metrics = summarize(rows, {"a": 1})["metrics"]
    assert {metrics[name]["value"] for name in ("average_jaccard", "delta_avg", "occlusion_accuracy")} == {100}
    assert metrics["share_under_8px"]["value"] == 1
    assert len(rows) == 1 + len(points)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_point_rows_add_up_to_the_clip_and_hold_every_error():
    one, config = clip(), TrackingConfig("first")
    one = replace(one, xy=one.xy.round())
    points, queries = queries_of(one, config)
    moved = perfect(one, points)
    moved = Tracks(moved.xy + [1.5, 0.0], moved.visible, moved.score, moved.cycle_px)
    clip_row, *rows = score_clip(one, points, queries, moved, config)
    assert sum(row["n"] for row in rows) == clip_row["n"]
    # 1.5 px of a frame 48 high are 8 px at 256 high, which is no hit: it must be under 8 px.
    assert {error for row in rows for error in row["errors_px"]} == {8.0} and clip_row["n_hits"] == 0


def test_a_clip_without_a_start_is_a_failed_row_and_noise_runs_through():
    hidden = clip("hidden")
    nothing = np.zeros_like(hidden.visible)
    hidden = Clip("hidden", hidden.frames, hidden.hw, hidden.xy, nothing, hidden.known)
    calls = []
    rows = run(NoiseExtractor(), [clip(), hidden], TrackingConfig(), lambda *call: calls.append(call))
    assert calls[-1] == ("track goat", 5, 5)
    summary = summarize(rows, {})
    assert summary["failed"] == ["hidden"] and summary["metrics"]["average_jaccard"]["n"] == 1
    assert summarize(rows[-1:], {})["metrics"]["share_under_8px"] == {
        "value": None,
        "ci95": None,
        "n": 0,
        "unit": "point",
    }
    paper = run(NoiseExtractor(), [clip()], TrackingConfig(protocol="paper"))
    assert paper[0]["queries"] == rows[0]["queries"]


def test_shares_are_pooled_with_an_interval_over_rows():
    rows = [{"n": 4, "n_hits": 1}, {"n": 1, "n_hits": 1}] * 3
    share = share_with_ci(rows)
    assert share["value"] == pytest.approx(6 / 15) and share["n"] == 15
    assert share["ci95"][0] < 0.4 < share["ci95"][1]
    assert share_with_ci(rows[:4])["ci95"] is None


def test_a_part_of_a_clip_keeps_pictures_and_truth_together():
    one = clip()
    part = part_of(one, np.array([1, 4]))
    assert len(part.frames) == 2
    np.testing.assert_array_equal(part.frames[1], one.frames[4])
    np.testing.assert_array_equal(part.xy, one.xy[:, [1, 4]])
