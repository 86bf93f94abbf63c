"""When an object is said to have little to teach."""

import logging

import pytest
import torch

from equiview.finetune.head_pairs import TrainingPair
from equiview.finetune.object_diagnostics import ENOUGH_CHANGE, ENOUGH_POINTS, change_of, warn_if_little
from equiview.types import FeatureMap


def fmap(scale, seed):
    tokens = scale * torch.randn(6, 10, 10, generator=torch.Generator().manual_seed(seed))
    return FeatureMap(tokens, (8.0, 8.0), (4.0, 4.0), (80, 80))


def test_the_change_is_the_scatter_over_the_variance():
    """Independent maps: half the mean squared difference is their own variance."""
    rows, cols = torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij")
    xy = torch.stack([cols.flatten(), rows.flatten()], 1) * 8.0 + 4
    unlabeled = [fmap(1.0, seed) for seed in range(20)]
    for scale in (0.5, 1.0, 2.0):
        pairs = [TrainingPair(fmap(scale, 100 + n), fmap(scale, 200 + n), xy, xy) for n in range(10)]
        assert change_of(pairs, unlabeled) == pytest.approx(scale**2, rel=0.1)
    same = fmap(1.0, 0)
    assert change_of([TrainingPair(same, same, xy, xy)], unlabeled) == 0


@pytest.mark.parametrize(
    ("change", "points", "words"),
    [
        (1.0, ENOUGH_POINTS - 1, "more views"),
        (ENOUGH_CHANGE / 2, 10 * ENOUGH_POINTS, "too thin"),
        (ENOUGH_CHANGE, ENOUGH_POINTS, None),
    ],
)
def test_it_warns_and_says_what_to_do(change, points, words, caplog):
    with caplog.at_level(logging.WARNING):
        text = warn_if_little("rod.glb", change, points)
    assert (text is None) == (words is None) == (caplog.text == "")
    if words is not None:
        assert words in text and "rod.glb" in caplog.text
