"""MVImgNet's folders: the first model only, names of class and instance, masks of the second download."""

import pytest

from capture_worlds import BENT, HW, World, write_colmap, write_mask
from equiview.data.captures.mvimgnet import is_instance, mvimgnet_capture


def write(root, classes=("7", "23", "113")):
    for i, number in enumerate(classes):
        write_colmap(root / number / f"4a0112e{i}", World(BENT, 3), form="bin")
    return root


def test_instances(tmp_path):
    root = write(tmp_path / "mvi_00")
    first = root / "7" / "4a0112e0"
    assert is_instance(first) and not is_instance(first.parent)
    write_colmap(first, World(BENT, 2), form="bin", place="sparse/1")
    capture = mvimgnet_capture(first)
    assert capture.name == "7_4a0112e0" and len(capture.images) == 3 and len(capture.tracks.points_in_world) == 40


@pytest.mark.parametrize("place", ["mvi_00/mask/7/4a0112e0", "mask/7/4a0112e0", "mvi_00/7/4a0112e0/masks"])
def test_masks(tmp_path, place):
    root = write(tmp_path / "mvi_00", ("7",))
    write_mask(tmp_path / place / "000.png.png")
    images = mvimgnet_capture(root / "7" / "4a0112e0").images
    assert images[0].mask.shape == HW and images[1].mask is None
