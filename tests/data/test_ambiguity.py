"""What looks the same everywhere is ambiguous, what looks like nothing else is not."""

import dataclasses

import numpy as np
import pytest

from equiview.data.ambiguity import AmbiguityMap, SurfacePatches, ambiguous_patches, describe_patches, surface_cloud
from worlds import camera_at, ring_eyes, sphere_view

HW, FOCAL = (160, 160), 260.0


def painted(color_of, n=4):
    """See a sphere whose colour is a function of the surface point."""
    views = []
    for eye in ring_eyes(n):
        view = sphere_view(camera_at(eye, HW, FOCAL))
        rgb = np.zeros_like(view.rgb)
        rgb[view.mask] = np.clip(255 * color_of(view.points_in_world[view.mask].astype(float)), 0, 255)
        views.append(dataclasses.replace(view, rgb=rgb))
    return views


@pytest.fixture(scope="module")
def plain():
    return AmbiguityMap(painted(lambda p: np.full((len(p), 3), 0.6)))


@pytest.fixture(scope="module")
def unique():
    """Every place has its own mean colour: position as colour, steep enough to tell 0.1 apart."""
    return AmbiguityMap(painted(lambda p: p + 0.5), threshold=0.05)


def test_a_sphere_of_one_colour_is_ambiguous_all_over(plain):
    assert len(plain.flags) > 500
    assert plain.share == 1.0
    assert plain.is_ambiguous(np.array([[0.5, 0, 0], [0, -0.5, 0]])).all()


def test_a_sphere_whose_colour_is_its_position_is_not(unique):
    assert unique.share < 0.05


def test_a_random_texture_is_mostly_unambiguous():
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(24, 3)) * 25
    phase, mix = rng.uniform(0, 7, 24), rng.normal(size=(24, 3)) * 0.35
    share = AmbiguityMap(painted(lambda p: 0.5 + np.sin(p @ waves.T + phase) @ mix)).share
    assert share < 0.5


def test_two_equal_halves_are_ambiguous_only_where_they_are_equal():
    """Colour repeats when x changes sign, on the upper half only."""

    def color(p):
        x = np.where(p[:, 2] > 0, np.abs(p[:, 0]), p[:, 0])
        return np.stack([x, p[:, 1], p[:, 2]], 1) + 0.5

    found = AmbiguityMap(painted(color), threshold=0.05)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    around = 0.48 * np.stack([np.cos(turn), np.sin(turn)], 1)[np.abs(np.cos(turn)) > 0.4]
    upper = found.is_ambiguous(np.column_stack([around, np.full(len(around), 0.14)]))
    lower = found.is_ambiguous(np.column_stack([around, np.full(len(around), -0.14)]))
    assert upper.mean() > 0.8
    assert lower.mean() < 0.2


def test_the_same_seed_gives_the_same_flags():
    views = painted(lambda p: p + 0.5)
    first, again = (AmbiguityMap(views, seed=3) for _ in range(2))
    assert np.array_equal(first.flags, again.flags)


def test_a_lower_threshold_finds_fewer():
    views = painted(lambda p: 0.3 * p + 0.5)
    shares = [AmbiguityMap(views, threshold=t).share for t in (0.02, 0.1, 0.4)]
    assert shares == sorted(shares) and shares[0] < shares[-1]


def test_neighbours_are_never_held_against_each_other():
    points = np.array([[0, 0, 0], [0.05, 0, 0], [0.5, 0, 0]])
    same = SurfacePatches(points[:2], np.zeros((2, 4)))
    assert not ambiguous_patches(same).any()
    assert ambiguous_patches(SurfacePatches(points, np.zeros((3, 4)))).all()


def test_descriptions_are_the_same_in_any_world_frame():
    cloud = surface_cloud(painted(lambda p: p + 0.5))
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    moved = np.concatenate([cloud[:, :3] @ turn.T + 2, cloud[:, 3:6] @ turn.T, cloud[:, 6:]], 1)
    first, other = describe_patches(cloud, cloud[:50, :6]), describe_patches(moved, moved[:50, :6])
    assert len(first.points) == len(other.points) > 20
    assert np.allclose(first.descriptions, other.descriptions, atol=1e-6)


def test_nothing_described_is_nothing_ambiguous():
    views = painted(lambda p: p + 0.5, n=1)
    tiny = [dataclasses.replace(v, mask=v.mask & (np.indices(v.mask.shape).sum(0) == 160)) for v in views]
    found = AmbiguityMap(tiny)
    assert found.share == 0.0
    assert not found.is_ambiguous(np.zeros((3, 3))).any()
