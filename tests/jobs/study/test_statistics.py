"""Correlations against scipy and by hand, and what their draws must do."""

import numpy as np
import pytest
from scipy import stats

from equiview.jobs.study.statistics import (
    STATISTICS,
    bootstrap,
    draw_points,
    draw_scores,
    partial_pearson,
    ranks,
    shuffles,
)

ONE = np.zeros(4, int)


def value(name: str, x, y, families=None, weights=None) -> float:
    x, y = np.asarray(x, float), np.asarray(y, float)
    families = np.zeros(len(x), int) if families is None else np.asarray(families)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    return float(STATISTICS[name](x[None], y[None], weights[None], families)[0])


def test_small_cases_by_hand() -> None:
    assert value("pearson", [1, 2, 3, 4], [2, 4, 6, 8]) == pytest.approx(1)
    assert value("pearson", [1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    # Ranks 1 2 3 4 and 1.5 1.5 3 4: covariance 4.5, variances 5 and 4.5.
    assert value("spearman", [1, 2, 3, 4], [7, 7, 8, 90]) == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    # Two families, each falling by one: given the family it is exactly -1.
    assert value("partial_pearson", [0, 1, 10, 11], [1, 0, 11, 10], [0, 0, 1, 1]) == pytest.approx(-1)


@pytest.mark.parametrize("seed", range(3))
def test_they_agree_with_scipy_with_ties_and_with_repeats(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, 20), rng.normal(size=20).round(1)
    weights = rng.integers(0, 4, 20)
    assert value("pearson", x, y) == pytest.approx(stats.pearsonr(x, y)[0])
    assert value("spearman", x, y) == pytest.approx(stats.spearmanr(x, y)[0])
    # A weight is a repeat.
    xs, ys = np.repeat(x, weights), np.repeat(y, weights)
    assert value("spearman", x, y, weights=weights) == pytest.approx(stats.spearmanr(xs, ys)[0])
    assert value("pearson", x, y, weights=weights) == pytest.approx(stats.pearsonr(xs, ys)[0])


def test_partial_is_the_regression_on_family_dummies() -> None:
    rng = np.random.default_rng(5)
    families = rng.integers(0, 4, 40)
    x, y = rng.normal(size=40) + 3 * families, rng.normal(size=40) - families
    dummies = np.eye(4)[families]
    left = [v - dummies @ np.linalg.lstsq(dummies, v, rcond=None)[0] for v in (x, y)]
    assert value("partial_pearson", x, y, families) == pytest.approx(stats.pearsonr(*left)[0])


def test_a_constant_score_has_no_correlation() -> None:
    for name in STATISTICS:
        assert np.isnan(value(name, [1, 2, 3, 4], [0.1, 0.1, 0.1, 0.1], ONE))
    # Constant within every family only: rounding must not make a correlation of what is left.
    x = np.array([0.1, 0.1, 0.7, 0.7]) + 0.2
    assert np.isnan(value("partial_pearson", x, [1, 2, 5, 3], [0, 0, 1, 1]))


def test_ranks_of_draws_with_their_own_scores() -> None:
    x = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 5.0]])
    found = ranks(x, np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(found, [[3, 1, 2], [1.5, 1.5, 3.5]])


def test_draws_take_whole_families() -> None:
    families = np.array([0, 0, 0, 1, 2, 2])
    weights = draw_points(families, 2000, np.random.default_rng(0))
    sums = weights @ np.eye(3)[families]
    np.testing.assert_array_equal(sums % [3, 1, 2], 0)
    np.testing.assert_array_equal((sums / [3, 1, 2]).sum(1), 3)
    assert weights.mean(0) == pytest.approx(np.ones(6), abs=0.1)


def test_clusters_make_intervals_wider() -> None:
    """Eight families of six copies each hold eight points, not 48."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(8, 2)) @ [[1, 0.6], [0, 0.8]]
    families = np.repeat(np.arange(8), 6)
    x, y = (np.repeat(centres, 6, 0) + rng.normal(0, 0.01, (48, 2))).T
    width = {}
    for name, clusters in (("whole", families), ("alone", np.zeros(48, int))):
        weights = draw_points(clusters, 2000, rng)
        draws = bootstrap(["pearson"], x[None], y[None], weights, families)["pearson"]
        width[name] = float(np.subtract(*np.nanpercentile(draws, [97.5, 2.5])))
    assert width["whole"] > 1.8 * width["alone"]


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    """Bounds are loose: percentile intervals of 25 points are known to be a little short."""
    truth, n, hits, rng = 0.6, 25, 0, np.random.default_rng(0)
    for _ in range(100):
        x = rng.normal(size=n)
        y = truth * x + np.sqrt(1 - truth**2) * rng.normal(size=n)
        weights = draw_points(np.arange(n), 400, rng)
        draws = bootstrap(["pearson"], x[None], y[None], weights, np.arange(n))["pearson"]
        low, high = np.percentile(draws, [2.5, 97.5])
        hits += low <= truth <= high
    assert 85 <= hits <= 99


def test_drawn_objects_move_the_scores_about_their_value() -> None:
    units = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    values = np.array([2.5, 4.0])  # A score need not be the plain mean of its units.
    draws = draw_scores(values, units, 4000, np.random.default_rng(0))
    assert draws.mean(0) == pytest.approx(values, abs=0.05)
    assert draws[:, 0].std() == pytest.approx(np.sqrt(2 / 3 / 3), rel=0.1) and draws[:, 1].std() == 0
    np.testing.assert_array_equal(draw_scores(values, None, 9, np.random.default_rng(0)), values[None])


def test_shuffles_stay_within_families() -> None:
    y, families = np.array([1.0, 2.0, 30.0, 40.0]), np.array([0, 0, 1, 1])
    drawn = shuffles(y, families, 200, np.random.default_rng(0))
    assert set(map(tuple, np.sort(drawn[:, :2], 1))) == {(1.0, 2.0)}
    assert {tuple(row) for row in drawn[:, 2:]} == {(30.0, 40.0), (40.0, 30.0)}


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x, y, weights = rng.normal(size=(50, 9)), rng.normal(size=(1, 9)), rng.integers(0, 3, (50, 9)) + 0.0
    families = np.arange(9) // 3
    whole = bootstrap(list(STATISTICS), x, y, weights, families)
    monkeypatch.setattr("equiview.jobs.study.statistics.CELLS", 9 * 9 * 7)
    parts = bootstrap(list(STATISTICS), x, y, weights, families)
    for name in STATISTICS:
        np.testing.assert_allclose(parts[name], whole[name])
    one = partial_pearson(x[:1], y, weights[:1], families)
    np.testing.assert_allclose(one, whole["partial_pearson"][:1])
