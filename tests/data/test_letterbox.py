"""Pictures on a square, as the published evaluation places them."""

import numpy as np
import pytest

from equiview.data.letterbox import on_square, square_of


def cases(path):
    return sorted({name.split("/")[0] for name in np.load(path).files})


@pytest.mark.shared
def test_parity_of_key_points(golden):
    path = golden / "f08a_preprocess_kps_pad.npz"
    data = np.load(path)
    for case in cases(path):
        points, h, w = (data[f"{case}/in/{name}"] for name in ("kps", "img_height", "img_width"))
        square = square_of((int(h), int(w)), int(data[f"{case}/in/size"]))
        expected = data[f"{case}/out/kps"]
        seen = points[:, 2] > 0
        np.testing.assert_allclose(square.place(points[seen, :2]), expected[seen, :2], atol=1e-4)
        assert square.offset_xy == (data[f"{case}/out/offset_x"], data[f"{case}/out/offset_y"])
        assert square.scale == pytest.approx(float(data[f"{case}/out/scale"]))


@pytest.mark.shared
def test_parity_of_pictures(golden):
    path = golden / "f08b_resize_placement.npz"
    data = np.load(path)
    black = [case for case in cases(path) if not data[f"{case}/in/edge"]]
    assert len(black) > 3
    for case in black:
        rgb, canvas = (np.atleast_3d(data[f"{case}/{name}"]) for name in ("in/image", "out/canvas"))
        rgb = np.broadcast_to(rgb, (*rgb.shape[:2], 3)).copy()
        square = square_of(rgb.shape[:2], int(data[f"{case}/in/target_res"]))
        (h, w), (x, y) = square.content_hw, square.offset_xy
        assert [y, y + h] == data[f"{case}/out/content_rows"].tolist()
        assert [x, x + w] == data[f"{case}/out/content_cols"].tolist()
        assert np.abs(on_square(rgb, square).astype(int) - canvas.astype(int)).max() <= 2


@pytest.mark.parametrize("hw", [(30, 50), (50, 30), (40, 40), (101, 37)])
def test_place_and_back(hw):
    square = square_of(hw, 112)
    xy = np.random.default_rng(0).uniform(0, min(hw), (20, 2))
    np.testing.assert_allclose(square.unplace(square.place(xy)), xy, atol=1e-9)
    assert on_square(np.full((*hw, 3), 9, np.uint8), square).shape == (112, 112, 3)
