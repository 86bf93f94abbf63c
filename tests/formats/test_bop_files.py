"""BOP's detections and results, on a tiny data set in its layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.captures.test_bop import write
from equiview.data.captures.bop import bop_scene
from equiview.errors import EquiviewError
from equiview.formats.bop_detections import cropped_scene, decode_rle, padded_box, read_detections
from equiview.formats.bop_results import HEADER, write_results
from equiview.geometry import project
from equiview.io import posed_pixels, read_jsonl, write_image
from equiview.jobs.pose import cut_to_detections, open_models, open_scenes, pose_config, score_poses, write_bop_results
from equiview.models.oracle import NoiseExtractor
from equiview.types import Camera, PosedImage, PoseScene, UnusableQuery


def found(image: int, **more: object) -> dict:
    return {"scene_id": 48, "image_id": image, "category_id": 5, "score": 0.5, "time": -1} | more


def detections(path: Path, *rows: dict) -> Path:
    path.write_text(json.dumps(list(rows)))
    return path


def packed(runs: list[int]) -> str:
    """Pack run lengths as COCO's text, five bits a character; the opposite of what the reader does."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def test_run_lengths_fill_columns_first() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:4] = True
    runs = [9, 2, 2, 2, 5]
    for counts in (runs, packed(runs)):
        np.testing.assert_array_equal(decode_rle({"size": [4, 5], "counts": counts}, "x"), mask)
    long = [0, 700, 3, 1000, 1, 40000, 296]
    assert decode_rle({"size": [100, 420], "counts": packed(long)}, "x").sum() == 700 + 1000 + 40000
    for wrong in ([9, 2], [9, -2, 13], "~~", "0" * 3):
        with pytest.raises(EquiviewError, match="fill 5 x 4 pixels|run lengths"):
            decode_rle({"size": [4, 5], "counts": wrong}, "x")


def test_the_surest_box_or_mask_of_each_image(tmp_path: Path) -> None:
    mask = {"size": [12, 16], "counts": [12 * 4 + 3, 3, 9, 3, 192 - 12 * 4 - 18]}
    path = detections(
        tmp_path / "d.json",
        found(0, bbox=[1, 2, 3, 4]),
        found(0, bbox=[5, 6, 2, 3], score=0.9),
        found(0, bbox=[0, 0, 9, 9], score=1.0, category_id=3),
        found(1, segmentation=mask),
    )
    read = read_detections(path, 5)
    assert {name: one.box for name, one in read.items()} == {
        "000048/000000": (5, 6, 7, 9),
        "000048/000001": (4, 3, 6, 6),
    }
    for rows, said in (
        ([found(0, bbox=[1, 2, 0, 4])], "width and height above 0"),
        ([found(0)], "a bbox or a segmentation"),
        ([{"scene_id": 1}], "image_id"),
        ([found(0, bbox=[1, 2, 3, 4], category_id=3)], "detections of object 5, found none"),
    ):
        with pytest.raises(EquiviewError, match=said):
            read_detections(detections(tmp_path / "bad.json", *rows), 5)


def test_boxes_stay_inside_the_picture() -> None:
    assert padded_box((100, 100, 200, 140), (480, 640)) == (85, 85, 215, 155)
    assert padded_box((-20, 10, 4, 12), (480, 640)) == (0, 3, 8, 19)
    assert padded_box((640, 0, 700, 10), (480, 640)) is None


def test_a_cut_query_shows_the_same_points(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", rgb)
    camera = Camera(np.array([[90.0, 0, 40], [0, 90, 30], [0, 0, 1]]), np.eye(4), (60, 80))
    depth = np.arange(4800.0).reshape(60, 80)
    queries = [PosedImage(tmp_path / "a.png", camera, "000048/000000", depth=depth), UnusableQuery("x", "gone")]
    queries.append(PosedImage(tmp_path / "a.png", camera, "000048/000007"))
    path = detections(tmp_path / "d.json", found(0, bbox=[30, 20, 20, 20]))
    cut = cropped_scene(PoseScene("s", [], queries), read_detections(path, 5), 5)
    one = cut.queries[0]
    assert one.camera.hw == (26, 26) and one.depth[0, 0] == depth[17, 27]
    np.testing.assert_array_equal(posed_pixels(one), rgb[17:43, 27:53])
    point = np.array([[0.1, -0.05, 2.0]])
    np.testing.assert_allclose(project(one.camera, point)[0] + [27, 17], project(camera, point)[0])
    assert [query.reason for query in cut.queries[1:]] == ["gone", "no detection of object 5"]


def test_results_are_poses_of_model_to_camera(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    pose[:3, 3] = [1.5, -2, 300]
    rows = [
        {"object": "o", "query": "000048/000010", "cam_from_world": pose.tolist(), "n_inliers": 17},
        {"object": "o", "query": "000048/000009", "failed": "too few"},
        {"object": "o", "query": "000002/000003", "cam_from_world": np.eye(4).tolist(), "n_inliers": 6},
    ]
    assert write_results(tmp_path / "r.csv", rows, 5) == 2
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines == [
        HEADER,
        "2,3,5,6,1 0 0 0 1 0 0 0 1,0 0 0,-1",
        "48,10,5,17,0 -1 0 1 0 0 0 0 1,1.5 -2 300,-1",
    ]


def test_a_run_on_detections(tmp_path: Path, run) -> None:
    root = write(tmp_path / "ycbv")
    path = detections(tmp_path / "d.json", found(0, bbox=[4, 3, 5, 3]), found(1, bbox=[4, 3, 5, 3]))
    scenes, _ = open_scenes(root, "bop", 5)
    cut = cut_to_detections(scenes, path, 5)
    out = tmp_path / "run"
    config = pose_config(None, any_roll=False)
    score_poses(NoiseExtractor(stride_px=2), cut, config, out, models=open_models(root, "bop", 5))
    rows = read_jsonl(out / "rows.jsonl")
    # BOP holds pixels against the width of the whole picture, also where only a part of it was looked at.
    assert [row.get("image_width") for row in rows] == [16, 16, None]
    assert rows[2]["failed"] == "no detection of object 5"
    assert write_bop_results(out, root, 5).name == "equiview_ycbv-test.csv"
    with pytest.raises(EquiviewError, match="another run"):
        score_poses(NoiseExtractor(stride_px=2), scenes, config, out)
    with pytest.raises(EquiviewError, match="detections in the queries' images, found none"):
        cut_to_detections(scenes, detections(tmp_path / "other.json", found(77, bbox=[1, 1, 2, 2])), 5)
    code, _, err = run("pose", "-b", "x", "--references", root, "--query", path, "--to", "bop")
    assert code == 2 and "--layout bop and --out" in err
    assert bop_scene(root, 5).queries[0].camera.hw == (12, 16)


def test_the_command_cuts_and_writes(tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "ycbv")
    info = root / "models_eval" / "models_info.json"
    sides = {f"{part}_{axis}": value for part, value in (("min", -400), ("size", 800)) for axis in "xyz"}
    info.write_text(json.dumps({"5": {"diameter": 50.0} | sides}))
    path = detections(tmp_path / "d.json", found(0, bbox=[4, 3, 5, 3]))
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: NoiseExtractor(stride_px=2))
    out = tmp_path / "run"
    words = ("pose", "-b", "x", "--references", root, "--layout", "bop", "--object", "5", "--out", out, "--json")
    code, said, err = run(*words, "--to", "bop", "--detections", path)
    assert code == 0, err
    results = out / "equiview_ycbv-test.csv"
    assert str(results) in json.loads(said)["wrote"] and results.read_text().startswith(HEADER)
    failed = [row.get("failed") for row in read_jsonl(out / "rows.jsonl")]
    assert failed[1:] == ["no detection of object 5"] * 2
    code, _, err = run(*words[:-3], "--out", tmp_path / "new", "--detections", tmp_path / "gone.json")
    assert code == 2 and "gone.json" in err and not (tmp_path / "new").exists()
