"""`equiview pose`: a tiny backbone on a made-up Middlebury folder, and what it says about bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.captures.test_bop import write as write_bop_set
from equiview.cli.pose import parse_intrinsics
from equiview.errors import EquiviewError
from equiview.jobs.pose import all_references, open_scenes, pose_config, score_poses
from equiview.models.oracle import NoiseExtractor
from equiview.tasks.pose import ObjectModel
from models.backbones.tiny import make_model
from worlds import camera_at, ring_eyes, sphere_view


@pytest.fixture
def tiny_weights(tmp_path):
    make_model("vit").save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def folder(tmp_path):
    """Write a sphere of colours as a Middlebury set: six pictures, 15 degrees apart."""
    folder = tmp_path / "sphere"
    folder.mkdir()
    lines = ["6"]
    for number, eye in enumerate(ring_eyes(24)[:6]):
        view = sphere_view(camera_at(eye, (128, 128), 170.0), name=f"im{number}")
        Image.fromarray(view.rgb).save(folder / f"{view.name}.png")
        matrix = view.camera.intrinsics - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        pose = view.camera.cam_from_world
        numbers = [*matrix.ravel(), *pose[:3, :3].ravel(), *pose[:3, 3]]
        lines.append(f"{view.name}.png " + " ".join(f"{number:.17g}" for number in numbers))
    (folder / "sphere_par.txt").write_text("\n".join(lines))
    (folder / "README.txt").write_text("The bounding box is (-0.5 -0.5 -0.5)\n(0.5 0.5 0.5)")
    return folder


def test_scores_and_locates(run, folder, tiny_weights, tmp_path):
    features = ("-b", tiny_weights, "--long-side", 128, "--device", "cpu")
    code, out, err = run("pose", *features, "--references", folder, "--out", tmp_path / "run", "--json")
    assert code == 0, err
    summary = json.loads(out)["summary"]
    assert summary["metrics"]["located"]["n"] == 6
    assert [part["kind"] for part in summary["protocol"]["features"]["head"]] == ["average", "fine"]
    assert len((tmp_path / "run" / "rows.jsonl").read_text().splitlines()) == 6
    picture = next(folder.glob("*.png"))
    code, out, err = run("pose", *features, "--references", folder, "--query", picture, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["queries"]
    assert ("failed" in found) != (np.shape(found.get("cam_from_world")) == (4, 4))


def test_an_interrupted_run_goes_on(folder, tmp_path):
    scenes, box = open_scenes(folder, "middlebury")
    source, config = NoiseExtractor(stride_px=8), pose_config(box, any_roll=False)
    whole = score_poses(source, scenes, config, tmp_path / "whole")
    assert whole["metrics"]["located"]["n"] == 6
    out, seen = tmp_path / "out", []

    def stop(scene, done, total):
        seen.append((done, total))
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_poses(source, scenes, config, out, stop)
    assert seen == [(1, 3), (2, 3), (3, 3), (1, 3)] and not (out / "summary.json").exists()
    (kept,) = (out / "rows").glob("*.partial.jsonl")
    assert len(list((out / "rows").iterdir())) == 2
    # The power went off in the middle of a line.
    kept.write_text(kept.read_text() + '{"rows": [{"obj')
    again = []
    summary = score_poses(source, scenes, config, out, lambda *at: again.append(at[1:]))
    assert again == [(2, 3), (3, 3)] and summary == whole
    assert (out / "rows.jsonl").read_text() == (tmp_path / "whole" / "rows.jsonl").read_text()
    with pytest.raises(EquiviewError, match="another run .*pose"):
        score_poses(source, scenes, pose_config(box, any_roll=False, seed=1), out)
    kept.write_text('{"query": "a"}\n')
    kept.with_name(kept.name.replace(".partial", "")).unlink()
    with pytest.raises(EquiviewError, match="rows of a sample"):
        score_poses(source, scenes, config, out)


def test_layouts(folder):
    scene, _ = all_references(folder, "middlebury")
    assert len(scene.references) == 6
    with pytest.raises(EquiviewError, match="layout: expected middlebury"):
        open_scenes(folder, "colmap")


def test_bad_input(run, folder, tmp_path):
    for arguments, message in (
        (("--references", folder), "either --query or --out"),
        (("--references", tmp_path / "gone", "--out", tmp_path / "run"), "no such folder"),
    ):
        code, _, err = run("pose", "-b", "x", *arguments)
        assert code == 2 and message in err
    with pytest.raises(EquiviewError, match="--intrinsics: expected fx,fy,cx,cy"):
        parse_intrinsics("1,2,3")
    np.testing.assert_array_equal(parse_intrinsics("2,3,4,5"), [[2, 0, 4], [0, 3, 5], [0, 0, 1]])


def test_the_errors_of_bop_reach_the_rows(run, folder, tiny_weights, tmp_path, monkeypatch):
    """Of a scene that can be located; and the command hands on what is known of the object."""
    scenes, box = open_scenes(folder, "middlebury")
    scene, model = replace(scenes[0], model_points=np.eye(3)), ObjectModel(1.5)
    config, models = pose_config(box, any_roll=False), {scenes[0].name: model}
    score_poses(NoiseExtractor(stride_px=8), [scene], config, tmp_path / "rows", models=models)
    rows = [json.loads(line) for line in (tmp_path / "rows" / "rows.jsonl").read_text().splitlines()]
    assert {(row["diameter"], row["image_width"]) for row in rows} == {(1.5, 128)}
    assert all("mssd" in row or "failed" in row for row in rows)

    given = []
    monkeypatch.setattr("equiview.jobs.pose.score_poses", lambda *all_: given.append(all_[-1]) or {"metrics": {}})
    where = ("--references", write_bop_set(tmp_path / "ycbv"), "--layout", "bop", "--object", 5)
    code, _, err = run("pose", "-b", tiny_weights, "--device", "cpu", *where, "--out", tmp_path / "run")
    assert code == 0, err
    assert given[0]["ycbv/000005"].diameter == 50 and len(given[0]["ycbv/000005"].symmetries) == 1
