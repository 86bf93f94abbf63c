"""Alignment of two sets of cameras: exact on exact data, indifferent to the frame, not moved by outliers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from equiview.data.sfm.align import compare_cameras, robust_umeyama, rotation_angles_deg, umeyama
from equiview.errors import EquiviewError
from equiview.geometry import look_at


def cameras(n: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([look_at(eye, np.zeros(3), np.array([0, 0, 1.0])) for eye in rng.normal(size=(n, 3)) + [0, 0, 3]])


def moved(cam_from_a: np.ndarray, scale: float, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Describe cameras in frame b, where x_in_b = scale * rotation @ x_in_a + translation."""
    out = np.tile(np.eye(4), (len(cam_from_a), 1, 1))
    for new, old in zip(out, cam_from_a, strict=True):
        center = -old[:3, :3].T @ old[:3, 3]
        new[:3, :3] = old[:3, :3] @ rotation.T
        new[:3, 3] = -new[:3, :3] @ (scale * rotation @ center + translation)
    return out


ROTATION, TRANSLATION = Rotation.from_euler("xyz", [70, -20, 130], degrees=True).as_matrix(), np.array([3.0, -1, 9])


@pytest.mark.parametrize("seed", range(5))
def test_umeyama_finds_the_similarity(seed):
    x = np.random.default_rng(seed).normal(size=(7, 3))
    found = umeyama(x, 2.5 * x @ ROTATION.T + TRANSLATION)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, ROTATION, atol=1e-12)
    np.testing.assert_allclose(found.translation, TRANSLATION, atol=1e-12)


def test_a_mirrored_set_is_not_fitted_by_a_mirror():
    x = np.random.default_rng(0).normal(size=(9, 3))
    found = umeyama(x, x * [1, 1, -1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_points_in_a_plane_are_enough():
    x = np.random.default_rng(0).normal(size=(6, 3)) * [1, 1, 0]
    found = umeyama(x, x @ ROTATION.T)
    np.testing.assert_allclose(found.rotation, ROTATION, atol=1e-12)


def test_the_same_cameras_in_another_frame_do_not_differ():
    given = cameras()
    found = compare_cameras(given, moved(given, 0.3, ROTATION, TRANSLATION))
    assert found.rotation_error_deg_max < 1e-6 and found.position_error_percent_max < 1e-6
    assert found.scale == pytest.approx(1 / 0.3) and found.left_out == 0 and found.images == 12


def test_errors_do_not_depend_on_the_frame_of_the_recovered_cameras():
    given, off = cameras(), cameras()
    off[:, :3, 3] += np.random.default_rng(1).normal(size=(12, 3)) * 0.02
    one, two = compare_cameras(given, off), compare_cameras(given, moved(off, 7.0, ROTATION, TRANSLATION))
    assert one.position_error_percent_median == pytest.approx(two.position_error_percent_median, rel=1e-6)
    assert one.rotation_error_deg_max == pytest.approx(two.rotation_error_deg_max, rel=1e-6, abs=1e-9)


def test_a_turned_camera_is_measured_in_degrees():
    given = cameras()
    found = given.copy()
    turn = Rotation.from_euler("y", 5, degrees=True).as_matrix()
    found[3, :3] = turn @ found[3, :3]  # Turned about its own centre: the position stays.
    result = compare_cameras(given, found)
    assert result.rotation_error_deg_max == pytest.approx(5) and result.rotation_error_deg_median < 1e-6
    assert result.position_error_percent_max < 1e-6


def test_position_errors_are_percent_of_the_box_of_the_given_centres():
    given = np.tile(np.eye(4), (8, 1, 1))
    corners = np.array([[x, y, z] for x in (0, 3) for y in (0, 4) for z in (0, 12)], float)
    given[:, :3, 3] = -corners
    found = given.copy()
    found[0, :3, 3] += [0, 0, 26.0]
    result = compare_cameras(given, found)
    assert result.scene_size == pytest.approx(13) and result.left_out == 1
    assert result.position_error_percent_max == pytest.approx(200)


def test_outliers_do_not_move_the_alignment():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    y = 2 * x @ ROTATION.T + TRANSLATION + rng.normal(size=x.shape) * 1e-3
    y[:3] += 20
    found, kept = robust_umeyama(x, y)
    assert not kept[:3].any() and kept[3:].mean() > 0.9
    np.testing.assert_allclose(found.rotation, ROTATION, atol=2e-3)


@pytest.mark.parametrize("x", [np.zeros((5, 3)), np.outer(np.arange(5.0), [1, 2, 3]), np.eye(3)[:2]])
def test_centres_that_fix_no_rotation_are_refused(x):
    with pytest.raises(EquiviewError, match="three that are not on a line"):
        umeyama(x, x)


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 3.0, 90.0, 179.9])
def test_angles_are_exact_near_zero_too(degrees):
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array([0.6, 0, 0.8])).as_matrix()
    assert rotation_angles_deg(turn[None])[0] == pytest.approx(degrees, abs=1e-9)


def test_the_similarity_is_umeyamas_and_the_angles_are_chords():
    """The closed form by singular values, and the angle by the chord, written out once more."""
    rng = np.random.default_rng(1)
    for n in (3, 4, 20):
        a = rng.normal(size=(n, 3))
        turn = Rotation.random(rng=rng).as_matrix()
        b = 2.5 * a @ turn.T + rng.normal(size=3) + 0.05 * rng.normal(size=(n, 3))
        found = umeyama(a, b)
        left, values, right = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)) / n)
        sign = np.array([1, 1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
        np.testing.assert_allclose(found.rotation, (left * sign) @ right, atol=1e-12)
        assert found.scale == pytest.approx((values * sign).sum() / ((a - a.mean(0)) ** 2).sum() * n, rel=1e-12)
        chord = np.linalg.norm(found.rotation[None] - np.eye(3), axis=(1, 2)) / np.sqrt(8)
        np.testing.assert_allclose(
            rotation_angles_deg(found.rotation[None]), np.degrees(2 * np.arcsin(chord)), rtol=1e-9
        )
    small = Rotation.from_rotvec([[1e-7, 0, 0], [0, 0, 0]]).as_matrix()
    np.testing.assert_allclose(rotation_angles_deg(small), [np.degrees(1e-7), 0], rtol=1e-6)
