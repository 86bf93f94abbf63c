"""PnP: exact, seeded, indifferent to the world frame, and honest when there is no pose."""

import numpy as np
import pytest

from equiview.errors import EquiviewError
from equiview.geometry import inverse, project, transform
from equiview.matching.pose import solve_pnp
from equiview.metrics.pose import rotation_error_deg, translation_error
from equiview.types import Camera
from worlds import camera_at


@pytest.fixture
def world():
    camera = camera_at((1.2, -0.8, 0.9), hw=(480, 640), focal_px=700.0)
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (80, 3))
    return camera, points, project(camera, points)[0]


def solve(world, xy, points, **kwargs):
    return solve_pnp(xy, points, world[0].intrinsics, **{"threshold_px": 3.0} | kwargs)


def test_exact_matches_give_the_exact_pose(world):
    camera, points, xy = world
    found = solve(world, xy, points)
    assert rotation_error_deg(found.cam_from_world, camera.cam_from_world) < 1e-4
    assert translation_error(found.cam_from_world, camera.cam_from_world) < 1e-6
    assert found.inliers.all() and found.n_matches == 80 and found.residual_px < 1e-3


def test_half_wrong_matches_do_not_matter(world):
    camera, points, xy = world
    wrong = xy.copy()
    wrong[::2] = np.random.default_rng(2).uniform(0, 480, (40, 2))
    found = solve(world, wrong, points)
    assert rotation_error_deg(found.cam_from_world, camera.cam_from_world) < 1e-3
    assert found.inliers[1::2].all() and found.n_inliers < 45


def test_same_seed_same_pose(world):
    _, points, xy = world
    noisy = xy + np.random.default_rng(3).normal(0, 2, xy.shape)
    a, b = (solve(world, noisy, points, seed=5) for _ in range(2))
    np.testing.assert_array_equal(a.cam_from_world, b.cam_from_world)
    np.testing.assert_array_equal(a.covariance, b.covariance)


def test_the_world_frame_and_unit_do_not_matter(world):
    camera, points, xy = world
    noisy = xy + np.random.default_rng(3).normal(0, 0.5, xy.shape)
    moved_from_world = camera_at((3, 5, 1)).cam_from_world
    before = solve(world, noisy, points)
    after = solve(world, noisy, 1000 * transform(moved_from_world, points))
    there = after.cam_from_world.copy()
    there[:3, 3] /= 1000
    there = there @ moved_from_world
    assert rotation_error_deg(there, before.cam_from_world) < 1e-3
    assert translation_error(there, before.cam_from_world) < 1e-5
    assert after.rotation_sd_deg == pytest.approx(before.rotation_sd_deg, rel=1e-3)
    assert np.isfinite(inverse(there)).all()


def test_skew_is_taken_into_account(world):
    camera, points, _ = world
    matrix = camera.intrinsics.copy()
    matrix[0, 1] = 40.0
    skewed = Camera(matrix, camera.cam_from_world, camera.hw)
    found = solve_pnp(project(skewed, points)[0], points, matrix, threshold_px=2.0)
    assert rotation_error_deg(found.cam_from_world, camera.cam_from_world) < 1e-4


def test_covariance_is_that_of_repeated_noise(world):
    camera, points, xy = world
    generator = np.random.default_rng(4)
    found = [solve(world, xy + generator.normal(0, 1.0, xy.shape), points, threshold_px=6.0) for _ in range(40)]
    errors = np.array([rotation_error_deg(one.cam_from_world, camera.cam_from_world) for one in found])
    expected = np.mean([one.rotation_sd_deg for one in found])
    assert np.sqrt((errors**2).mean()) == pytest.approx(expected, rel=0.35)
    for one in found[:3]:
        np.testing.assert_allclose(one.covariance, one.covariance.T, atol=1e-12)
        assert (np.linalg.eigvalsh(one.covariance) > 0).all()


def test_nothing_from_nothing(world):
    _, points, xy = world
    assert solve(world, xy[:3], points[:3]) is None
    assert solve(world, xy[:5], points[:5]) is None  # fewer than the inliers asked for
    random = np.random.default_rng(5).uniform(0, 480, xy.shape)
    found = solve(world, random, points, min_inliers=20)
    assert found is None


@pytest.mark.parametrize("bad", [np.full((3, 3), np.nan), np.eye(2), np.diag([-1.0, 1, 1])])
def test_bad_intrinsics(world, bad):
    with pytest.raises(EquiviewError, match="intrinsics: expected a finite 3x3 camera matrix"):
        solve_pnp(world[2], world[1], bad, threshold_px=3.0)
