"""Pairs: the same whatever the order they are asked in, and with points that really correspond."""

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.pairs import (
    PairConfig,
    PairSample,
    Skipped,
    check_objects,
    rotation_between_deg,
    sample_overlapping_pair,
    sample_published_pair,
)
from equiview.geometry import project
from equiview.types import Camera
from worlds import camera_at, sphere_ring, sphere_view

BALL = {"ball": sphere_ring(8)}
PUBLISHED = PairConfig("published", points=3000, max_angle_deg=120.0)


def same(a: PairSample, b: PairSample) -> bool:
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


@pytest.mark.parametrize("sampler", [sample_overlapping_pair, sample_published_pair])
def test_pair_k_depends_on_seed_and_k_alone(sampler):
    objects = BALL | {"small": sphere_ring(5)}
    turned_round = dict(reversed(list(objects.items())))
    forwards = [sampler(objects, PUBLISHED, seed=1, index=k) for k in range(12)]
    backwards = [sampler(turned_round, PUBLISHED, seed=1, index=k) for k in reversed(range(12))]
    for a, b in zip(forwards, reversed(backwards), strict=True):
        assert same(a, b)
    used = {(p.object, p.views) for p in forwards if isinstance(p, PairSample)}
    assert len(used) > 6, "pairs must not repeat themselves"
    other = [sampler(objects, PUBLISHED, seed=2, index=k) for k in range(12)]
    assert not all(same(a, b) for a, b in zip(forwards, other, strict=True))


def test_overlapping_pairs_correspond_exactly_and_overlap_enough():
    for k in range(10):
        pair = sample_overlapping_pair(BALL, PairConfig(points=80, min_overlap=0.3), seed=0, index=k)
        assert pair.aligned and torch.equal(pair.points0, pair.points1) and len(pair.xy0) >= 0.3 * 80
        for side in (0, 1):
            xy, depth = project(BALL["ball"][pair.views[side]].camera, getattr(pair, f"points{side}").double().numpy())
            np.testing.assert_allclose(xy, getattr(pair, f"xy{side}"), atol=1e-4)
            assert (depth > 0).all()
        assert pair.image0.shape == (3, 64, 64) and pair.image0.min() >= 0 and pair.image0.max() <= 1


def test_angle_limits_hold():
    for k in range(10):
        near = sample_overlapping_pair(BALL, PairConfig(points=50, max_angle_deg=50.0), seed=3, index=k)
        assert (near.views[0] - near.views[1]) % 8 in (1, 7)
        pair = sample_published_pair(BALL, PairConfig("published", 500, max_angle_deg=100.0), seed=3, index=k)
        cameras = [BALL["ball"][v].camera for v in pair.views]
        assert rotation_between_deg(*cameras) <= 100


def test_published_points_are_independent_foreground_pixels_with_their_own_3d_points():
    pair = sample_published_pair(BALL, PUBLISHED, seed=0, index=0)
    assert not pair.aligned and pair.positives > 0
    for side in (0, 1):
        view = BALL["ball"][pair.views[side]]
        xy, _ = project(view.camera, getattr(pair, f"points{side}").double().numpy())
        np.testing.assert_allclose(xy, getattr(pair, f"xy{side}"), atol=1e-3)
        assert len(xy) == view.mask.sum(), "fewer pixels than asked: all of them, once"


def test_a_pair_without_common_points_is_skipped_with_a_reason():
    apart = {"ball": [sphere_view(camera_at(eye)) for eye in ((2, 0, 0), (-2, 0, 0.0))]}
    assert sample_overlapping_pair(apart, PairConfig(), seed=0, index=4) == Skipped(4, "no overlapping views found")
    wide = PairConfig("published", max_angle_deg=180.0)
    assert sample_published_pair(apart, wide, seed=0, index=4) == Skipped(4, "no common points")
    assert "rotation limit" in sample_published_pair(apart, PUBLISHED, seed=0, index=4).reason


@pytest.mark.shared
def test_rotation_angle_matches_the_reference(golden):
    data = np.load(golden / "f13b_pair_rotation_angles.npz")
    angles = data["official_42_poses/out/angle_deg"]
    cameras = []
    for pose in data["official_42_poses/in/poses"]:
        u, _, vt = np.linalg.svd(pose[:3, :3])  # stored with float32 rounding
        clean = np.eye(4)
        clean[:3, :3] = u @ vt
        cameras.append(Camera(np.eye(3), clean, (2, 2)))
    ours = np.array([[rotation_between_deg(a, b) for b in cameras] for a in cameras])
    middle = (angles > 1) & (angles < 179)
    np.testing.assert_allclose(ours[middle], angles[middle], atol=2e-3)
    np.testing.assert_allclose(ours, angles, atol=0.1)


def test_data_that_can_give_no_pair_is_refused():
    with pytest.raises(EquiviewError, match="two views"):
        check_objects({"lonely": BALL["ball"][:1]})
    with pytest.raises(EquiviewError, match="at least one"):
        check_objects({})
