"""Which way is better, and paired differences."""

import pytest

from equiview.metrics.equivariance import METRIC_NAMES
from equiview.metrics.paired import difference, lower_is_better

LESS = ("ape", "in_mask/ape", "rotation_error_deg", "translation_error_cm_median", "failed")
MORE = ("pcdp@0.05", "unambiguous/pcdp@0.2", "pck@0.10", "average_jaccard", "pose_recall@5cm5deg", "share_under_8px")


@pytest.mark.parametrize(("metric", "less"), [(m, True) for m in LESS] + [(m, False) for m in MORE])
def test_which_way_is_better(metric, less):
    assert lower_is_better(metric) is less


def test_of_the_scores_of_equivariance_only_the_error_is_better_when_lower():
    assert [name for name in METRIC_NAMES if lower_is_better(name)] == ["ape"]


@pytest.mark.parametrize(("metric", "improved"), [("ape", 2), ("rotation_error_deg", 2), ("pck@0.10", 1)])
def test_what_improved_follows_the_metric(metric, improved):
    found = difference({"a": 10.0, "b": 10.0, "c": 10.0, "only": 1.0}, {"a": 8.0, "b": 9.0, "c": 12.0}, metric)
    assert (found["n"], found["n_improved"]) == (3, improved)
    assert found["value"] == pytest.approx(-1 / 3) and found["ci95"] is None
