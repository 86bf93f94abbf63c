"""A rendered world photographed, and found again: from pictures alone, and with its cameras given."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter1d

pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed: pip install 'equiview[colmap]'")

from data.sfm import textured  # noqa: E402
from equiview.data.captures.opening import open_capture  # noqa: E402
from equiview.data.sfm import (  # noqa: E402
    CaptureConfig,
    ColmapConfig,
    capture_from_pictures,
    capture_with_poses,
    compare_with_given,
)
from equiview.errors import EquiviewError  # noqa: E402
from equiview.geometry import project  # noqa: E402
from equiview.types import Camera, Capture  # noqa: E402

CONFIG = CaptureConfig(colmap=ColmapConfig(threads=1))
N = 12


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for image in textured.capture(N).images:
        Image.fromarray(image.image).save(folder / f"{image.name}.png")
    return folder


@pytest.fixture(scope="module")
def recovered(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "recovered"
    return out, capture_from_pictures(photos, out, CONFIG, quiet)


@pytest.fixture(scope="module")
def given(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "given"
    return out, capture_with_poses(textured.capture(N), photos, out, CONFIG, quiet)


def test_cameras_are_recovered_from_pictures_alone(recovered):
    out, about = recovered
    found = about["statistics"]
    assert found["images_registered"] == found["images_given"] == N and found["models"] == 1
    assert found["points"] > 200 and found["median_error_px"] < 0.6
    compared = compare_with_given(out, textured.capture(N))
    assert compared["images"] == N
    assert compared["rotation_error_deg_max"] < 3 and compared["rotation_error_deg_median"] < 1.5
    assert compared["position_error_percent_max"] < 2 and compared["position_error_percent_median"] < 1


def test_the_folder_is_one_that_other_tools_and_the_loader_read(recovered):
    out, about = recovered
    assert pycolmap.Reconstruction(out / "sparse" / "0").num_reg_images() == N
    capture = open_capture(out)
    assert [image.name for image in capture.images] == [f"view{i:02d}.jpg" for i in range(N)]
    assert len(capture.tracks.points_in_world) == about["statistics"]["points"]
    assert np.median(errors_px(capture)) == pytest.approx(about["statistics"]["median_error_px"], rel=0.1)
    assert json.loads((out / "capture.json").read_text()) == about


def errors_px(capture: Capture) -> np.ndarray:
    tracks, errors = capture.tracks, []
    for number, image in enumerate(capture.images):
        mine = tracks.image == number
        xy, depth = project(image.camera, tracks.points_in_world[tracks.point[mine]])
        assert (depth > 0).all()
        errors.append(np.linalg.norm(xy - tracks.xy[mine], axis=1))
    return np.concatenate(errors)


def test_given_cameras_stay_as_they_are(given):
    out, about = given
    capture, truth = open_capture(out), textured.capture(N)
    assert len(capture.images) == N
    for found, image in zip(capture.images, truth.images, strict=True):
        np.testing.assert_allclose(found.camera.cam_from_world, image.camera.cam_from_world, atol=1e-12)
        np.testing.assert_allclose(found.camera.intrinsics, image.camera.intrinsics, atol=1e-9)
        assert found.camera.hw == image.camera.hw
    assert about["poses"] == "given" and about["verdict"]["grade"] in ("good", "usable")


def test_points_lie_on_the_true_surface_and_reproject(given):
    out, about = given
    capture = open_capture(out)
    away = textured.distance_to_surface(capture.tracks.points_in_world)
    assert about["statistics"]["points"] > 200 and about["statistics"]["matches_fitting"] > 0.7
    assert np.median(away) < 0.01 and np.mean(away < 0.05) > 0.95  # The box has a side of 0.9.
    assert errors_px(capture).max() <= CONFIG.colmap.max_error_px + 1e-6


def test_a_finished_capture_is_returned_at_once(recovered, photos):
    out, about = recovered
    told = []
    assert capture_from_pictures(photos, out, CONFIG, lambda *call: told.append(call)) == about
    assert told == []


@pytest.mark.parametrize("stage", ["features", "cameras"])
def test_an_interrupted_capture_goes_on(recovered, photos, tmp_path, monkeypatch, stage):
    """With one thread it ends with the numbers of the one that was not interrupted; no finished stage is repeated."""

    def stop(now, done, total):
        if now == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture_from_pictures(photos, tmp_path / "out", CONFIG, stop)
    assert not (tmp_path / "out" / "capture.json").exists()
    if stage == "cameras":
        for name in ("extract_features", "match_image_pairs"):
            monkeypatch.setattr(pycolmap, name, lambda *_, **__: pytest.fail("done again"))
    again = capture_from_pictures(photos, tmp_path / "out", CONFIG, quiet)
    assert again["statistics"] == recovered[1]["statistics"]


def test_features_outside_the_masks_are_not_used(photos, tmp_path):
    mask = np.zeros(textured.HW, bool)
    mask[:, :160] = True
    images = [replace(image, mask=mask) for image in textured.capture(N).images]
    about = capture_with_poses(Capture("left", images), photos, tmp_path / "out", CONFIG, quiet)
    capture = open_capture(tmp_path / "out")
    assert about["masks"] and len(capture.tracks.xy) > 50 and (capture.tracks.xy[:, 0] <= 161).all()
    assert (capture.images[0].mask == mask).all()


def test_poses_of_other_pictures_give_a_failure_not_points(photos, tmp_path):
    images = list(textured.capture(N).images)
    order = np.random.default_rng(0).permutation(N)
    wrong = [replace(image, camera=images[j].camera) for image, j in zip(images, order, strict=True)]
    about = capture_with_poses(Capture("wrong", wrong), photos, tmp_path / "out", CONFIG, quiet)
    assert about["verdict"]["grade"] in ("failed", "weak")
    assert about["statistics"]["points"] < 60 and about["statistics"]["matches_fitting"] < 0.2
    assert any("poses" in advice for advice in about["verdict"]["advice"])


def test_larger_pictures_are_shrunk_with_their_cameras(photos, tmp_path):
    config = replace(CONFIG, long_side=240)
    about = capture_with_poses(textured.capture(N), photos, tmp_path / "out", config, quiet)
    capture = open_capture(tmp_path / "out")
    assert capture.images[0].camera.hw == (180, 240)
    assert capture.images[0].camera.intrinsics[0, 2] == pytest.approx(120)
    assert about["statistics"]["median_error_px"] < 0.6 and errors_px(capture).max() < 2.001


def test_a_picture_that_is_not_as_large_as_its_camera_is_named(photos, tmp_path):
    images = list(textured.capture(N).images)
    images[4] = replace(images[4], image=np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(EquiviewError, match="view04: expected 320x240 pixels as its camera says, found 32x24"):
        capture_with_poses(Capture("odd", images), photos, tmp_path / "out", CONFIG, quiet)


def test_skewed_intrinsics_are_refused(photos, tmp_path):
    images = list(textured.capture(N).images)
    matrix = images[0].camera.intrinsics + np.array([[0, 9.0, 0], [0, 0, 0], [0, 0, 0]])
    images[0] = replace(images[0], camera=Camera(matrix, images[0].camera.cam_from_world, images[0].camera.hw))
    with pytest.raises(EquiviewError, match="no skew"):
        capture_with_poses(Capture("skewed", images), photos, tmp_path / "out", CONFIG, quiet)


def write_video(path, frames) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.bit_rate = 8_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode())


@pytest.mark.slow
def test_a_video_with_blurred_frames_becomes_a_capture(tmp_path):
    blurred = partial(uniform_filter1d, size=11, axis=1)
    frames = [
        blurred(view.rgb.astype(float)).astype(np.uint8) if i % 3 == 1 else view.rgb
        for i, view in enumerate(textured.views(24, 150.0))
    ]
    write_video(tmp_path / "walk.mp4", frames)
    about = capture_from_pictures(tmp_path / "walk.mp4", tmp_path / "out", replace(CONFIG, max_frames=12), quiet)
    chosen = json.loads((tmp_path / "out" / "work" / "frames.json").read_text())
    assert about["frames_of_source"] == 24 and 9 <= len(chosen) <= 12
    assert not {i for i in chosen if i % 3 == 1}
    assert about["statistics"]["images_registered"] >= len(chosen) - 1
