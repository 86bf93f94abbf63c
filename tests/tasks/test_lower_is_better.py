"""Which way is good, said once for summaries, comparisons and pages."""

import pytest

from equiview.report import numbers
from equiview.tasks.comparison import difference, lower_is_better


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("ape", True),
        ("in_mask/ape", True),
        ("rotation_error_deg", True),
        ("median_error", True),
        ("failed", True),
        ("pcdp@0.05", False),
        ("pck@0.10", False),
        ("error/pck@0.10", False),
        ("average_jaccard", False),
    ],
)
def test_errors_go_down_and_shares_go_up(metric, lower):
    assert lower_is_better(metric) is lower and numbers.lower_is_better is lower_is_better
    better = difference({"a": 2.0, "b": 2.0}, {"a": 1.0, "b": 3.0, "c": 1.0}, metric)
    assert better["n_improved"] == 1
    assert difference({"a": 2.0}, {"a": 1.0}, metric)["n_improved"] == int(lower)
    assert numbers.best_of({"x": 1.0, "y": 2.0}, metric) == {"x" if lower else "y"}
