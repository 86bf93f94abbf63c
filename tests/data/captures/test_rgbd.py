"""RGB-D folders: depth of one frame lands on the same surface as the other's; poses and scales of several layouts."""

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from capture_worlds import BENT, HW, PLAIN, World, centre_origin, write_json, write_mask, write_rgbd, write_tum
from equiview.data.captures import photographs
from equiview.data.captures.opening import open_capture
from equiview.data.captures.photographs import read_depth
from equiview.data.captures.registration import DepthCamera, registered
from equiview.data.captures.rgbd import is_rgbd, rgbd_capture
from equiview.data.captures.undistortion import pinhole_for, source_xy
from equiview.errors import EquiviewError
from equiview.geometry import inverse, pixel_centers, project, unproject


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
    (note,) = rgbd_capture(folder).notes
    assert "taken as aligned with colour, which it is not in 7-Scenes" in note


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


def write_own_depth_camera(folder, world, focal=(30.0, 34.0), hw=(40, 52), shift=(0.06, -0.01, 0.02)):
    """Measure the plane z = 0 with a depth camera beside the colour camera, of another size, turned a little."""
    write_rgbd(folder, world)
    colour_from_depth = np.eye(4)
    colour_from_depth[:3, :3] = Rotation.from_rotvec([0.01, -0.02, 0.03]).as_matrix()
    colour_from_depth[:3, 3] = shift
    intrinsics = np.array([[focal[0], 0, hw[1] / 2 + 1], [0, focal[1], hw[0] / 2 - 2], [0, 0, 1.0]])
    for path, camera in zip(sorted((folder / "depth").iterdir()), world.cameras, strict=True):
        world_from_depth = inverse(camera.cam_from_world) @ colour_from_depth
        xy = pixel_centers(hw).reshape(-1, 2)
        rays = np.c_[(xy - intrinsics[:2, 2]) / focal, np.ones(len(xy))] @ world_from_depth[:3, :3].T
        depth = (-world_from_depth[2, 3] / rays[:, 2]).reshape(hw)
        Image.fromarray(np.rint(depth * 10000).astype(np.uint16)).save(path)
    np.savetxt(folder / "depth_scale.txt", [10000])
    np.savetxt(folder / "depth_intrinsics.txt", intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    np.savetxt(folder / "depth_to_color.txt", colour_from_depth)
    return folder


@pytest.mark.parametrize("lens", [PLAIN, BENT], ids=["plain", "bent"])
@pytest.mark.parametrize("long_side", [None, 40])
def test_depth_of_a_camera_of_its_own_is_moved_into_the_colour_camera(tmp_path, lens, long_side):
    """Every point still lies on the plane it was measured on, and nearly every pixel that both see has one."""
    capture = open_capture(write_own_depth_camera(tmp_path, World(lens)), long_side=long_side)
    for image in capture.images:
        assert image.depth.shape == image.camera.hw
        known = image.depth > 0
        assert known.mean() > 0.6 and known[15:25, 15:25].all()
        points = unproject(image.camera, pixel_centers(image.camera.hw), image.depth.astype(np.float64))[known]
        assert np.abs(points[:, 2]).max() < 0.08 and np.abs(np.median(points[:, 2])) < 0.008


def test_what_is_nearer_hides_what_is_behind(tmp_path):
    undo = pinhole_for(PLAIN)
    camera = DepthCamera(PLAIN.intrinsics, np.eye(4))
    depth = np.full(PLAIN.hw, 2.0)
    assert np.allclose(registered(depth, camera, undo), 2.0)
    shift = np.eye(4)
    shift[0, 3] = 0.2
    depth[:, :40] = 1.0
    moved = registered(depth, DepthCamera(PLAIN.intrinsics, shift), undo)
    assert set(np.unique(moved)) == {0.0, 1.0, 2.0} and (moved == 1.0).sum() > (depth == 1.0).sum() * 0.9


def test_scannets_files_of_both_cameras_are_read(tmp_path):
    folder = write_own_depth_camera(tmp_path, World())
    (folder / "intrinsic").mkdir()
    (folder / "depth_intrinsics.txt").rename(folder / "intrinsic" / "intrinsic_depth.txt")
    with_transform = open_capture(folder).images[0].depth
    (folder / "depth_to_color.txt").unlink()
    np.savetxt(folder / "intrinsic" / "extrinsic_color.txt", np.eye(4))
    assert (open_capture(folder).images[0].depth != with_transform).any()
    np.savetxt(folder / "intrinsic" / "extrinsic_color.txt", np.eye(4) + np.eye(4, k=3) * 0.1)
    with pytest.raises(EquiviewError, match=r"extrinsic_color.txt: expected the identity, or depth_to_color.txt"):
        open_capture(folder)


OWN_CAMERA = {
    "no intrinsics": ("depth_intrinsics.txt", None, "intrinsics of the depth camera"),
    "focal length 0": ("depth_intrinsics.txt", "0 0 1\n0 5 1\n0 0 1\n", "positive focal lengths"),
    "NaN": ("depth_intrinsics.txt", "nan 0 1\n0 5 1\n0 0 1\n", "positive focal lengths"),
    "words": ("depth_intrinsics.txt", "a b c\n", "a matrix of 3x3"),
    "a mirrored transform": ("depth_to_color.txt", "-1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "left-handed"),
    "a short transform": ("depth_to_color.txt", "1 0 0\n", "a matrix of 4x4"),
}


@pytest.mark.parametrize(("file", "text", "said"), OWN_CAMERA.values(), ids=OWN_CAMERA)
def test_a_broken_depth_camera_is_one_message(tmp_path, file, text, said):
    folder = write_own_depth_camera(tmp_path, World())
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(EquiviewError, match=said):
        open_capture(folder)
