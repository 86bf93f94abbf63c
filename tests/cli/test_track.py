"""`equiview track`, with features that need no model."""

import json
import pickle
import sys

import numpy as np
import pytest

from equiview.io import read_json, write_image
from equiview.models.oracle import NoiseExtractor


@pytest.fixture
def track(run, monkeypatch):
    """Run `equiview track` with noise in place of a backbone: exit code, stdout, stderr."""
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: NoiseExtractor())
    return lambda *arguments: run("track", "--backbone", "none", *arguments)


@pytest.fixture
def frames(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        write_image(tmp_path / "frames" / f"{number}.png", rng.integers(0, 256, (49, 65, 3), dtype=np.uint8))
    return tmp_path / "frames"


@pytest.mark.parametrize("has_av", [True, False])
def test_tracks_and_an_overlay(track, frames, tmp_path, monkeypatch, has_av):
    if has_av:
        pytest.importorskip("av")
    else:
        monkeypatch.setitem(sys.modules, "av", None)
    out = tmp_path / "out"
    code, stdout, stderr = track(frames, "--points", "10,20", "--points", "30.5,8,2", "--out", out, "--json")
    assert code == 0, stderr
    result = json.loads(stdout)
    overlay = out / ("overlay.mp4" if has_av else "overlay.gif")
    assert result["points"] == 2 and str(overlay) in result["wrote"] and overlay.stat().st_size > 0
    tracks = read_json(out / "tracks.json")
    assert tracks["frames"] == 4 and tracks["points"][1]["query"] == {"x": 30.5, "y": 8.0, "frame": 2}
    assert tracks["points"][1]["xy"][2] == [30.5, 8.0] and tracks["points"][1]["visible"][2] is True
    assert np.shape(tracks["points"][0]["xy"]) == (4, 2)


@pytest.mark.parametrize(
    "points, message",
    [
        (["99,10"], "inside 65x49 pixels"),
        (["10,10,7"], "a frame from 0 to 3"),
        (["10"], "x,y or x,y,frame"),
        (["nan,1"], "x,y or x,y,frame"),
        (["1,2,0.5"], "x,y or x,y,frame"),
        ([], "at least one"),
    ],
)
def test_points_that_are_not_there(track, frames, tmp_path, points, message):
    arguments = [item for point in points for item in ("--points", point)]
    code, _, stderr = track(frames, *arguments, "--out", tmp_path / "out")
    assert code == 2 and message in " ".join(stderr.split()) and not (tmp_path / "out").exists()


def test_a_benchmark_is_scored_and_resumed(track, tmp_path):
    rng = np.random.default_rng(0)
    example = {"video": rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8), "points": rng.random((3, 5, 2))}
    path = tmp_path / "davis.pkl"
    path.write_bytes(pickle.dumps({"goat": example | {"occluded": np.zeros((3, 5), bool)}}))
    arguments = ("--benchmark", f"tapvid:{path}", "--queries", "strided", "--out", tmp_path / "out")
    code, stdout, stderr = track(*arguments)
    assert code == 0, stderr
    assert "average_jaccard" in stdout
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["metrics"]["average_jaccard"]["n"] == 1 and summary["protocol"]["tracking"]["queries"] == "strided"
    rows = (tmp_path / "out" / "rows.jsonl").read_text()
    assert track(*arguments)[0] == 0 and (tmp_path / "out" / "rows.jsonl").read_text() == rows


def test_what_cannot_be_meant(track, frames, tmp_path):
    for arguments, message in (
        ((), "a video or --benchmark"),
        ((frames, "--benchmark", "badja:x"), "Give one of the two"),
        (("--benchmark", "davis:x"), "badja:FOLDER or tapvid:FILE"),
        (("--benchmark", "badja:x", "--points", "1,2"), "A benchmark has its own"),
        ((tmp_path / "missing.mp4", "--points", "1,2"), "nothing there"),
        ((frames, "--points", "1,2", "--smoothing", "2"), "an odd number of frames"),
    ):
        code, _, stderr = track(*arguments, "--out", tmp_path / "out")
        assert code == 2 and message in " ".join(stderr.split()), stderr


def test_a_clip_named_as_a_path_writes_inside_out_only(track, tmp_path):
    rng = np.random.default_rng(0)
    example = {"video": rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8), "points": rng.random((3, 5, 2))}
    example |= {"occluded": np.zeros((3, 5), bool)}
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({"../../x": example, str(tmp_path / "abs"): example}))
    out = tmp_path / "a" / "run"
    code, _, stderr = track("--benchmark", f"tapvid:{path}", "--out", out)
    assert code == 0, stderr
    assert {one.name for one in tmp_path.iterdir()} == {"hostile.pkl", "a"}
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["run"] and len([*(out / "rows").iterdir()]) == 2
    assert read_json(out / "summary.json")["metrics"]["average_jaccard"]["n"] == 2


def test_dino_tracker_is_a_benchmark(track, tmp_path):
    video = {"video_idx": 3, "h": 48, "w": 64, "occluded": {0: np.zeros((2, 4), bool)}}
    video |= {"target_points": {0: np.full((2, 4, 2), 20.0) + np.arange(2)[:, None, None]}}
    for number in range(4):
        write_image(tmp_path / "d" / "3" / "video" / f"{number:05d}.png", np.full((48, 64, 3), 40 * number, np.uint8))
    arguments = ("--benchmark", f"dinotracker:{tmp_path / 'd'}", "--out", tmp_path / "out")
    code, _, stderr = track(*arguments)
    assert code == 2 and "one benchmark pickle" in stderr
    (tmp_path / "d" / "benchmark.pkl").write_bytes(pickle.dumps({"videos": [video]}))
    code, _, stderr = track(*arguments)
    assert code == 0, stderr
    assert read_json(tmp_path / "out" / "summary.json")["protocol"]["tracking"]["queries"] == "strided"
