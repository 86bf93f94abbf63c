"""What is shown of a picture, and that marks stand where they should."""

import re

import numpy as np
import pytest

from equiview.report.drawing import Box, Scale, boxes_around, gain_for, photo
from equiview.report.pictures import object_pictures, picture_gain
from report.make_run import SIZE, make_picture


def masks(*corners: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for x0, y0, x1, y1 in corners:
        mask = np.zeros((100, 120), bool)
        mask[y0:y1, x0:x1] = True
        found.append(mask)
    return found[0], found[1]


NOTHING = np.zeros((0, 2))


def test_boxes_hold_the_object_and_have_one_size() -> None:
    left, right = boxes_around(masks((10, 20, 30, 30), (60, 50, 70, 80)), (NOTHING, NOTHING))
    assert left.width == left.height == right.width == right.height
    assert 30 < left.width < 40
    for box, (x0, y0, x1, y1) in ((left, (10, 20, 30, 30)), (right, (60, 50, 70, 80))):
        assert box.x <= x0 and box.y <= y0 and box.x + box.width >= x1 and box.y + box.height >= y1
        assert box.x >= 0 and box.y >= 0 and box.x + box.width <= 120 and box.y + box.height <= 100


def test_boxes_hold_wrong_matches_too() -> None:
    _, right = boxes_around(masks((10, 20, 30, 30), (60, 50, 70, 60)), (NOTHING, np.array([[95.0, 55.0]])))
    assert right.x + right.width >= 95


def test_a_large_object_shows_the_whole_view() -> None:
    left, right = boxes_around(masks((0, 0, 110, 95), (60, 50, 70, 80)), (NOTHING, NOTHING))
    assert left == right == Box(0, 0, 120, 100)


def test_an_empty_mask_shows_the_whole_view() -> None:
    assert boxes_around(masks((0, 0, 0, 0), (0, 0, 0, 0)), (NOTHING, NOTHING))[0] == Box(0, 0, 120, 100)


@pytest.mark.parametrize(("value", "gain"), [(200, 1.0), (80, 2.0), (10, 4.0), (0, 4.0)])
def test_only_dark_objects_are_brightened(value: int, gain: float) -> None:
    rgb = np.full((8, 8, 3), value, np.uint8)
    assert gain_for(rgb, np.ones((8, 8), bool)) == gain


def test_a_photo_stands_where_it_was_cut() -> None:
    rgb = np.zeros((100, 120, 3), np.uint8)
    image = photo(rgb, "k", Box(10.4, 20.6, 30.0, 30.0), 1.0, Scale())
    assert (image.x, image.y, image.width, image.height) == (10, 20, 31, 31)


def test_marks_of_exact_matches_stand_on_the_truth() -> None:
    arrays = make_picture(0)
    arrays |= {"xy1_before": arrays["xy1_true"], "xy1_after": arrays["xy1_true"]}
    html = object_pictures("mug", "p0", arrays, Scale())
    assert "100 % of 120 points within 5 %, mean error 0.0 %" in html
    assert picture_gain(arrays) == 0
    # Before and after show the same points at the same places.
    circles = re.findall(r"<circle [^>]*/>", html.split("Similarity maps")[0])
    half = len(circles) // 2
    assert half > 50 and circles[:half] == circles[half:]


def test_gain_counts_points_within_five_percent() -> None:
    arrays = make_picture(0)
    true = arrays["xy1_true"]
    arrays |= {"xy1_before": true + (0.06 * SIZE, 0), "xy1_after": true + (0.04 * SIZE, 0)}
    assert picture_gain(arrays) == 100


def test_a_pair_without_points_can_be_drawn() -> None:
    arrays = make_picture(0)
    empty = {k: v[:0] for k, v in arrays.items() if k.startswith(("xy", "query", "heat"))}
    assert "0 points" in object_pictures("mug", "p0", arrays | empty, Scale())
    assert picture_gain(arrays | empty) == 0
