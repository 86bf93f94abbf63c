"""Which points a camera sees, on a ball where the answer is a cosine; and a picture behind the object."""

import numpy as np
import pytest

from equiview.geometry import project
from equiview.render import RenderConfig, render_view, ring
from equiview.render.visibility import covered_by_mesh, inside_frame, points_seen
from render.makers import mesh_of, sphere

BALL = mesh_of(sphere(120, 160), name="ball")
CAMERA = ring(1, hw=(64, 64))[0]


def test_a_point_of_a_ball_is_seen_when_it_faces_the_camera():
    points = BALL.vertices[np.random.default_rng(0).permutation(len(BALL.vertices))[:2000]]
    xy, seen = points_seen(BALL, CAMERA, points)
    np.testing.assert_allclose(xy, project(CAMERA, points)[0])
    to_camera = CAMERA.center_in_world - points
    cosine = (points * to_camera).sum(1) / (0.5 * np.linalg.norm(to_camera, axis=1))
    assert (seen == (cosine > 0))[np.abs(cosine) > 0.05].all()
    assert 0.3 < seen.mean() < 0.5


def test_points_outside_the_frame_or_behind_are_not_seen():
    shifted = CAMERA.cam_from_world.copy()
    shifted[0, 3] += 3
    assert not points_seen(BALL, type(CAMERA)(CAMERA.intrinsics, shifted, (64, 64)), BALL.vertices)[1].any()
    shifted[:3, 3] = (0, 0, -3)
    assert not points_seen(BALL, type(CAMERA)(CAMERA.intrinsics, shifted, (64, 64)), BALL.vertices)[1].any()
    assert points_seen(BALL, CAMERA, np.zeros((0, 3)))[1].shape == (0,)


def test_covered_places_are_those_of_the_mask():
    view = render_view(BALL, CAMERA)
    centers = np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2) + 0.5
    assert (covered_by_mesh(BALL, CAMERA, centers).reshape(64, 64) == view.mask).all()
    assert inside_frame(centers, (64, 64)).all()


@pytest.mark.parametrize("level", [0.0, 90.0])
def test_a_picture_behind_shows_where_the_object_is_not(level):
    behind = np.full((64, 64, 3), level, np.float32)
    behind[:10] = 200
    view, black = render_view(BALL, CAMERA, behind=behind), render_view(BALL, CAMERA, RenderConfig())
    assert (view.rgb[:9] == 200).all() and (view.rgb[-1] == level).all()
    assert (view.rgb[view.mask & (black.rgb.min(-1) > 150)] == black.rgb[view.mask & (black.rgb.min(-1) > 150)]).all()
    assert (view.mask == black.mask).all() and behind[20, 20, 0] == level
