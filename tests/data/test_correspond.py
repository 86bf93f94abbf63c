"""Correspondences: hand-made scenes, the 0/1 swap, and a change of world frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from equiview.data.correspond import correspond, sample_surface, visible_in
from equiview.errors import EquiviewError
from equiview.geometry import project
from worlds import camera_at, make_view, moved, sphere_ring, sphere_view, world_rays


def test_the_same_view_sees_all_its_points_where_they_are():
    view = sphere_view(camera_at((2, 0, 0)))
    xy0 = sample_surface(view, 200, seed=0)
    truth = correspond(view, view, xy0)
    # At the very rim the normal is at 90 degrees and float32 may turn it away.
    assert truth.overlap > 0.99
    assert np.abs(truth.xy1 - truth.xy0).max() < 1e-3
    assert truth.angle_deg == 0


@given(a=st.floats(0, 2 * np.pi), b=st.floats(0, 2 * np.pi), z=st.floats(-1.5, 1.5))
@settings(max_examples=25, deadline=None)
def test_visible_on_a_sphere_is_what_the_formula_says(a, b, z):
    """A point of a sphere (radius r) is seen from c exactly when p . c > r^2: nothing else can hide it."""
    view_0 = sphere_view(camera_at((2 * np.cos(a), 2 * np.sin(a), 0.3), (96, 96), 120.0))
    view_1 = sphere_view(camera_at((2 * np.cos(b), 2 * np.sin(b), z), (96, 96), 120.0))
    rows, cols = np.nonzero(view_0.mask)
    points = view_0.points_in_world[rows, cols].astype(float)
    _, visible = visible_in(view_1, points, view_0.normals_in_world[rows, cols])
    margin = points @ view_1.camera.center_in_world - 0.25
    assert visible[margin > 0.05].all()
    assert not visible[margin < -1e-4].any()


def test_a_wall_in_front_hides_and_leaves_the_rest():
    """A small square floats before a large one: view 1 looks straight, view 0 from the side sees behind it."""

    def two_squares(eye):
        camera = camera_at(eye, (128, 128), 150.0)
        origin, rays = world_rays(camera)
        points, mask = np.full((128, 128, 3), np.nan), np.zeros((128, 128), bool)
        for x, half in ((-0.3, 0.5), (0.0, 0.15)):  # far square first, near square over it
            distance = (x - origin[0]) / rays[..., 0]
            hit = origin + distance[..., None] * rays
            on = (np.abs(hit[..., 1:]) < half).all(-1)
            points[on], mask = hit[on], mask | on
        return make_view(camera, mask, points, np.broadcast_to([1.0, 0, 0], points.shape), "squares")

    view_0, view_1 = two_squares((1.6, 1.2, 0.0)), two_squares((2.0, 0.0, 0.0))
    rows, cols = np.nonzero(view_0.mask)
    points = view_0.points_in_world[rows, cols].astype(float)
    xy, visible = visible_in(view_1, points, view_0.normals_in_world[rows, cols])
    # Exact answer: a far point is hidden when the ray to it passes the near square (plane x = 0).
    eye = view_1.camera.center_in_world
    crossing = eye + (points - eye) * (eye[0] / (eye[0] - points[:, :1]))
    far, inset = points[:, 0] < -0.2, np.abs(crossing[:, 1:]).max(1)
    assert not visible[far & (inset < 0.14)].any()
    assert visible[far & (inset > 0.16)].all()
    assert visible[~far].all()


def test_the_back_of_a_thin_sheet_is_not_the_front():
    """Two views on opposite sides of one sheet share every 3D point and no surface."""

    def sheet(eye):
        camera = camera_at(eye)
        origin, rays = world_rays(camera)
        points = origin - (origin[0] / rays[..., :1]) * rays
        mask = (np.abs(points[..., 1:]) < 0.4).all(-1)
        normal = np.broadcast_to([np.sign(origin[0]), 0.0, 0.0], points.shape)
        return make_view(camera, mask, np.where(mask[..., None], points, np.nan), normal, "sheet")

    front, back = sheet((2, 0.2, 0)), sheet((-2, 0.2, 0))
    assert len(correspond(front, back, sample_surface(front, 100, 0))) == 0
    assert correspond(front, sheet((2, -0.5, 0)), sample_surface(front, 100, 0)).overlap == 1


def test_swapping_the_views_swaps_the_pixels():
    view_0, view_1 = sphere_ring(8)[:2]
    there = correspond(view_0, view_1, sample_surface(view_0, 300, 1))
    _, back_visible = visible_in(view_0, there.points_in_world, there.points_in_world / 0.5)
    back_xy, _ = project(view_0.camera, there.points_in_world)
    assert back_visible.mean() > 0.99
    assert np.abs(back_xy - there.xy0).max() < 1e-3
    reverse = correspond(view_1, view_0, sample_surface(view_1, 300, 1))
    assert reverse.angle_deg == pytest.approx(there.angle_deg)
    assert reverse.overlap == pytest.approx(there.overlap, abs=0.1)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_change_of_world_frame_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    new_from_world = np.eye(4)
    new_from_world[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    new_from_world[:3, 3] = rng.normal(0, 1, 3)
    view_0, view_1 = sphere_ring(7)[:2]
    xy0 = sample_surface(view_0, 200, seed)
    before = correspond(view_0, view_1, xy0)
    after = correspond(
        moved(view_0, new_from_world), moved(view_1, new_from_world), xy0, center_in_world=new_from_world[:3, 3]
    )
    assert after.angle_deg == pytest.approx(before.angle_deg, abs=1e-6)
    both = np.intersect1d(before.index, after.index)
    # Points on the very limit of visibility may be decided by float32 rounding.
    assert len(both) >= max(len(before), len(after)) - 3
    order = [np.searchsorted(c.index, both) for c in (before, after)]
    assert np.abs(before.xy1[order[0]] - after.xy1[order[1]]).max() < 1e-3


def test_sampling_is_seeded_and_never_repeats():
    view = sphere_view(camera_at((2, 0, 0)))
    first, again = sample_surface(view, 150, 3), sample_surface(view, 150, 3)
    assert np.array_equal(first, again)
    assert len(np.unique(first, axis=0)) == 150
    assert not np.array_equal(first, sample_surface(view, 150, 4))
    assert len(sample_surface(view, 10**6, 0)) == view.mask.sum()


def test_an_empty_mask_is_an_error():
    view = sphere_view(camera_at((2, 0, 0)), radius=1e-6)
    with pytest.raises(EquiviewError, match="empty mask"):
        sample_surface(view, 10, 0)


def test_a_nan_pose_is_an_error():
    bad = np.eye(4)
    bad[0, 3] = np.nan
    with pytest.raises(EquiviewError, match="finite 4x4"):
        type(camera_at((2, 0, 0)))(np.eye(3), bad, (4, 4))
