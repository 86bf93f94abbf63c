"""Laws of cameras and points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equiview import geometry as g
from equiview.types import Camera
from worlds import camera_at

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def rigid(rng):
    """Return a random rigid transform."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    b_from_a = np.eye(4)
    b_from_a[:3, :3] = q * np.sign(np.linalg.det(q))
    b_from_a[:3, 3] = rng.normal(size=3)
    return b_from_a


def random_camera(rng):
    intrinsics = np.array([[rng.uniform(50, 900), 0, rng.uniform(0, 99)], [0, rng.uniform(50, 900), 40], [0, 0, 1.0]])
    return Camera(intrinsics, rigid(rng), (80, 100))


@few
@given(seeds)
def test_inverse_undoes_and_composition_is_the_product(seed):
    rng = np.random.default_rng(seed)
    b_from_a, c_from_b, x_in_a = rigid(rng), rigid(rng), rng.normal(size=(4, 3))
    assert np.allclose(g.inverse(b_from_a) @ b_from_a, np.eye(4))
    assert np.allclose(g.transform(g.inverse(b_from_a), g.transform(b_from_a, x_in_a)), x_in_a)
    assert np.allclose(g.transform(c_from_b @ b_from_a, x_in_a), g.transform(c_from_b, g.transform(b_from_a, x_in_a)))


@few
@given(seeds)
def test_project_and_unproject_are_inverses(seed):
    rng = np.random.default_rng(seed)
    camera = random_camera(rng)
    xy, depth = rng.uniform(0, 100, (5, 2)), rng.uniform(0.1, 10, 5)
    points = g.unproject(camera, xy, depth)
    again, depth_again = g.project(camera, points)
    assert np.allclose(again, xy, atol=1e-6)
    assert np.allclose(depth_again, depth)


@few
@given(seeds)
def test_a_new_world_frame_changes_no_pixel(seed):
    rng = np.random.default_rng(seed)
    camera, new_from_world, points = random_camera(rng), rigid(rng), rng.normal(size=(6, 3))
    moved = Camera(camera.intrinsics, camera.cam_from_world @ g.inverse(new_from_world), camera.hw)
    xy, depth = g.project(camera, points)
    xy_moved, depth_moved = g.project(moved, g.transform(new_from_world, points))
    ahead = np.abs(depth) > 1e-2
    assert np.allclose(xy[ahead], xy_moved[ahead], rtol=1e-6, atol=1e-5)
    assert np.allclose(depth, depth_moved)
    assert np.allclose(moved.center_in_world, g.transform(new_from_world, camera.center_in_world))


@few
@given(seeds)
def test_look_at_puts_the_target_in_the_middle_and_up_upwards(seed):
    rng = np.random.default_rng(seed)
    eye, target, up = rng.normal(size=(3, 3))
    camera = Camera(camera_at((2, 0, 0)).intrinsics, g.look_at(eye, target, up), (64, 64))
    xy, depth = g.project(camera, target)
    assert np.allclose(xy, (32, 32), atol=1e-6)
    assert np.isclose(depth, np.linalg.norm(target - eye))
    assert np.allclose(camera.center_in_world, eye)
    above, _ = g.project(camera, target + 1e-4 * up)
    assert above[1] <= 32 + 1e-9  # y grows downwards


def test_look_at_along_up_is_still_a_rotation():
    cam_from_world = g.look_at(np.array([0, 0, 3.0]), np.zeros(3), np.array([0, 0, 1.0]))
    assert np.allclose(cam_from_world[:3, :3] @ cam_from_world[:3, :3].T, np.eye(3))
    assert np.isclose(np.linalg.det(cam_from_world[:3, :3]), 1)


def test_pixels_are_counted_from_the_corner():
    """A worked example: a focal length of 100 px, a point one unit ahead and a tenth to the right and down."""
    camera = Camera(np.array([[100, 0, 32], [0, 100, 24], [0, 0, 1.0]]), np.eye(4), (48, 64))
    xy, depth = g.project(camera, np.array([[0.1, 0.1, 1.0]]))
    assert np.allclose(xy, [[42, 34]])
    assert depth[0] == 1
    centers = g.pixel_centers((48, 64))
    assert centers.shape == (48, 64, 2)
    assert tuple(centers[0, 0]) == (0.5, 0.5) and tuple(centers[47, 63]) == (63.5, 47.5)
    assert np.allclose(g.rays_through(camera, np.array([[32.0, 24.0]])), [[0, 0, 1]])


@pytest.mark.parametrize("angle_deg", [0, 1e-5, 30, 90, 179.9999, 180])
def test_angles_are_exact_at_both_ends(angle_deg):
    a = np.array([2.0, 0, 0])
    b = 3 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg)), 0])
    assert g.angle_between_deg(a, b) == pytest.approx(angle_deg, abs=1e-9)


def test_view_angle_is_seen_from_the_centre():
    camera0, camera1 = camera_at((2, 0, 0)), camera_at((0, 5, 0))
    assert g.view_angle_deg(camera0, camera1, np.zeros(3)) == pytest.approx(90)
    assert g.view_angle_deg(camera0, camera0, np.zeros(3)) == 0
