"""Scores of a pose: parity with reference code, laws, and the BOP errors by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from equiview.metrics.pose import (
    add_error,
    adds_error,
    bop_average_recalls,
    lateral_depth_error,
    mspd,
    mssd,
    recall_hits,
    rotation_error_deg,
    symmetry_transforms,
    translation_error,
    vsd,
)
from equiview.types import Camera
from worlds import camera_at


def pose(turn_deg=(0, 0, 0), shift=(0, 0, 2.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3))


@pytest.mark.shared
def test_parity_of_pose_errors(golden):
    stored = np.load(golden / "f07_query_pose_error.npz")
    cases = sorted({key.split("/")[0] for key in stored})
    for case in cases:
        found, true = (stored[f"{case}/in/{name}"].astype(np.float64) for name in ("pred", "gt"))
        expected = float(stored[f"{case}/out/R_err_deg_m"])
        turn = rotation_error_deg(found, true)
        if np.isnan(expected):  # the trace is below -1 there; here it is clamped on both sides
            assert turn == 180
        else:
            assert turn == pytest.approx(expected, abs=1e-4 if expected < 0.1 or expected > 179 else 1e-6) or (
                stored[f"{case}/in/pred"].dtype == np.float32 and turn == pytest.approx(expected, abs=1e-3)
            )
        for unit, to_cm in (("m", 100), ("cm", 1), ("mm", 0.1)):
            shift = translation_error(found, true) * to_cm
            assert shift == pytest.approx(float(stored[f"{case}/out/t_err_cm_{unit}"]), rel=1e-6, abs=1e-9)


@pytest.mark.shared
def test_parity_of_recalls(golden):
    stored = np.load(golden / "f07b_pose_recall.npz")
    turn, shift = (stored[f"aggregate/in/{name}"] for name in ("R_errs", "t_errs"))
    hits = recall_hits(turn, shift)
    for limit in (1, 3, 5):
        assert hits[f"pose_recall@{limit}cm{limit}deg"].mean() == float(
            stored[f"aggregate/out/{limit}cm_{limit}degree"]
        )


def test_recall_is_strict_and_nan_is_a_failure():
    assert recall_hits(np.array([5.0, 4.9, np.nan, np.inf]), None)["pose_recall@5deg"].tolist() == [0, 1, 0, 0]
    assert not recall_hits(np.array([1.0, 1.0]), np.array([5.0, np.nan]))["pose_recall@5cm5deg"].any()


def test_rotation_error_is_the_angle():
    for angle in (0.0, 1e-4, 3, 90, 179.9, 180):
        assert rotation_error_deg(pose((angle, 0, 0)), pose()) == pytest.approx(angle, abs=2e-6)


def test_lateral_and_depth_make_up_the_whole():
    found, true = pose(shift=(0.1, 0.3, 2.5)), pose(shift=(0.2, -0.1, 2.0))
    lateral, depth = lateral_depth_error(found, true)
    assert np.hypot(lateral, depth) == pytest.approx(translation_error(found, true))
    assert lateral_depth_error(pose(shift=(0, 0, 3)), pose()) == pytest.approx((0, 1))
    assert lateral_depth_error(pose(shift=(0.1, 0, 2)), pose()) == pytest.approx((0.1, 0))


def test_world_frame_and_order_do_not_matter(points):
    found, true, world = pose((3, 5, 7), (0, 0.1, 2)), pose(), pose((40, 10, -70), (1, 2, 3))
    other = [one @ np.linalg.inv(world) for one in (found, true)]
    moved = points @ world[:3, :3].T + world[:3, 3]
    assert rotation_error_deg(*other) == pytest.approx(rotation_error_deg(found, true))
    for error in (add_error, adds_error, mssd):
        assert error(*other, moved) == pytest.approx(error(found, true, points))
    assert add_error(found, true, points) == pytest.approx(add_error(true, found, points))


def test_add_of_a_shift_is_the_shift(points):
    assert add_error(pose(shift=(0.3, 0, 2)), pose(), points) == pytest.approx(0.3)
    assert mssd(pose(shift=(0.3, 0, 2)), pose(), points) == pytest.approx(0.3)
    assert adds_error(pose(shift=(0.3, 0, 2)), pose(), points) < 0.3


def test_a_symmetry_is_no_error():
    ring = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    square = np.stack([np.cos(ring), np.sin(ring), 0 * ring], 1)
    turned = pose((0, 0, 90), (0, 0, 4))
    quarter = [pose((0, 0, 90 * k), (0, 0, 0)) for k in range(4)]
    camera = Camera(camera_at((0, 0, 4)).intrinsics, pose(shift=(0, 0, 4)), (64, 64))
    assert mssd(turned, pose(shift=(0, 0, 4)), square, quarter) == pytest.approx(0, abs=1e-12)
    assert mssd(turned, pose(shift=(0, 0, 4)), square) == pytest.approx(np.sqrt(2))
    assert mspd(turned, camera, square, quarter) == pytest.approx(0, abs=1e-10)
    assert mspd(turned, camera, square) == pytest.approx(np.sqrt(2) * 70 / 4)
    assert adds_error(turned, pose(shift=(0, 0, 4)), square) == pytest.approx(0, abs=1e-12)


def test_symmetries_as_a_list():
    info = {"symmetries_discrete": [np.diag([-1.0, -1, 1, 1]).ravel().tolist()]}
    assert len(symmetry_transforms(info)) == 2
    about = {"symmetries_continuous": [{"axis": [0, 0, 2.0], "offset": [1.0, 0, 0]}]}
    turns = symmetry_transforms(about, max_step=0.1)
    assert len(turns) == 32  # ceil(pi / 0.1)
    for turn in turns:
        np.testing.assert_allclose(turn @ [1, 0, 5, 1], [1, 0, 5, 1], atol=1e-12)
        assert np.linalg.det(turn[:3, :3]) == pytest.approx(1)
    angles = [rotation_error_deg(turn, np.eye(4)) for turn in turns]
    assert angles[1] == pytest.approx(360 / 32)
    assert len(symmetry_transforms(info | about, max_step=0.1)) == 64


def test_vsd_by_hand():
    depth = np.zeros((4, 4))
    depth[1:3, 1:3] = 10.0
    intrinsics = np.array([[1e6, 0, 2], [0, 1e6, 2], [0, 0, 1.0]])  # so long that rays are parallel
    kwargs = {"delta": 0.5, "diameter": 10.0, "taus": (0.05, 0.2)}
    nothing = np.zeros((4, 4))
    assert vsd(depth, depth, nothing, intrinsics, **kwargs) == [0, 0]
    assert vsd(nothing, nothing, nothing, intrinsics, **kwargs) == [1, 1]
    farther = np.where(depth > 0, 11.0, 0)  # a tenth of the diameter
    assert vsd(farther, depth, nothing, intrinsics, **kwargs) == [1, 0]
    moved = np.roll(depth, 1, axis=1)  # two of four pixels shared: 4 of 6 do not fit
    assert vsd(moved, depth, nothing, intrinsics, **kwargs) == pytest.approx([4 / 6, 4 / 6])
    hidden = np.full((4, 4), 8.0)  # something stands before both
    assert vsd(depth, depth, hidden, intrinsics, **kwargs) == [1, 1]
    assert vsd(farther, depth, np.where(depth > 0, 10.0, 5.0), intrinsics, **kwargs) == [1, 0]  # seen where truth is


def test_average_recalls():
    found = bop_average_recalls(
        {"mssd": [0.0, np.inf], "mspd": [12.0, np.inf], "vsd": [[0.0] * 10, [1.0] * 10]}, 1, 640
    )
    assert found == {"ar_vsd": 50, "ar_mssd": 50, "ar_mspd": 40, "ar": pytest.approx(140 / 3)}
