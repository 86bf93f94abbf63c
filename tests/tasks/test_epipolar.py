"""The epipolar score: exact points lie on their lines, the oracle scores 100 %, noise scores chance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured_worlds import depth_capture, posed_images, track_capture
from equiview import geometry as g
from equiview.errors import EquiviewError
from equiview.metrics import epipolar
from equiview.metrics.epipolar import epipolar_shares, symmetric_distance_px
from equiview.models.oracle import NoiseExtractor, PictureOracle
from equiview.tasks.epipolar import EpipolarConfig, run, score_epipolar
from equiview.types import Camera, Capture
from worlds import camera_at, sphere_ring

HW = (192, 192)
FEW = settings(max_examples=40, deadline=None)


def random_pair(seed: int):
    rng = np.random.default_rng(seed)
    cameras = [camera_at(rng.normal(size=3) * 3, (80, 100), rng.uniform(50, 900)) for _ in range(2)]
    points = rng.uniform(-0.5, 0.5, (20, 3))
    return cameras, [g.project(camera, points)[0] for camera in cameras]


@FEW
@given(st.integers(0, 2**32 - 1))
def test_exact_points_lie_on_their_lines(seed):
    (one, other), (xy0, xy1) = random_pair(seed)
    fundamental = g.fundamental_matrix(one, other)
    assert np.linalg.norm(fundamental) == pytest.approx(1)
    assert abs(np.linalg.det(fundamental)) < 1e-9
    assert symmetric_distance_px(fundamental, xy0, xy1).max() < 1e-5
    # The pictures in the other order: the transposed matrix (up to its sign), the same distances.
    back = g.fundamental_matrix(other, one)
    assert np.allclose(np.abs(back), np.abs(fundamental.T), atol=1e-9)
    wrong = xy1 + [3, -2]
    assert np.allclose(symmetric_distance_px(fundamental, xy0, wrong), symmetric_distance_px(back, wrong, xy0))


@FEW
@given(st.integers(0, 2**32 - 1))
def test_lines_are_those_of_the_matrix(seed):
    (one, other), (xy0, _) = random_pair(seed)
    plain = g.unit_lines(np.c_[xy0, np.ones(len(xy0))] @ g.fundamental_matrix(one, other).T)
    lines = g.epipolar_lines(one, other, xy0)
    assert np.allclose(np.abs((lines * plain).sum(1)), (lines**2).sum(1), rtol=1e-6)


def test_a_rectified_pair_has_its_rows():
    """Two cameras side by side: the line of a pixel is its row, and the distance the difference of rows."""
    left = Camera(np.diag([100.0, 100, 1]), np.eye(4), (50, 50))
    shifted = np.eye(4)
    shifted[0, 3] = -2.0
    fundamental = g.fundamental_matrix(left, Camera(left.intrinsics, shifted, (50, 50)))
    xy0, xy1 = np.array([[10.0, 20], [30, 40]]), np.array([[5.0, 20], [1, 43]])
    assert symmetric_distance_px(fundamental, xy0, xy1) == pytest.approx([0, 3])
    assert symmetric_distance_px(fundamental, xy0, xy1, (2.0, 0.5)) == pytest.approx([0, 6])


def test_no_baseline_is_an_error():
    camera = camera_at((2.0, 0, 0.3))
    turned = Camera(camera.intrinsics, camera.cam_from_world.copy(), camera.hw)
    turned.cam_from_world[:3] = g.look_at(camera.center_in_world, np.ones(3), np.array([0, 0, 1.0]))[:3]
    for other in (camera, turned):
        with pytest.raises(EquiviewError, match="baseline"):
            g.fundamental_matrix(camera, other)


def test_chance_is_the_mean_over_other_targets(monkeypatch):
    (one, other), (xy0, xy1) = random_pair(3)
    fundamental = g.fundamental_matrix(one, other)
    plain = np.array([[symmetric_distance_px(fundamental, a[None], b[None])[0] for b in xy1] for a in xy0])
    off = plain[~np.eye(len(plain), dtype=bool)]
    for chunk in (1, 50, 10**6):
        monkeypatch.setattr(epipolar, "CHUNK_DISTANCES", chunk)
        shares = epipolar_shares(fundamental, xy0, xy1, (2.5, 20))
        assert shares["epipolar_inliers@2.5px"] == 100
        assert shares["epipolar_chance@2.5px"] == pytest.approx(100 * (off <= 2.5).mean())
        assert shares["epipolar_above_chance@20px"] == pytest.approx(100 - 100 * (off <= 20).mean())
    with pytest.raises(EquiviewError, match="two matches"):
        epipolar_shares(fundamental, xy0[:1], xy1[:1], (4,))


@pytest.fixture(scope="module")
def ring():
    views = sphere_ring(8, HW, focal_px=210.0)
    return views, Capture("ring", posed_images(views, depth=False))


def test_the_oracle_is_right_and_noise_is_chance(ring):
    views, capture = ring
    config = EpipolarConfig(thresholds_px=(2, 4), long_side_px=192, max_angle_deg=50)
    rows, right = score_epipolar(PictureOracle(views, stride_px=4), capture, config)
    assert len(rows) == 8 and all(40 < row["angle_deg"] < 50 for row in rows)
    # What only one picture sees is matched along the silhouette: a few per cent are off by more than half a token.
    assert right["metrics"]["epipolar_inliers@2px"]["value"] > 94
    assert right["metrics"]["epipolar_inliers@4px"]["value"] > 98
    assert right["metrics"]["epipolar_chance@2px"]["value"] < 15
    _, noise = score_epipolar(NoiseExtractor(stride_px=4), capture, config)
    for k in (2, 4):
        low, high = noise["metrics"][f"epipolar_above_chance@{k}px"]["ci95"]
        assert low - 1 < 0 < high + 1
        assert abs(noise["metrics"][f"epipolar_above_chance@{k}px"]["value"]) < 2


def test_unit_and_size_of_the_capture_change_nothing(ring):
    """Twice the long side and twice the pixels are the same share; tracks and depth change only the angle."""
    views, capture = ring
    oracle = PictureOracle(views, stride_px=8)
    one = run(oracle, capture, EpipolarConfig(thresholds_px=(2,), long_side_px=192))
    two = run(oracle, capture, EpipolarConfig(thresholds_px=(4,), long_side_px=384))
    for a, b in zip(one, two, strict=True):
        assert a["epipolar_inliers@2px"] == b["epipolar_inliers@4px"]
        assert a["epipolar_chance@2px"] == b["epipolar_chance@4px"]
    for made in (depth_capture(), track_capture()):
        rows = run(NoiseExtractor(stride_px=4), made, EpipolarConfig(max_angle_deg=70))
        assert len(rows) == 6 and all(row["angle_deg"] == pytest.approx(58, abs=3) for row in rows)


def test_pairs_are_drawn_limited_and_reported(ring):
    _, capture = ring
    seen = []
    config = EpipolarConfig(max_angle_deg=180, max_pairs=5, seed=1)
    rows, summary = score_epipolar(NoiseExtractor(stride_px=8), capture, config, lambda *at: seen.append(at))
    assert len(rows) == 5 and seen[-1] == ("epipolar", 5, 5)
    assert rows == run(NoiseExtractor(stride_px=8), capture, config)
    metric = summary["metrics"]["epipolar_inliers@8px"]
    assert metric["n"] == 5 == sum(one["n"] for one in metric["by_angle"].values())


def test_failures_are_rows(ring):
    _, capture = ring
    images = list(capture.images)
    same = replace(images[0], name="again", mask=None)
    small = np.zeros(HW, bool)
    small[60, 60] = True
    twice = replace(capture, images=[images[0], same, replace(images[1], mask=small)])
    rows, summary = score_epipolar(NoiseExtractor(stride_px=8), twice)
    assert summary["failed"] == {"both pictures were taken from one place": 1, "fewer than 10 mutual matches": 2}
    assert [row["pair"] for row in rows] == [["ring0", "again"], ["ring0", "ring1"], ["again", "ring1"]]
    assert summary["metrics"]["epipolar_inliers@4px"] == {"value": None, "ci95": None, "n": 0} | {
        "by_angle": summary["metrics"]["epipolar_inliers@4px"]["by_angle"]
    }


def test_a_stereo_bench_has_angle_zero(ring):
    _, capture = ring
    image = capture.images[0]
    beside = image.camera.cam_from_world.copy()
    beside[0, 3] -= 1.0
    other = replace(image, name="right", camera=Camera(image.camera.intrinsics, beside, HW))
    (row,) = run(NoiseExtractor(stride_px=8), replace(capture, images=[image, other]))
    assert row["angle_deg"] == 0 and "failed" not in row


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thresholds_px": ()}, "thresholds_px"),
        ({"thresholds_px": (0,)}, "thresholds_px"),
        ({"max_pairs": 0}, "max_pairs"),
        ({"min_matches": 1}, "min_matches"),
        ({"max_angle_deg": 10}, "the closest at"),
    ],
)
def test_bad_settings(ring, change, said):
    with pytest.raises(EquiviewError, match=said):
        run(NoiseExtractor(), ring[1], EpipolarConfig(**change))


def test_one_picture_is_not_enough(ring):
    with pytest.raises(EquiviewError, match="two pictures"):
        run(NoiseExtractor(), replace(ring[1], images=ring[1].images[:1]))
