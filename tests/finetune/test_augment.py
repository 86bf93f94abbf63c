"""Augmentation: a dot drawn under a point stays under it, and the background stays background."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equiview.finetune.augment import AugmentConfig, augment, background_color, move_points, random_matrix, warp
from equiview.finetune.pairs import PairConfig, PairSample, sample_overlapping_pair, sample_published_pair
from worlds import sphere_ring

BALL = {"ball": sphere_ring(8)}
GEOMETRIC = AugmentConfig(geometric_p=1.0, photometric_p=0.0)
EVERYTHING = AugmentConfig(geometric_p=1.0, photometric_p=1.0)


def a_pair(index: int = 0) -> PairSample:
    return sample_overlapping_pair(BALL, PairConfig(points=80), seed=0, index=index)


def dot(hw: tuple[int, int], xy: torch.Tensor) -> torch.Tensor:
    """A smooth spot centred at xy (corner origin)."""
    ys, xs = torch.meshgrid(torch.arange(hw[0]) + 0.5, torch.arange(hw[1]) + 0.5, indexing="ij")
    spot = torch.exp(-((xs - xy[0]) ** 2 + (ys - xy[1]) ** 2) / (2 * 3.0**2))
    return spot.expand(3, -1, -1).clone()


def centre_of_mass(image: torch.Tensor) -> torch.Tensor:
    weight = image[0] / image[0].sum()
    ys, xs = torch.meshgrid(torch.arange(weight.shape[0]) + 0.5, torch.arange(weight.shape[1]) + 0.5, indexing="ij")
    return torch.stack([(weight * xs).sum(), (weight * ys).sum()])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), x=st.floats(45, 75), y=st.floats(30, 50))
def test_a_drawn_dot_stays_under_its_point(seed: int, x: float, y: float):
    hw = (80, 120)
    matrix = random_matrix(hw, replace(GEOMETRIC, shift=0.1), np.random.default_rng(seed))
    xy = torch.tensor([x, y])
    moved, _ = warp(dot(hw, xy), torch.ones(hw, dtype=torch.bool), matrix, torch.zeros(3))
    where = move_points(xy[None], matrix)[0]
    if (where > 12).all() and where[0] < 108 and where[1] < 68:  # the whole spot is inside
        assert (centre_of_mass(moved) - where).abs().max() < 0.05


def test_the_identity_changes_nothing_and_a_whole_pixel_shift_is_exact():
    pair = a_pair()
    matrix = torch.eye(3)
    image, mask = warp(pair.image0, pair.mask0, matrix, torch.zeros(3))
    torch.testing.assert_close(image, pair.image0, atol=2e-5, rtol=0)
    assert torch.equal(mask, pair.mask0)
    matrix[0, 2], matrix[1, 2] = 3, -2
    image, mask = warp(pair.image0, pair.mask0, matrix, torch.full((3,), 0.25))
    torch.testing.assert_close(image[:, :-2, 3:], pair.image0[:, 2:, :-3], atol=2e-5, rtol=0)
    assert (image[:, :, :3] == 0.25).all() and (image[:, -2:] == 0.25).all() and not mask[:, :3].any()


def test_points_stay_on_the_same_colour():
    """On this ball colour is position, so a stale point would be seen at once."""
    from equiview.sampling import sample_grid

    right, stale = [], []
    for index in range(12):
        before = a_pair(index)
        after = augment(before, GEOMETRIC, seed=0)
        assert after.aligned and torch.equal(after.points0, after.points1)
        for side in (0, 1):
            image, xy, points = (getattr(after, f"{name}{side}") for name in ("image", "xy", "points"))
            colour = (points * 127 + 128) / 255
            right.append((sample_grid(image[None], xy[None] - 0.5)[0] - colour).abs().amax(1))
            if len(before.xy0) == len(xy):
                old = getattr(before, f"xy{side}")
                stale.append((sample_grid(image[None], old[None] - 0.5)[0] - colour).abs().amax(1))
    # Points at the silhouette blend with the background; the others are exact to the rounding of colours.
    assert torch.cat(right).quantile(0.6) < 0.01 and torch.cat(stale).quantile(0.4) > 0.1


def test_points_outside_are_dropped_on_both_sides_of_an_aligned_pair():
    far = replace(GEOMETRIC, shift=0.6, scale=0.0)
    shrunk = 0
    for index in range(10):
        before, after = a_pair(index), augment(a_pair(index), far, seed=1)
        shrunk += len(after.xy0) < len(before.xy0)
        assert len(after.xy0) == len(after.xy1) == len(after.points0) == len(after.points1)
        for xy in (after.xy0, after.xy1):
            assert (xy >= 0).all() and (xy < 64).all()
    assert shrunk > 5


def test_independent_points_are_dropped_independently():
    pair = sample_published_pair(BALL, PairConfig("published", 300, max_angle_deg=120.0), seed=0, index=0)
    kept = []
    for seed in range(8):
        after = augment(pair, replace(GEOMETRIC, shift=0.6), seed=seed)
        assert len(after.xy0) == len(after.points0) and len(after.xy1) == len(after.points1)
        kept.append((len(after.xy0), len(after.xy1)))
    assert any(first < len(pair.xy0) for first, _ in kept) and any(first != second for first, second in kept)


@pytest.mark.parametrize("colour", [0.0, 1.0, 0.4])
def test_the_background_keeps_its_colour(colour: float):
    pair = a_pair()
    image = torch.where(pair.mask0, pair.image0, torch.tensor(colour))
    assert background_color(image, pair.mask0).tolist() == pytest.approx([colour] * 3)
    after = augment(replace(pair, image0=image), EVERYTHING, seed=2)
    off = torch.nn.functional.max_pool2d(after.mask0[None].float(), 5, 1, 2)[0] == 0  # away from the blended edge
    assert off.any() and (after.image0[:, off] - colour).abs().max() < 1e-4
    assert after.image0.isfinite().all() and after.image0.min() >= 0 and after.image0.max() <= 1


def test_it_is_seeded_by_run_and_pair():
    first, again = augment(a_pair(1), EVERYTHING, seed=5), augment(a_pair(1), EVERYTHING, seed=5)
    assert torch.equal(first.image0, again.image0) and torch.equal(first.xy1, again.xy1)
    assert not torch.equal(first.image0, augment(a_pair(1), EVERYTHING, seed=6).image0)


def test_nothing_happens_with_probability_zero():
    pair = a_pair()
    after = augment(pair, AugmentConfig(geometric_p=0.0, photometric_p=0.0), seed=0)
    assert torch.equal(after.image0, pair.image0) and torch.equal(after.xy0, pair.xy0)


def test_grey_stays_grey_when_colours_turn():
    from equiview.finetune.augment import _turn_colors

    grey = torch.full((3, 4, 4), 0.3)
    torch.testing.assert_close(_turn_colors(grey, 1.7, 1.0), grey, atol=1e-3, rtol=0)
    colour = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_turn_colors(colour, 1.0, 0.0), colour, atol=1e-5, rtol=0)
