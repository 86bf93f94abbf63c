"""Drawn pictures: the same from a seed, full, and with the statistics they are drawn for."""

import numpy as np
import pytest

from equiview.data.synthetic.dead_leaves import dead_leaves


def test_same_seed_same_picture_and_other_seed_another():
    first = dead_leaves(3, (96, 128))
    assert first.shape == (96, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, dead_leaves(3, (96, 128)))
    assert not np.array_equal(first, dead_leaves(4, (96, 128)))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_left_empty(seed):
    picture = dead_leaves(seed, (96, 96))
    assert (picture == 0).all(-1).mean() < 0.05
    assert picture.std() > 15


def test_power_falls_with_frequency_like_that_of_photographs():
    """Photographs have a power spectrum near 1 / f^2 (Field 1987); white noise is flat, one disc is steeper."""
    power = 0.0
    for seed in range(6):
        gray = dead_leaves(seed, (128, 128)).mean(-1)
        window = np.hanning(128)[:, None] * np.hanning(128)
        power = power + np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    inside = (frequency > 0.03) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert -3.2 < slope < -1.2
