"""Scores and intervals against values worked out by hand."""

import numpy as np
import pytest

from equiview.metrics.equivariance import all_metrics, ape, error_px, pcdp
from equiview.stats import bootstrap_ci95, mean_with_ci


def test_ape_and_pcdp_by_hand():
    errors = np.array([0.0, 4.9, 5.0, 10.0])
    assert ape(errors, (100, 200)) == pytest.approx(4.975)
    assert pcdp(errors, (100, 200), 0.05) == 50.0  # strict: 5.0 px is not below 5 % of 100 px
    assert pcdp(errors, (100, 200), 0.1) == 75.0
    assert all_metrics(errors, (100, 200))["pcdp@0.2"] == 100.0


def test_error_is_euclidean():
    assert error_px(np.array([[3.0, 4.0]]), np.zeros((1, 2))).tolist() == [5.0]


def test_intervals_need_five_units_and_cover_the_mean():
    assert bootstrap_ci95([1, 2, 3, 4]) is None
    low, high = bootstrap_ci95([1, 2, 3, 4, 5])
    assert low < 3 < high
    assert bootstrap_ci95([2.0] * 6) == [2.0, 2.0]
    assert mean_with_ci([]) == {"value": None, "ci95": None, "n": 0}


def test_the_interval_covers_as_often_as_it_says():
    """About 95 % of intervals hold the truth; the percentile bootstrap of 20 units is known to fall a little short."""
    rng = np.random.default_rng(0)
    hits = sum(low < 0 < high for low, high in (bootstrap_ci95(rng.normal(size=20)) for _ in range(200)))
    assert 0.87 < hits / 200 < 0.99
