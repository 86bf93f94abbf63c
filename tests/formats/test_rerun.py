"""Recordings of rerun, where it is installed; without it one message."""

import sys
from pathlib import Path

import numpy as np
import pytest

from data.sfm.textured import views
from equiview.errors import EquiviewError
from equiview.formats.rerun_file import write_capture, write_poses
from equiview.types import Capture, PosedImage, PoseScene, SparseTracks, UnusableQuery


def images() -> list[PosedImage]:
    return [PosedImage(view.rgb, view.camera, f"a {number}") for number, view in enumerate(views(3, 60.0))]


def tracks() -> SparseTracks:
    points = np.array([[0.45, 0, 0], [0, 0.45, 0.1]])
    return SparseTracks(points, np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([[10.0, 20], [30, 40], [50, 60]]))


def test_without_rerun(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(EquiviewError, match=r"--rerun: expected rerun-sdk.*pip install 'equiview\[rerun\]'"):
        write_capture(tmp_path / "c.rrd", Capture("c", images(), tracks()))
    for words in (("capture", tmp_path), ("pose", "-b", "x", "--references", tmp_path)):
        code, _, err = run(*words, "--out", tmp_path / "out", "--rerun")
        assert code == 2 and "equiview[rerun]" in err
    code, _, err = run("pose", "-b", "x", "--references", tmp_path, "--query", tmp_path, "--rerun")
    assert code == 2 and "--rerun: expected --out beside it" in err
    assert list(tmp_path.iterdir()) == []


def test_recordings_hold_cameras_pictures_and_points(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    write_capture(tmp_path / "c.rrd", Capture("c", images(), tracks()))
    first, second, third = images()
    queries = [second, third, UnusableQuery("gone", "no picture")]
    pose = second.camera.cam_from_world.tolist()
    rows = [{"object": "o", "query": "a 1", "cam_from_world": pose}, {"object": "o", "query": "a 2", "failed": "none"}]
    write_poses(tmp_path / "p.rrd", [PoseScene("o", [first], queries, np.eye(3))], rows)
    parts = {
        "c.rrd": (b"/world/cameras/a_1/seen", b"/world/points"),
        "p.rrd": (b"/world/0_o/queries/a_1/found/points",),
    }
    for name, entities in parts.items():
        content = (tmp_path / name).read_bytes()
        assert content[:3] == b"RRF" and len(content) > 20_000 and all(entity in content for entity in entities)
    assert len(list(tmp_path.iterdir())) == 2
