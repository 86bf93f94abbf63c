"""Triangulation: exact on exact pixels, and honest about what speaks against a point."""

import numpy as np
import pytest

from equiview.errors import EquiviewError
from equiview.geometry import project, triangulate
from worlds import camera_at, ring_eyes


@pytest.fixture
def world():
    cameras = [camera_at(eye) for eye in ring_eyes(8)[:3]]
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))
    return cameras, points, np.stack([project(camera, points)[0] for camera in cameras])


def test_exact_pixels_give_exact_points(world):
    cameras, points, xy = world
    for views in ([0, 1], [0, 1, 2]):
        found = triangulate([cameras[v] for v in views], xy[views])
        np.testing.assert_allclose(found.points_in_world, points, atol=1e-9)
        assert found.error_px.max() < 1e-7
        assert found.in_front.all()
        assert found.accepted(1e-6, 5.0).all()


def test_only_views_that_see_a_point_count(world):
    cameras, points, xy = world
    seen = np.ones(xy.shape[:2], bool)
    seen[2, ::2] = False
    wrong = xy.copy()
    wrong[2, ::2] += 30
    np.testing.assert_allclose(triangulate(cameras, wrong, seen).points_in_world, points, atol=1e-9)
    wrong[2, ::2] = np.nan  # a pixel that is not finite is not seen
    np.testing.assert_allclose(triangulate(cameras, wrong).points_in_world, points, atol=1e-9)
    seen[1:, 0] = False
    assert np.isnan(triangulate(cameras, xy, seen).points_in_world[0]).all()
    assert not triangulate(cameras, xy, seen).accepted(1.0, 1.0)[0]


def test_reprojection_error_and_parallax(world):
    cameras, _, xy = world
    moved = xy.copy()
    moved[1, 0] += [0, 20]
    found = triangulate(cameras[:2], moved[:2])
    assert found.error_px[0] > 5 and found.error_px[1:].max() < 1e-7
    assert not found.accepted(2.0, 5.0)[0]
    assert not found.accepted(2.0, 60.0).any()  # the cameras are 45 degrees apart, a little more for near points
    np.testing.assert_array_less(30, found.parallax_deg[1:])


def test_points_behind_a_camera_are_refused(world):
    cameras, _, _ = world
    behind = 3.0 * cameras[0].center_in_world[None]
    xy = np.stack([project(camera, behind)[0] for camera in cameras[:2]])
    found = triangulate(cameras[:2], xy)
    np.testing.assert_allclose(found.points_in_world, behind, atol=1e-8)
    assert not found.in_front[0] and not found.accepted(1.0, 0.0)[0]


def test_one_view_is_refused_and_no_points_are_fine(world):
    cameras, _, xy = world
    with pytest.raises(EquiviewError, match="two cameras or more"):
        triangulate(cameras[:1], xy[:1])
    assert triangulate(cameras, xy[:, :0]).points_in_world.shape == (0, 3)
