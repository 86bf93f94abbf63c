"""Laws and parity of the camera rigs."""

import itertools

import numpy as np
import pytest

from equiview.errors import EquiviewError
from equiview.geometry import angle_between_deg, project, unproject, view_angle_deg
from equiview.render import paper42, random_rig, ring
from equiview.types import Camera


def test_paper_rig_looks_at_the_origin_from_radius_2():
    for camera in paper42():
        assert np.linalg.norm(camera.center_in_world) == pytest.approx(2, abs=1e-12)
        xy, depth = project(camera, np.zeros(3))
        np.testing.assert_allclose([*xy, depth], [256, 256, 2], atol=1e-9)


def test_paper_rig_neighbours_are_31_7_degrees_apart():
    cameras = paper42()
    angles = np.array([view_angle_deg(a, b, np.zeros(3)) for a, b in itertools.combinations(cameras, 2)])
    assert angles.min() == pytest.approx(31.7174744, abs=1e-6)
    assert angles.max() == pytest.approx(180, abs=1e-6)
    nearest = [min(view_angle_deg(a, b, np.zeros(3)) for b in cameras if b is not a) for a in cameras]
    np.testing.assert_allclose(nearest, 31.7174744, atol=1e-6)


def test_intrinsics_scale_with_the_shorter_side():
    for hw, focal in (((512, 512), 560), ((256, 256), 280), ((256, 512), 280)):
        camera = paper42(hw)[0]
        assert camera.hw == hw
        np.testing.assert_allclose(camera.intrinsics, [[focal, 0, hw[1] / 2], [0, focal, hw[0] / 2], [0, 0, 1]])


@pytest.mark.shared
def test_paper_rig_is_the_released_one(shared):
    released = np.load(shared / "data" / "lists" / "data" / "obj_poses.npy")
    ours = np.stack([camera.cam_from_world for camera in paper42()])
    np.testing.assert_allclose(ours, released, atol=1e-5)


@pytest.mark.shared
def test_pair_rotation_angles_parity(golden):
    file = np.load(golden / "f13b_pair_rotation_angles.npz")
    wanted = file["official_42_poses/out/angle_deg"]
    rotations = np.stack([camera.cam_from_world[:3, :3] for camera in paper42()])
    relative = np.einsum("iab,jcb->ijac", rotations, rotations)
    sine = np.linalg.norm(
        np.stack([relative[..., i, j] - relative[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1), axis=-1
    )
    ours = np.degrees(np.arctan2(sine, np.trace(relative, axis1=2, axis2=3) - 1))
    loose = (wanted < 1) | (wanted > 179)
    np.testing.assert_allclose(ours[~loose], wanted[~loose], atol=2e-3)
    np.testing.assert_allclose(ours[loose], wanted[loose], atol=0.1)


@pytest.mark.shared
def test_pixel_to_object_parity(golden):
    """The released code's pixel index i is our xy coordinate i: no half pixel in between."""
    file = np.load(golden / "f13_img_to_obj_coord.npz")
    for case in sorted({key.split("/")[0] for key in file}):
        camera = Camera(file[f"{case}/in/k"], file[f"{case}/in/pose_obj2cam"], (512, 512))
        points = unproject(camera, file[f"{case}/in/kp2d"], file[f"{case}/out/sampled_depth_m"])
        np.testing.assert_allclose(points, file[f"{case}/out/kp3d_obj"], atol=1e-9)
        # Our own camera of the same number differs only by the rounding in the released poses.
        ours = paper42()[int(case[4:])]
        points = unproject(ours, file[f"{case}/in/kp2d"], file[f"{case}/out/sampled_depth_m"])
        np.testing.assert_allclose(points, file[f"{case}/out/kp3d_obj"], atol=3e-5)


def test_ring_is_even_and_at_its_elevation():
    cameras = ring(8, 30.0)
    centers = np.stack([camera.center_in_world for camera in cameras])
    np.testing.assert_allclose(centers[:, 2], 2 * np.sin(np.deg2rad(30)), atol=1e-12)
    steps = angle_between_deg(centers[:, :2] @ np.eye(2, 3), np.roll(centers[:, :2] @ np.eye(2, 3), 1, axis=0))
    np.testing.assert_allclose(steps, 45, atol=1e-9)
    up_in_cam = np.stack([camera.cam_from_world[:3, 2] for camera in cameras])
    assert (up_in_cam[:, 1] < 0).all()  # +z is up in the picture


def test_ring_takes_several_elevations():
    assert len(ring(5, (0.0, 30.0, 60.0))) == 15


def test_random_rig_depends_on_seed_and_index_only():
    long, short = random_rig(6, seed=3), random_rig(2, seed=3)
    for a, b in zip(short, long, strict=False):
        np.testing.assert_array_equal(a.cam_from_world, b.cam_from_world)
    assert not np.allclose(random_rig(1, seed=4)[0].cam_from_world, long[0].cam_from_world)
    distances = [np.linalg.norm(c.center_in_world) for c in random_rig(20, seed=0, radius=(1.5, 3.0))]
    assert 1.5 <= min(distances) < max(distances) <= 3.0


def test_no_cameras_is_an_error():
    with pytest.raises(EquiviewError, match="number of cameras"):
        ring(0)
