"""Turned pictures: pixels, cameras and pictures turn together."""

import numpy as np
import pytest

from equiview.geometry import project
from equiview.matching.pose.references import picture_of
from equiview.matching.pose.rolls import rolled_camera, rolled_image, unrolled_xy, upright_roll
from worlds import camera_at, sphere_view

CAMERA = camera_at((1.0, 0.7, 0.4), hw=(60, 80))


@pytest.mark.parametrize("roll", range(-1, 5))
def test_pixels_go_with_the_picture(roll):
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    turned = rolled_image(image, roll)
    rows, cols = np.indices(turned.shape[:2])
    xy = np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5], 1)
    back = np.floor(unrolled_xy(xy, (60, 80), roll)).astype(int)
    np.testing.assert_array_equal(image[back[:, 1], back[:, 0]], turned.reshape(-1, 3))


@pytest.mark.parametrize("roll", range(4))
def test_the_turned_camera_takes_the_turned_picture(roll):
    points = np.random.default_rng(1).uniform(-0.3, 0.3, (20, 3))
    turned = rolled_camera(CAMERA, roll)
    assert turned.hw == ((60, 80) if roll % 2 == 0 else (80, 60))
    np.testing.assert_allclose(unrolled_xy(project(turned, points)[0], (60, 80), roll), project(CAMERA, points)[0])
    np.testing.assert_allclose(turned.center_in_world, CAMERA.center_in_world)
    assert upright_roll(CAMERA, turned) == -roll % 4


@pytest.mark.parametrize("roll", range(1, 4))
def test_a_turned_view_is_that_of_the_turned_camera(roll):
    view = sphere_view(CAMERA)
    turned = picture_of(view, roll)
    xy, _ = project(turned.camera, turned.points_in_world[turned.mask].astype(float))
    rows, cols = np.nonzero(turned.mask)
    np.testing.assert_allclose(xy, np.stack([cols + 0.5, rows + 0.5], 1), atol=1e-4)
