"""The verdict is words from numbers: every shortcoming has its sentence and its advice."""

from dataclasses import replace

import numpy as np
import pytest

from equiview.data.sfm.statistics import CaptureStatistics, circle_seen
from equiview.data.sfm.verdict import judge
from equiview.render import paper42, ring

GOOD = CaptureStatistics(
    images_given=50,
    images_registered=50,
    images_without_points=0,
    models=1,
    points=9000,
    observations=50_000,
    mean_track_length=5.5,
    median_error_px=0.5,
    mean_error_px=0.6,
    median_angle_deg=20.0,
    circle_seen=0.9,
    largest_view_angle_deg=150.0,
    baseline=1.8,
)


def test_good_says_nothing():
    found = judge(GOOD)
    assert (found.grade, found.reasons, found.advice) == ("good", (), ())


@pytest.mark.parametrize(
    ("change", "grade", "reason", "advice"),
    [
        ({"images_registered": 40}, "usable", "Only 40 of 50 pictures got a camera", "more overlap"),
        ({"images_registered": 20}, "weak", "Only 20 of 50 pictures", "more overlap"),
        ({"observations": 5000}, "usable", "A picture sees only 100 points", "texture"),
        ({"observations": 500}, "weak", "A picture sees only 10 points", "texture"),
        ({"mean_track_length": 2.1}, "weak", "seen in only 2.1 pictures", "more overlap"),
        ({"median_error_px": 1.2}, "usable", "1.20 px off", "sharper"),
        ({"median_error_px": 2.0}, "weak", "2.00 px off", "sharper"),
        ({"median_angle_deg": 2.0}, "weak", "only 2.0 degrees apart", "Walk around"),
        ({"median_angle_deg": 2.0, "baseline": 0.03}, "weak", "only 2.0 degrees apart", "turn on the spot"),
        ({"circle_seen": 0.3}, "usable", "Only 30 % of the circle", "Walk around"),
        ({"models": 3}, "usable", "fell apart into 3 groups", "more overlap"),
        ({"matches_fitting": 0.05}, "weak", "Only 5 % of the matches fit the given poses", "axes"),
        ({"images_without_points": 2}, "usable", "2 pictures with a camera see no point", "texture"),
    ],
)
def test_each_shortcoming_has_a_sentence_and_advice(change, grade, reason, advice):
    found = judge(replace(GOOD, **change))
    assert found.grade == grade
    assert len(found.reasons) == len(found.advice) == 1
    assert reason in found.reasons[0] and advice in found.advice[0]
    assert all(text.endswith(".") for text in (*found.reasons, *found.advice))


@pytest.mark.parametrize("change", [{"images_registered": 2}, {"points": 10}, {"images_given": 2}])
def test_nothing_usable_is_a_failure(change):
    assert judge(replace(GOOD, **change)).grade == "failed"


def test_with_given_poses_no_points_accuses_the_poses():
    found = judge(replace(GOOD, points=0, observations=0), poses_given=True)
    assert found.grade == "failed" and "poses and lens belong" in found.advice[0]


def test_the_same_advice_is_given_once():
    found = judge(replace(GOOD, images_registered=40, mean_track_length=2.5))
    assert len(found.reasons) == 2 and len(found.advice) == 1


def centers(cameras) -> np.ndarray:
    return np.stack([camera.center_in_world for camera in cameras])


@pytest.mark.parametrize("elevation", [0.0, 20.0, 35.0])
def test_a_full_ring_sees_the_whole_circle(elevation):
    assert circle_seen(centers(ring(24, elevation)), np.zeros(3)) == 1.0


def test_a_sphere_sees_the_whole_circle_whatever_its_frame():
    assert circle_seen(centers(paper42()) + [5, 6, 7], np.array([5.0, 6, 7])) == 1.0


@pytest.mark.parametrize(("part", "expected"), [(6, 0.32), (12, 0.57)])
def test_a_part_of_a_ring_sees_that_part(part, expected):
    """24 cameras a turn: 6 of them span 75 degrees, and 20 degrees more at each end."""
    seen = circle_seen(centers(ring(24, 15.0)[:part]), np.zeros(3))
    assert seen == pytest.approx(expected, abs=0.03)


def test_all_around_a_face_is_not_all_around_a_head():
    assert circle_seen(centers(ring(24, 60.0)), np.zeros(3)) < 0.35
