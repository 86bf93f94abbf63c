"""What a command may be given as an object: how it is recognised, named, checked, and becomes views."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import captured_worlds
from data.sfm import textured
from equiview.data.captures.views import CaptureViews
from equiview.data.contents import check_apart
from equiview.data.correspond import correspond_in, sample_points
from equiview.data.names import other_views, source_name
from equiview.data.open import Kind, check_source, open_source, source_kind
from equiview.errors import EquiviewError
from equiview.geometry import inverse
from equiview.io import read_image, write_image


def write_rgbd(folder, n=5):
    """Write the sphere of `captured_worlds` as an RGB-D folder: pictures, 16-bit depth, intrinsics, poses."""
    capture = captured_worlds.depth_capture(n, (64, 64))
    for number, image in enumerate(capture.images):
        write_image(folder / "rgb" / f"{number:03d}.png", image.image)
        steps = (image.depth * 1000 / captured_worlds.SCALE).round().astype(np.uint16)
        (folder / "depth").mkdir(exist_ok=True)
        Image.fromarray(steps).save(folder / "depth" / f"{number:03d}.png")
        pose = inverse(image.camera.cam_from_world)
        pose[:3, 3] /= captured_worlds.SCALE
        (folder / "pose").mkdir(exist_ok=True)
        np.savetxt(folder / "pose" / f"{number:03d}.txt", pose)
    np.savetxt(folder / "intrinsics.txt", capture.images[0].camera.intrinsics)
    return folder


def write_posed(folder, n=8):
    """Write the textured box as a transforms.json scene: poses, no points."""
    capture, frames = textured.capture(n), []
    for image in capture.images:
        write_image(folder / f"{image.name}.png", image.image)
        world_from_cam = inverse(image.camera.cam_from_world) @ np.diag([1, -1, -1, 1.0])
        frames.append({"file_path": f"{image.name}.png", "transform_matrix": world_from_cam.tolist()})
    h, w = capture.images[0].camera.hw
    k = capture.images[0].camera.intrinsics
    about = {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "w": w, "h": h, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(about))
    return folder


def test_kinds_and_names(tmp_path):
    write_image(tmp_path / "photos.v2" / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert source_kind("builtin:mug") is Kind.MADE
    assert source_kind("a/mug.glb") is Kind.MESH
    assert source_kind("walk.MP4") is Kind.PICTURES
    assert source_kind(tmp_path / "photos.v2") is Kind.PICTURES
    assert source_kind(write_rgbd(tmp_path / "scan")) is Kind.CAPTURE
    assert source_kind(f"{tmp_path}/scan@0::2") is Kind.CAPTURE
    names = {"builtin:mug": "builtin-mug", "a/mug.glb": "mug", "b/walk.mp4": "walk", "b/photos.v2": "photos.v2"}
    names |= {"fox@0::2": "fox@0__2", "fox/@1::2": "fox@1__2"}
    assert {source: source_name(source) for source in names} == names


def test_depth_becomes_views_with_points(tmp_path):
    views = open_source(write_rgbd(tmp_path / "scan"), n_views=12, cache_dir=tmp_path / "cache")
    assert isinstance(views, CaptureViews)
    assert len(views) == 5
    assert views.tracks is None
    assert len(correspond_in(views, (0, 1), sample_points(views, 0, 200, 0))) > 50


def test_a_selection_and_a_number_of_views_choose_images(tmp_path):
    folder = write_rgbd(tmp_path / "scan")
    chosen = open_source(f"{folder}@1::2", n_views=12, cache_dir=tmp_path / "cache")
    assert [view.name for view in chosen] == ["001.png", "003.png"]
    assert chosen.name == "scan@1__2"
    assert len(open_source(folder, n_views=3, cache_dir=tmp_path / "cache")) == 3


@pytest.mark.slow
def test_poses_without_points_are_triangulated_once(tmp_path, monkeypatch):
    pytest.importorskip("pycolmap", reason="pycolmap is not installed: pip install 'equiview[colmap]'")
    folder, cache = write_posed(tmp_path / "scene"), tmp_path / "cache"
    calls: list[tuple[int, int]] = []
    views = open_source(folder, n_views=12, cache_dir=cache, progress=lambda *n: calls.append(n))
    assert len(views) == 8
    assert calls
    # The cameras are those that were given, in a world of size 1 around its points.
    given = [image.camera.center_in_world for image in textured.capture(8).images]
    found = [camera.center_in_world for camera in views.cameras]
    ratio = [np.linalg.norm(found[i] - found[0]) / np.linalg.norm(given[i] - given[0]) for i in range(1, 8)]
    assert np.allclose(ratio, 1 / views.size, rtol=1e-3)
    truth = correspond_in(views, (0, 1), sample_points(views, 0, 500, 0))
    assert len(truth) > 20
    points = truth.points_in_world * views.size + _center(views, given)
    assert np.median(textured.distance_to_surface(points)) < 0.01
    monkeypatch.setattr("equiview.data.sfm.job.triangulate_known", None)
    half = open_source(f"{folder}@0::2", n_views=12, cache_dir=cache)
    assert [view.name.partition(".")[0] for view in half] == ["view00", "view02", "view04", "view06"]


def _center(views, given):
    """Return where the origin of the normalised world is: the cameras say it."""
    return given[0] - views.cameras[0].center_in_world * views.size


def test_pictures_are_not_trained_and_tested_on(tmp_path):
    folder = write_rgbd(tmp_path / "scan", 6)
    check_apart([f"{folder}@0::2", "builtin:mug"], [f"{folder}@1::2", "builtin:mug"])
    for test in (str(folder), f"{folder}@:3", f"{folder}@-2:"):
        with pytest.raises(EquiviewError, match="no picture on both sides"):
            check_apart([f"{folder}@0::2"], [test])


def test_photos_without_poses_are_kept_apart_however_many_get_a_camera(tmp_path):
    for number in range(4):
        write_image(tmp_path / "photos" / f"{number}.png", np.zeros((8, 8, 3), np.uint8))
    folder = tmp_path / "photos"
    check_apart([f"{folder}@:2"], [f"{folder}@2:"])
    with pytest.raises(EquiviewError, match="no picture on both sides"):
        check_apart([f"{folder}@:3"], [f"{folder}@-2:"])


def test_one_capture_under_two_names_is_one_capture(tmp_path):
    folder = write_rgbd(tmp_path / "scan", 6)
    (tmp_path / "other").mkdir()
    for name in ("rgb", "depth", "pose", "intrinsics.txt"):
        (tmp_path / "other" / name).symlink_to(folder / name)
    check_apart([f"{folder}@0::2"], [f"{tmp_path}/other@1::2"])
    with pytest.raises(EquiviewError, match="no picture on both sides, found 3 shared"):
        check_apart([f"{folder}@0::2"], [f"{tmp_path}/other"])
    with pytest.raises(EquiviewError, match="no picture on both sides"):
        check_apart([f"{folder}"], [f"{folder}/rgb"])


def test_pictures_without_depth_are_left_out_where_others_have_it(tmp_path):
    folder = write_rgbd(tmp_path / "scan", 6)
    (folder / "depth" / "002.png").unlink()
    check_source(folder)
    views = open_source(folder, n_views=12, cache_dir=tmp_path / "cache")
    assert views.tracks is None and [view.name[:3] for view in views] == ["000", "001", "003", "004", "005"]


def test_a_capture_is_not_apart_from_the_photos_it_was_made_of(tmp_path):
    photos, made = write_rgbd(tmp_path / "photos", 4), write_rgbd(tmp_path / "made", 4)
    for path in (made / "rgb").iterdir():  # Reduced and written again, as `equiview capture` does.
        write_image(path, read_image(path) // 2)
    check_apart([str(photos)], [str(made)])
    (made / "capture.json").write_text(json.dumps({"source": str(photos)}))
    with pytest.raises(EquiviewError, match="4 shared"):
        check_apart([str(photos)], [str(made)])


@pytest.mark.slow
def test_measure_takes_a_capture_and_says_its_interval(run, tmp_path):
    folder = write_rgbd(tmp_path / "scan", 6)
    code, out, err = run(
        *("measure", "-b", "equiview/tiny", "--long-side", 128, "--points", 50, "--objects", folder),
        *("--out", tmp_path / "out"),
    )
    assert code == 0, err
    assert "Over the views of this one object" in out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["pcdp@0.05"]["ci95_views"] is not None


def test_a_folder_of_nothing_known_is_told(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(EquiviewError, match=r"transforms\.json.*readme\.txt"):
        check_source(tmp_path / "notes")


def test_without_pycolmap_photos_are_refused_before_any_work(tmp_path, monkeypatch):
    import sys

    write_image(tmp_path / "photos" / "a.png", np.zeros((8, 8, 3), np.uint8))
    write_image(tmp_path / "photos" / "b.png", np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(EquiviewError, match=r"equiview\[colmap\]"):
        check_source(tmp_path / "photos")


def test_a_weak_capture_fails_with_the_reasons(tmp_path):
    pytest.importorskip("pycolmap", reason="pycolmap is not installed: pip install 'equiview[colmap]'")
    folder = write_posed(tmp_path / "scene", 4)
    blank = np.full((*textured.HW, 3), 127, np.uint8)
    for path in folder.glob("*.png"):
        write_image(path, blank)
    with pytest.raises(EquiviewError, match="no usable capture"):
        open_source(folder, n_views=12, cache_dir=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")


def test_two_selections_are_of_one_capture(tmp_path):
    fox = f"{tmp_path}/fox@1::2"
    assert other_views([f"{tmp_path}/fox@0::2"], ["builtin:mug", fox]) == [fox]
    assert other_views([f"{tmp_path}/dog@0::2", "builtin:mug"], [fox, "builtin:mug"]) == []
