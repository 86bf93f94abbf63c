"""Visibility without labels: it must follow the scores of the clip, whatever their scale."""

import numpy as np
import pytest

from equiview.tracking.occlusion import visible_from


def world(seen_cosine, hidden_cosine, spread=0.03, shape=(20, 30), seed=0):
    """Scores of two kinds; the cycle test is right for 85 % of the seen and 80 % of the hidden."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < 0.7
    own = np.zeros(shape, bool)
    own[:, 0] = True
    truth |= own
    score = np.where(truth, seen_cosine, hidden_cosine) + rng.normal(0, spread, shape)
    consistent = np.where(truth, rng.random(shape) < 0.85, rng.random(shape) < 0.2)
    return truth, np.clip(score, -1, 1), consistent, own


@pytest.mark.parametrize("cosines", [(0.9, 0.75), (0.5, 0.35), (0.99, 0.97)], ids=str)
def test_the_fit_is_better_than_the_cycle_alone_on_every_scale_of_cosines(cosines):
    truth, score, consistent, own = world(*cosines, spread=0.2 * (cosines[0] - cosines[1]))
    found = visible_from(score, consistent, own)
    assert (found == truth).mean() > max(0.95, (consistent == truth).mean())


def test_scores_that_say_nothing_leave_the_cycle_to_decide():
    _, score, consistent, own = world(0.5, 0.5)
    assert (visible_from(score, consistent, own) == (consistent | own)).mean() > 0.9


def test_too_few_of_a_kind_is_the_cycle_alone_and_the_query_is_seen():
    score, own = np.full((1, 4), 0.5), np.array([[True, False, False, False]])
    consistent = np.array([[False, True, False, True]])
    np.testing.assert_array_equal(visible_from(score, consistent, own), [[True, True, False, True]])


def test_all_consistent_is_all_seen():
    _, score, _, own = world(0.9, 0.6)
    assert visible_from(score, np.ones(score.shape, bool), own).all()
