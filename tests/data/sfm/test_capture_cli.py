"""`equiview capture`: what it says and does, and one message for each bad input."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pycolmap", reason="pycolmap is not installed: pip install 'equiview[colmap]'")

from bad_inputs import check_message, cut  # noqa: E402
from data.sfm import textured  # noqa: E402
from equiview.io import write_image  # noqa: E402
from equiview.jobs.capture import make_capture  # noqa: E402


@pytest.fixture
def photos(tmp_path):
    for image in textured.capture(12).images:
        write_image(tmp_path / "photos" / f"{image.name}.png", image.image)
    return tmp_path / "photos"


def write_transforms(folder) -> None:
    frames = []
    for image in textured.capture(12).images:
        world_from_cam = np.linalg.inv(image.camera.cam_from_world) @ np.diag([1, -1, -1, 1.0])
        frames.append({"file_path": f"{image.name}.png", "transform_matrix": world_from_cam.tolist()})
    camera = textured.capture(12).images[0].camera
    about = {"fl_x": camera.intrinsics[0, 0], "cx": 160.0, "cy": 120.0, "w": 320, "h": 240, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(about))


def test_photos_become_a_capture(run, photos, tmp_path):
    code, out, err = run("capture", photos, "--out", tmp_path / "out", "--threads", 1)
    assert code == 0, err
    assert "12 of 12" in out and "verdict" in out and f"Wrote {tmp_path}/out/sparse/0" in out
    assert "features ..." in err and "colmap" not in err.lower()


def test_poses_of_the_folder_are_kept_or_compared(run, photos, tmp_path):
    write_transforms(photos)
    code, out, _ = run("capture", photos, "--out", tmp_path / "kept", "--threads", 1, "--json")
    kept = json.loads(out)
    assert code == 0 and kept["poses"] == "given" and kept["statistics"]["points"] > 200
    code, out, _ = run("capture", photos, "--out", tmp_path / "new", "--threads", 1, "--poses", "recover", "--json")
    compared = json.loads(out)["compared_with_given"]
    assert code == 0 and compared["images"] == 12 and compared["rotation_error_deg_median"] < 1.5


def test_blank_photos_end_with_a_verdict_and_a_code(run, tmp_path):
    for number in range(4):
        write_image(tmp_path / "blank" / f"{number}.png", np.full((120, 160, 3), 128, np.uint8))
    code, out, err = run("capture", tmp_path / "blank", "--out", tmp_path / "out")
    assert code == 1 and "failed" in out and "Next time" in out and "texture" in out
    assert "Traceback" not in err and not (tmp_path / "out" / "sparse").exists()
    assert json.loads((tmp_path / "out" / "capture.json").read_text())["verdict"]["grade"] == "failed"


def test_one_photo_only(run, tmp_path):
    write_image(tmp_path / "one" / "a.png", np.zeros((20, 20, 3), np.uint8))
    check_message(run("capture", tmp_path / "one", "--out", tmp_path / "out"), "one photo only", "two photos or more")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_and_none(run, tmp_path):
    (tmp_path / "empty").mkdir()
    check_message(run("capture", tmp_path / "empty", "--out", tmp_path / "out"), "pictures (jpg, png ...)")
    check_message(run("capture", tmp_path / "none", "--out", tmp_path / "out"), "nothing there")


def test_a_picture_that_does_not_open(run, photos, tmp_path):
    cut(photos / "view03.png", 0.3)
    result = run("-q", "capture", photos, "--out", tmp_path / "out")
    check_message(result, "view03.png", "an image that opens")


def test_a_video_that_does_not_decode(run, tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    (tmp_path / "walk.mp4").write_bytes(b"not a video" * 100)
    check_message(run("capture", tmp_path / "walk.mp4", "--out", tmp_path / "out"), "walk.mp4", "video")


def test_without_pycolmap_it_says_what_to_install(run, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    check_message(run("capture", photos, "--out", tmp_path / "out"), "pip install 'equiview[colmap]'")
    assert not (tmp_path / "out").exists()


def test_given_poses_where_there_are_none(run, photos, tmp_path):
    result = run("capture", photos, "--out", tmp_path / "out", "--poses", "given")
    check_message(result, "a folder with poses", "leave out --poses given")


def test_another_capture_is_not_overwritten(run, photos, tmp_path):
    assert run("-q", "capture", photos, "--out", tmp_path / "out", "--threads", 1)[0] == 0
    Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(photos / "more.png")
    check_message(run("capture", photos, "--out", tmp_path / "out"), "another capture", "source_files")
    (photos / "more.png").unlink()
    result = run("capture", photos, "--out", tmp_path / "out", "--long-side", 200)
    check_message(result, "another capture", "settings")


def test_a_folder_of_other_things_is_not_written_to(run, photos, tmp_path):
    check_message(run("capture", photos, "--out", photos), "a new folder, or this very capture")
    (tmp_path / "file").write_text("")
    check_message(run("capture", photos, "--out", tmp_path / "file"), "a file")


def test_a_capture_may_lie_in_the_folder_it_is_made_of(run, photos):
    write_transforms(photos)
    for _ in range(2):  # The second time it is found finished.
        code, out, err = run("capture", photos, "--out", photos / "made", "--threads", 1, "--json")
        assert code == 0, err
    assert json.loads(out)["statistics"]["images_given"] == 12


def test_a_selection_of_a_capture_becomes_one(run, photos, tmp_path):
    write_transforms(photos)
    code, out, err = run("capture", f"{photos}@::2", "--out", tmp_path / "half", "--threads", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["statistics"]["images_given"] == 6


def test_changed_poses_are_another_capture(run, photos, tmp_path):
    write_transforms(photos)
    assert run("capture", photos, "--out", tmp_path / "out", "--threads", 1)[0] == 0
    path = photos / "transforms.json"
    path.write_text(path.read_text().replace('"cx": 160.0', '"cx": 161.0'))  # As many characters.
    code, _, err = run("capture", photos, "--out", tmp_path / "out", "--threads", 1)
    assert code == 2 and "another capture" in err


def test_too_few_points_to_compare_cameras_end_with_the_verdict(tmp_path, monkeypatch):
    folder = tmp_path / "blank"
    for image in textured.capture(12).images:
        write_image(folder / f"{image.name}.png", np.full((240, 320, 3), 128, np.uint8))
    write_transforms(folder)
    statistics = {"images_registered": 3}
    about = {"statistics": statistics, "verdict": {"grade": "failed"}}
    monkeypatch.setattr("equiview.data.sfm.capture_from_pictures", lambda *_: about)

    assert make_capture(folder, tmp_path / "out", None, layout="nerfstudio", keep=False, progress=None) == about
