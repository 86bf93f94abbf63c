"""Photographs become pinhole pictures: every pixel has a source, and shows the ray it should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from capture_worlds import BENT, HW, INTRINSICS, World, colour_of
from equiview.data.captures.lens import Lens, apply, pinhole
from equiview.data.captures.undistortion import UndistortedImage, nearest, pinhole_for, source_xy, target_xy
from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers

LENSES = {
    "plain": Lens(INTRINSICS, HW),
    "barrel": BENT,
    "cushion": Lens(INTRINSICS, HW, "perspective", (0.15, 0.02)),
    "fisheye": Lens(INTRINSICS * np.array([[0.6, 1, 1], [1, 0.6, 1], [1, 1, 1]]), HW, "fisheye", (0.05, -0.01)),
    "fov": Lens(INTRINSICS, HW, "fov", (0.8,)),
}


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("long_side", [None, 40])
def test_a_pixel_shows_its_ray(tmp_path, name, long_side):
    lens = LENSES[name]
    World(lens, 1).write_pictures(tmp_path)
    undo = pinhole_for(lens, long_side)
    assert undo.hw == (HW if long_side is None else (30, 40))
    rgb = UndistortedImage(tmp_path / "000.png", undo).read()
    rays = apply(np.linalg.inv(undo.intrinsics), pixel_centers(undo.hw).reshape(-1, 2))
    expected = colour_of(rays).reshape(*undo.hw, 3)
    rim = 0 if long_side is None else 2  # The reduction's filter has less to see at the rim.
    inner = np.s_[rim : undo.hw[0] - rim, rim : undo.hw[1] - rim]
    unclipped = ((expected > 3) & (expected < 252))[inner]
    assert unclipped.mean() > 0.5
    assert np.abs(rgb.astype(float) - expected)[inner][unclipped].max() < 3


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(st.floats(-0.3, 0.3), st.floats(-0.1, 0.1), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)),
    st.floats(25, 55),
    st.floats(20, 40),
)
def test_every_pixel_has_a_source(coefficients, cx, cy):
    lens = Lens(np.array([[90.0, 0, cx], [0, 92, cy], [0, 0, 1]]), HW, "perspective", coefficients)
    undo = pinhole_for(lens)
    xy = pixel_centers(undo.hw).reshape(-1, 2)
    source = source_xy(undo, xy)
    assert (source >= 0).all() and (source <= HW[::-1]).all()
    np.testing.assert_allclose(target_xy(undo, source), xy, atol=1e-6)


def test_a_plain_photograph_is_left_alone():
    undo = pinhole_for(pinhole(INTRINSICS, HW), 80)
    assert undo.changes_nothing
    np.testing.assert_array_equal(undo.intrinsics, INTRINSICS)
    assert not pinhole_for(pinhole(INTRINSICS, HW), 79).changes_nothing and not pinhole_for(BENT).changes_nothing


def test_reduced_intrinsics_fit_the_reduced_size():
    """45 x 60 of 60 x 80, and 40 x 53 whose longer side is rounded: each axis by its own factor."""
    undo = pinhole_for(pinhole(INTRINSICS, (80, 107)), 53)
    assert undo.hw == (40, 53)
    np.testing.assert_allclose(undo.intrinsics, np.diag([53 / 107, 0.5, 1]) @ INTRINSICS)


def test_nearest_never_mixes(tmp_path):
    values = np.arange(HW[0] * HW[1]).reshape(HW)
    np.testing.assert_array_equal(nearest(pinhole_for(pinhole(INTRINSICS, HW)), values), values)
    undo = pinhole_for(BENT, 40)
    found, source = nearest(undo, values), source_xy(undo, pixel_centers(undo.hw).reshape(-1, 2))
    np.testing.assert_array_equal(found.ravel(), values[source[:, 1].astype(int), source[:, 0].astype(int)])


def test_reducing_does_not_alias(tmp_path):
    """A fine chequerboard becomes grey, not a coarser pattern."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(np.repeat(board[..., None], 3, 2)).save(tmp_path / "board.png")
    rgb = UndistortedImage(tmp_path / "board.png", pinhole_for(pinhole(INTRINSICS, (64, 64)), 20)).read()
    assert np.ptp(rgb[3:-3, 3:-3].astype(int)) < 20


def test_bad_input(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "small.png")
    with pytest.raises(EquiviewError, match="a picture of 80x60 pixels as its camera says, found 40x30"):
        UndistortedImage(tmp_path / "small.png", pinhole_for(BENT)).read()
    with pytest.raises(EquiviewError, match="a distortion that can be undone"):
        pinhole_for(Lens(INTRINSICS, HW, "perspective", (-900.0,)))
