"""Middlebury: both kinds of lists, and a box that fits the pictures."""

import numpy as np
import pytest
from PIL import Image

from capture_worlds import World, write_middlebury
from equiview.data.captures.middlebury import middlebury_capture, middlebury_scenes, open_middlebury
from equiview.data.captures.undistortion import source_xy
from equiview.errors import EquiviewError
from equiview.geometry import project
from equiview.io import pixels_of

BOX = "The (tight) bounding box for the dino model is\n(-0.1 -0.2 -0.3)\n(0.1 0.2 0.3)\n"
HEAD = "imgname.png k11 k12 k13 k21 k22 k23 k31 k32 k33 r11 r12 r13 r21 r22 r23 r31 r32 r33 t1 t2 t3"
NUMBERS = "100 0 20 0 100 15 0 0 1 1 0 0 0 1 0 0 0 1 0.1 0.2 3"


def write(folder, first, count=4, present=4):
    folder.mkdir()
    lines = [first, *(f"im{i}.png {NUMBERS}" for i in range(count))]
    (folder / "dino_par.txt").write_text("\n".join(lines) + "\n")
    (folder / "README.txt").write_text("A dinosaur.\n" + BOX)
    for i in range(present):
        Image.new("RGB", (40, 30)).save(folder / f"im{i}.png")
    return folder


@pytest.mark.parametrize("first", ["5", HEAD])
def test_both_lists(tmp_path, first):
    found = open_middlebury(write(tmp_path / "dino", first, 5, 4))
    assert [image.name for image in found.images] == ["im0.png", "im1.png", "im2.png", "im3.png"]
    assert found.missing == ["im4.png"]
    np.testing.assert_array_equal(found.box, [[-0.1, -0.2, -0.3], [0.1, 0.2, 0.3]])
    camera = found.images[0].camera
    assert camera.hw == (30, 40)
    np.testing.assert_array_equal(camera.intrinsics, [[100, 0, 20.5], [0, 100, 15.5], [0, 0, 1]])
    np.testing.assert_array_equal(camera.cam_from_world[:3, 3], [0.1, 0.2, 3])


def test_halves_take_turns(tmp_path):
    scenes = middlebury_scenes(write(tmp_path / "dino", "4"))
    names = [([r.name for r in scene.references], [q.name for q in scene.queries]) for scene in scenes]
    even, odd = ["im0.png", "im2.png"], ["im1.png", "im3.png"]
    assert names == [(even, odd), (odd, even)]
    assert {scene.name for scene in scenes} == {"dino"} and scenes[0].world_unit_cm == 100


def test_bad_input(tmp_path):
    with pytest.raises(EquiviewError, match="no such folder"):
        open_middlebury(tmp_path / "nothing")
    with pytest.raises(EquiviewError, match="images that dino_par.txt names"):
        open_middlebury(write(tmp_path / "empty", "4", present=0))
    folder = write(tmp_path / "broken", "4")
    (folder / "dino_par.txt").write_text(f"2\nim0.png {NUMBERS}\nim1.png {NUMBERS.replace('100', 'nan', 1)}\n")
    with pytest.raises(EquiviewError, match="dino_par.txt:3: expected a file name and 21 finite numbers"):
        open_middlebury(folder)
    folder = write(tmp_path / "boxless", "4")
    (folder / "README.txt").write_text("no box here")
    with pytest.raises(EquiviewError, match="the bounding box as"):
        open_middlebury(folder)


@pytest.mark.parametrize("long_side", [None, 40])
def test_capture(tmp_path, long_side):
    world = World()
    folder = write_middlebury(tmp_path / "made", world)
    with (folder / "made_par.txt").open("a") as file:
        file.write(f"gone.png {NUMBERS}\n")
    capture = middlebury_capture(folder, long_side=long_side)
    assert capture.name == "made" and capture.notes == ("6 images listed, 1 missing: gone.png",)
    np.testing.assert_array_equal(capture.box, [[-0.3] * 3, [0.3] * 3])
    for i, photograph in enumerate(capture.images.photographs):
        xy, _ = project(capture.images[i].camera, world.points)
        np.testing.assert_allclose(source_xy(photograph.undistortion, xy), world.pixels(i), atol=1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("long_side", [None, 400])
@pytest.mark.parametrize(("name", "count"), [("dinoSparseRing", 16), ("dino_hemisphere61", 61)])
def test_the_box_projects_around_the_object(shared, name, count, long_side):
    """The object is bright on black: in every picture the projected box must hold it, tightly and nothing else."""
    capture = middlebury_capture(shared / "data" / "captures" / "middlebury" / name, long_side=long_side)
    assert len(capture.images) == count
    assert len(capture.notes) == (1 if name == "dino_hemisphere61" else 0)
    corners = np.stack(np.meshgrid(*capture.box.T, indexing="ij"), -1).reshape(-1, 3)
    for image in capture.images:
        xy, depth = project(image.camera, corners)
        assert (depth > 0).all()
        low, high = xy.min(0) - 4, xy.max(0) + 4
        rows, cols = np.nonzero(pixels_of(image.image).max(2) > 80)
        inside = (cols >= low[0]) & (cols <= high[0]) & (rows >= low[1]) & (rows <= high[1])
        assert inside.mean() > 0.99, image.name
        middle = np.array([np.median(cols), np.median(rows)])
        assert np.abs(middle - (low + high) / 2).max() < 0.25 * (high - low).max(), image.name
