"""Tracks in other tools' forms, read back the way those tools do."""

import json
import pickle
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from equiview.data.clips.tapvid import open_tapvid
from equiview.formats.tracks import WRITERS, TrackedClip
from equiview.io import write_image
from equiview.matching.tracking import Queries, Tracks
from equiview.models.oracle import NoiseExtractor

XY = np.array([[[10.0, 20], [11.25, 21], [12, 22]], [[40, 5], [41, 5.5], [42, 6]]])
VISIBLE = np.array([[True, False, True], [True, True, True]])


@pytest.fixture
def clip() -> TrackedClip:
    queries = Queries(XY[:, 0], np.array([0, 0]))
    tracks = Tracks(XY, VISIBLE, np.ones((2, 3)), np.zeros((2, 3)))
    return TrackedClip("walk", (48, 64), ["a.png", "b.png", "c.png"], queries, tracks)


def written(clip: TrackedClip, to: str, folder: Path) -> Path:
    name, write = WRITERS[to]
    write(folder / name, clip)
    return folder / name


def test_tapvid_arrays_are_those_of_the_data_set(clip: TrackedClip, tmp_path: Path) -> None:
    arrays = dict(np.load(written(clip, "tapvid", tmp_path)))
    assert arrays["query_points"].tolist() == [[0, 20, 10], [0, 5, 40]]
    example = {"video": np.zeros((3, 48, 64, 3), np.uint8), **{k: arrays[k] for k in ("points", "occluded")}}
    (tmp_path / "set.pkl").write_bytes(pickle.dumps({"walk": example}))
    (again,) = open_tapvid(tmp_path / "set.pkl")
    np.testing.assert_allclose(again.xy, XY, atol=1e-4)
    np.testing.assert_array_equal(again.visible, VISIBLE)


def test_cvat_has_a_track_a_point(clip: TrackedClip, tmp_path: Path) -> None:
    root = ElementTree.parse(written(clip, "cvat", tmp_path)).getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    tracks = root.findall("track")
    assert [track.get("label") for track in tracks] == ["point0", "point1"]
    points = tracks[0].findall("points")
    assert [one.get("points") for one in points] == ["10.00,20.00", "11.25,21.00", "12.00,22.00"]
    assert [one.get("occluded") for one in points] == ["0", "1", "0"]
    assert [one.get("frame") for one in points] == ["0", "1", "2"] and points[0].get("outside") == "0"


def test_coco_has_an_annotation_a_frame(clip: TrackedClip, tmp_path: Path) -> None:
    content = json.loads(written(clip, "coco", tmp_path).read_text())
    assert [one["file_name"] for one in content["images"]] == ["a.png", "b.png", "c.png"]
    assert content["categories"][0]["keypoints"] == ["point0", "point1"]
    second = content["annotations"][1]
    assert second["image_id"] == 1 and second["keypoints"] == [11.25, 21, 1, 41, 5.5, 2]
    assert second["bbox"] == [11.25, 5.5, 29.75, 15.5] and second["num_keypoints"] == 2


def test_the_command_writes_them_beside_its_own(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: NoiseExtractor())
    rng = np.random.default_rng(0)
    for number in range(3):
        write_image(tmp_path / "frames" / f"f{number}.png", rng.integers(0, 256, (49, 65, 3), dtype=np.uint8))
    words = ("track", "-b", "none", tmp_path / "frames", "--points", "10,20", "--out", tmp_path / "out", "--json")
    code, out, err = run(*words, "--to", "coco")
    assert code == 0, err
    assert str(tmp_path / "out" / "keypoints.json") in json.loads(out)["wrote"]
    content = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert [one["file_name"] for one in content["images"]] == ["f0.png", "f1.png", "f2.png"]
    assert content["annotations"][0]["keypoints"][:2] == [10, 20]
    code, _, err = run("track", "-b", "none", "--benchmark", "tapvid:x", "--to", "coco", "--out", tmp_path / "o")
    assert code == 2 and "--to: expected none with --benchmark" in err
