"""RGB-D folders: depth of one frame lands on the same surface as the other's; poses and scales of several layouts."""

import numpy as np
import pytest

from capture_worlds import BENT, HW, PLAIN, World, centre_origin, write_json, write_mask, write_rgbd, write_tum
from equiview.data.captures import photographs
from equiview.data.captures.photographs import read_depth
from equiview.data.captures.rgbd import is_rgbd, rgbd_capture
from equiview.data.captures.undistortion import source_xy
from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers, project, unproject


def check(capture, world, tolerance):
    for i, photograph in enumerate(capture.images.photographs):
        image = capture.images[i]
        xy, depth = project(image.camera, world.points)
        assert (depth > 0).all()
        np.testing.assert_allclose(source_xy(photograph.undistortion, xy), world.pixels(i), atol=1e-3)
        assert image.depth.shape == image.camera.hw and image.depth.dtype == np.float32
        points = unproject(image.camera, pixel_centers(image.camera.hw), image.depth)
        assert np.abs(points[..., 2]).max() < tolerance


@pytest.mark.parametrize("colour", ["rgb", "color"])
@pytest.mark.parametrize("long_side", [None, 40])
def test_a_plain_folder(tmp_path, colour, long_side):
    """Without distortion and reduction depth is exact to its steps (1 mm); else to the nearest pixel."""
    world = World(PLAIN)
    folder = write_rgbd(tmp_path / "desk", world, colour=colour)
    write_mask(folder / "masks" / "001.png")
    capture = rgbd_capture(folder, long_side=long_side)
    assert is_rgbd(folder) and capture.name == "desk" and [image.name for image in capture.images] == world.names()
    check(capture, world, 0.001 if long_side is None else 0.03)
    assert [image.mask is not None for image in capture.images] == [False, True, False, False, False]


def test_distortion_is_undone_for_depth_too(tmp_path):
    check(rgbd_capture(write_rgbd(tmp_path / "desk", World(BENT))), World(BENT), 0.02)


def test_a_scale_file(tmp_path):
    folder = write_rgbd(tmp_path / "desk", World(), steps=4000)
    (folder / "depth_scale.txt").write_text("4000\n")
    check(rgbd_capture(folder), World(), 0.0005)


def test_tum(tmp_path):
    folder = write_tum(tmp_path / "fr1", World())
    assert is_rgbd(folder)
    check(rgbd_capture(folder), World(), 0.0005)


def test_tum_pictures_without_a_pose_in_time_are_noted(tmp_path):
    folder = write_tum(tmp_path / "fr1", World())
    lines = (folder / "groundtruth.txt").read_text().splitlines()
    (folder / "groundtruth.txt").write_text("\n".join(lines[:-1]))
    capture = rgbd_capture(folder)
    assert len(capture.images) == 4 and capture.notes == ("5 poses listed, 1 missing: 1305031102.575300.png",)


def test_seven_scenes(tmp_path):
    """Everything in one folder; 65535 is no measurement."""
    world, folder = World(), write_rgbd(tmp_path / "desk", World())
    for i, name in enumerate(world.names()):
        (folder / "color" / name).rename(folder / f"frame-{i:06d}.color.png")
        (folder / "depth" / name).rename(folder / f"frame-{i:06d}.depth.png")
        (folder / "pose" / name.replace("png", "txt")).rename(folder / f"frame-{i:06d}.pose.txt")
    for place in ("color", "depth", "pose"):
        (folder / place).rmdir()
    assert is_rgbd(folder)
    check(rgbd_capture(folder), world, 0.001)


def test_open3d_intrinsics(tmp_path):
    folder = write_rgbd(tmp_path / "desk", World())
    (folder / "intrinsics.txt").unlink()
    matrix = centre_origin(PLAIN.intrinsics).T.ravel().tolist()
    write_json(folder / "camera_intrinsic.json", {"width": HW[1], "height": HW[0], "intrinsic_matrix": matrix})
    check(rgbd_capture(folder), World(), 0.001)


def test_lost_frames_are_noted(tmp_path):
    """ScanNet writes -inf where tracking was lost."""
    folder = write_rgbd(tmp_path / "desk", World())
    np.savetxt(folder / "pose" / "001.txt", np.full((4, 4), -np.inf))
    (folder / "pose" / "003.txt").unlink()
    capture = rgbd_capture(folder)
    assert capture.notes == ("5 poses listed, 2 missing: 001.png, 003.png",) and len(capture.images) == 3


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("intrinsics.txt", "1 0 0\n0 1\n", "a matrix of 3x3 or 4x4 numbers"),
        ("intrinsics.txt", None, "intrinsics as intrinsics.txt"),
        ("depth_scale.txt", "-1", "a positive number of steps"),
        ("distortion.txt", "0.1 0.2 0.3", "a matrix of 1x4 or 1x5 or 1x8 numbers"),
        ("pose/000.txt", "no numbers", "a matrix of 4x4 or 3x4 numbers"),
        ("groundtruth.txt", "1 2 3\n", "rows of time tx ty tz qx qy qz qw"),
    ],
)
def test_bad_input(tmp_path, file, text, said):
    folder = write_rgbd(tmp_path / "desk", World())
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(EquiviewError, match=said):
        rgbd_capture(folder)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 500, 65535]], np.uint16), [[0, 0.5, 0]]),
        (np.array([[np.nan, 500, np.inf]], np.float32), [[0, 0.5, 0]]),
        (np.array([[-1, 500, 70000]], np.float64), [[0, 0.5, 70]]),
    ],
)
def test_unknown_depth_is_0(tmp_path, values, expected):
    np.save(tmp_path / "d.npy", values)
    np.testing.assert_allclose(read_depth(tmp_path / "d.npy", 0.001), expected)


def test_depth_in_colours_is_refused(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros((2, 2, 3)))
    with pytest.raises(EquiviewError, match="depth with one channel"):
        read_depth(tmp_path / "d.npy", 1)


def test_a_long_capture_is_not_kept_in_memory(tmp_path, monkeypatch):
    """With room for one depth map (4 bytes a pixel), the first is read again after the second was asked for."""
    monkeypatch.setattr(photographs, "_KEPT_BYTES", 5 * HW[0] * HW[1])
    images = rgbd_capture(write_rgbd(tmp_path / "desk", World())).images
    first, second = images[0], images[1]
    assert images[1] is second and images[0] is not first
    np.testing.assert_array_equal(images[1].depth, images[1].depth)
