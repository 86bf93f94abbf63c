"""`rank` and `unit_scores` on numbers whose order is known."""

import pytest

from equiview.metrics.choice import rank, unit_scores

COST = {"many": (3, 0), "one": (1, 0), "poor": (1, 0)}


def scores(**means):
    """Six objects whose differences are the same everywhere but for a little."""
    return {name: {f"o{i}": mean + i + 0.01 * (i % 2) for i in range(6)} for name, mean in means.items()}


def test_of_equals_the_cheapest_is_taken_and_the_best_is_still_named():
    found = rank(
        {**scores(many=50.2, poor=40), "one": {f"o{i}": 50.1 + i + (-0.5, 0.5)[i % 2] for i in range(6)}}, COST, "x"
    )
    assert (found["best"], found["pick"]) == ("many", "one")
    assert found["candidates"]["one"]["within_noise"] is True
    assert found["candidates"]["poor"]["within_noise"] is False
    assert found["candidates"]["poor"]["to_best"]["value"] == pytest.approx(-10.2)


def test_a_clear_winner_is_taken_whatever_it_costs():
    found = rank(scores(many=52, one=50, poor=40), COST, "x")
    assert (found["best"], found["pick"]) == ("many", "many")
    assert found["candidates"]["one"]["within_noise"] is False


def test_too_few_units_have_no_interval_and_say_nothing_of_noise():
    found = rank({"many": {"a": 2.0, "b": 3.0}, "one": {"a": 1.0, "b": 1.0}}, COST, "x")
    assert found["candidates"]["one"]["within_noise"] is None
    assert found["candidates"]["one"]["ci95"] is None
    assert found["pick"] == "many"


def row(name, pair, angle, value):
    return {"variant": "v", "object": name, "pair": pair, "angle_deg": angle, "x": value}


def test_every_range_of_angles_counts_alike():
    rows = [row(f"o{i}", [0, j], 100, 0.0) for i in range(5) for j in range(1, 10)]
    rows += [row(f"o{i}", [1, 0], 20, 80.0) for i in range(5)]
    assert unit_scores(rows, "x") == {"v": {f"o{i}": 40.0 for i in range(5)}}


def test_source_views_are_the_units_of_few_objects():
    rows = [row("o", [i, j], 20, 10.0 * i) for i in range(3) for j in range(3) if i != j]
    assert unit_scores(rows, "x") == {"v": {"o/0": 0.0, "o/1": 10.0, "o/2": 20.0}}
