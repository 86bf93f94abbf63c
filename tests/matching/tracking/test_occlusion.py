"""Visibility without labels: it must follow the scores of the clip, whatever their scale."""

import numpy as np
import pytest

from equiview.matching.tracking.occlusion import visible_from


def world(seen_cosine, hidden_cosine, spread=0.03, shape=(20, 30), seed=0):
    """Scores of two kinds; 15 % of the seen do not lead back, and 10 % of the hidden do."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < 0.7
    own = np.zeros(shape, bool)
    own[:, 0] = True
    truth |= own
    score = np.where(truth, seen_cosine, hidden_cosine) + rng.normal(0, spread, shape)
    back = np.where(truth, rng.random(shape) < 0.85, rng.random(shape) < 0.1)
    return truth, np.clip(score, -1, 1), np.where(back, rng.uniform(0, 2, shape), rng.uniform(5, 30, shape)), own


@pytest.mark.parametrize("cosines", [(0.9, 0.75), (0.5, 0.35), (0.99, 0.97)], ids=str)
def test_it_is_better_than_the_way_back_alone_on_every_scale_of_cosines(cosines):
    truth, score, cycle, own = world(*cosines, spread=0.2 * (cosines[0] - cosines[1]))
    found = visible_from(score, cycle, own)
    alone = ((cycle <= 3) | own) == truth
    assert (found == truth).mean() > max(0.88, alone.mean(), truth.mean())


def test_scores_that_say_nothing_leave_nearly_all_visible():
    truth, score, cycle, own = world(0.5, 0.5)
    found = visible_from(score, cycle, own)
    assert found.mean() > 0.95 and (found == truth).mean() > truth.mean() - 0.02


def test_perfect_features_hide_all_that_is_lost():
    _, score, cycle, own = world(0.9, 0.9, spread=0)
    lost = (cycle > 3) & ~own
    assert (visible_from(np.where(lost, 0.2, 0.999), cycle, own) == ~lost).all()


def test_what_is_further_off_and_less_similar_is_hidden_first():
    own, cycle, score = np.zeros((4, 20), bool), np.ones((4, 20)), np.full((4, 20), 0.9)
    cycle[3], score[3] = np.linspace(4, 40, 20), np.linspace(0.9, 0.5, 20)
    # Half of the lost look like the others, and are not called hidden.
    score[3, :10] = 0.9
    found = visible_from(score, cycle, own)
    assert found[:3].all() and found[3, :10].all() and not found[3, 12:].any()


def test_too_few_of_a_kind_is_the_way_back_alone_and_the_query_is_seen():
    score, own = np.full((1, 4), 0.5), np.array([[True, False, False, False]])
    cycle = np.array([[9.0, 1.0, 9.0, 1.0]])
    np.testing.assert_array_equal(visible_from(score, cycle, own), [[True, True, False, True]])


def test_all_that_lead_back_are_seen():
    _, score, cycle, own = world(0.9, 0.6)
    assert visible_from(score, np.zeros_like(cycle), own).all()


def test_frames_that_were_not_searched_are_not_seen():
    _, score, cycle, own = world(0.9, 0.6)
    score[:, 7] = np.nan
    assert not visible_from(score, cycle, own)[:, 7].any()
