"""COLMAP models: both forms, every place, tracks that reproject, the same as pycolmap reads."""

import numpy as np
import pytest

from capture_worlds import BENT, HW, INTRINSICS, World, write_colmap, write_mask
from equiview.data.captures.colmap import colmap_capture
from equiview.data.captures.colmap_files import read_model
from equiview.data.captures.lens import Lens
from equiview.data.captures.undistortion import source_xy
from equiview.geometry import project
from equiview.io import pixels_of

FISHEYE = Lens(INTRINSICS, HW, "fisheye", (0.05, -0.01, 0.003, -0.001))
SQUARE = Lens(np.array([[90.0, 0, 41.3], [0, 90.0, 28.9], [0, 0, 1]]), HW, "perspective", (-0.1,))
CASES = {"OPENCV": BENT, "OPENCV_FISHEYE": FISHEYE, "SIMPLE_RADIAL": SQUARE, "PINHOLE": Lens(INTRINSICS, HW)}


def reprojection_px(capture):
    tracks, error = capture.tracks, []
    for i, image in enumerate(capture.images):
        here = tracks.image == i
        xy, depth = project(image.camera, tracks.points_in_world[tracks.point[here]])
        assert here.any() and (depth > 0).all()
        error.append(np.linalg.norm(xy - tracks.xy[here], axis=1))
    return np.concatenate(error).max()


@pytest.mark.parametrize("form", ["txt", "bin"])
@pytest.mark.parametrize("model", CASES)
@pytest.mark.parametrize("long_side", [None, 50])
def test_tracks_reproject(tmp_path, form, model, long_side):
    world = World(CASES[model])
    capture = colmap_capture(write_colmap(tmp_path / "shoe", world, form=form, model=model), long_side=long_side)
    assert capture.name == "shoe" and [image.name for image in capture.images] == world.names()
    assert len(capture.tracks.points_in_world) == len(world.points)
    assert reprojection_px(capture) < 1e-3
    for i, photograph in enumerate(capture.images.photographs):
        xy, _ = project(capture.images[i].camera, world.points)
        np.testing.assert_allclose(source_xy(photograph.undistortion, xy), world.pixels(i), atol=1e-3)
        assert pixels_of(capture.images[i].image).shape == (*capture.images[i].camera.hw, 3)


def test_text_and_binary_say_the_same(tmp_path):
    a, b = (
        read_model(write_colmap(tmp_path / form, World(BENT), form=form) / "sparse" / "0") for form in ("txt", "bin")
    )
    assert a.lenses.keys() == b.lenses.keys() and a.lenses[7].coefficients == b.lenses[7].coefficients
    np.testing.assert_array_equal(a.lenses[7].intrinsics, b.lenses[7].intrinsics)
    np.testing.assert_array_equal(a.points_in_world, b.points_in_world)
    for one, other in zip(a.images, b.images, strict=True):
        assert one.name == other.name and one.camera == other.camera
        for part in ("cam_from_world", "xy", "point"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "0", "."])
def test_places(tmp_path, place):
    capture = colmap_capture(write_colmap(tmp_path / "shoe", World(), place=place, model="PINHOLE"))
    assert len(capture.images) == 5


def test_the_model_itself_finds_the_pictures_beside(tmp_path):
    folder = write_colmap(tmp_path / "shoe", World(), model="PINHOLE")
    assert len(colmap_capture(folder / "sparse" / "0").images) == 5


def test_pictures_beside_the_model_and_in_subfolders(tmp_path):
    names = [f"left cam/{i}.png" for i in range(1, 11)]
    folder = write_colmap(tmp_path / "shoe", World(count=10), model="PINHOLE", names=names)
    (folder / "images" / "left cam").rename(folder / "left cam")
    assert [image.name for image in colmap_capture(folder).images] == names, "1, 2, 10 and not 1, 10, 2"


@pytest.mark.parametrize("name", ["000.png", "000.png.png"])
def test_masks(tmp_path, name):
    folder = write_colmap(tmp_path / "shoe", World(BENT))
    write_mask(folder / "masks" / name)
    first, second = colmap_capture(folder).images[:2]
    assert second.mask is None and first.mask.shape == HW
    assert first.mask[:, :38].all() and not first.mask[:, 43:].any()


def test_missing_pictures_are_noted_and_their_tracks_left_out(tmp_path):
    folder = write_colmap(tmp_path / "shoe", World(BENT))
    (folder / "images" / "001.png").unlink()
    capture = colmap_capture(folder)
    assert capture.notes == ("5 images listed, 1 missing: 001.png",)
    assert len(capture.images) == 4 and capture.tracks.image.max() == 3
    assert reprojection_px(capture) < 1e-3


def test_pycolmap_reads_the_same(tmp_path):
    """Both ways: their reader on our files; our reader on theirs, with the rigs and frames of the newer layout."""
    pycolmap = pytest.importorskip("pycolmap")
    world = World(BENT)
    place = write_colmap(tmp_path / "shoe", world) / "sparse" / "0"
    theirs = pycolmap.Reconstruction(str(place))
    (tmp_path / "b").mkdir()
    theirs.write_binary(str(tmp_path / "b"))
    assert (tmp_path / "b" / "rigs.bin").is_file()
    capture = colmap_capture(tmp_path / "shoe")
    for model in (read_model(place), read_model(tmp_path / "b")):
        images = {image.name: image for image in model.images}
        assert sorted(images) == world.names() and len(model.points_in_world) == theirs.num_points3D()
        for image in theirs.images.values():
            mine = images[image.name]
            np.testing.assert_allclose(mine.cam_from_world[:3], image.cam_from_world().matrix(), atol=1e-12)
            lens, camera = model.lenses[mine.camera], theirs.cameras[image.camera_id]
            np.testing.assert_allclose(lens.intrinsics, camera.calibration_matrix(), atol=1e-12)
            seen = {p.point3D_id: p.xy for p in image.points2D if p.has_point3D()}
            assert sorted(seen) == sorted(mine.point)
            np.testing.assert_allclose([seen[n] for n in mine.point], mine.xy, atol=1e-12)
    image = next(image for image in theirs.images.values() if image.name == "002.png")
    mine = capture.images.photographs[2].undistortion
    for number, point in theirs.points3D.items():
        xy, _ = project(capture.images[2].camera, point.xyz[None])
        np.testing.assert_allclose(
            source_xy(mine, xy)[0], image.project_point(point.xyz), atol=1e-6, err_msg=str(number)
        )


def test_observations_that_cannot_be_used_are_left_out(tmp_path):
    """A point at the lower rim, which undistorting cuts off, and one without a place in the model."""
    cushion = Lens(INTRINSICS, HW, "perspective", (0.3, 0.0, 0.0, 0.0))
    place = write_colmap(tmp_path / "shoe", World(cushion)) / "sparse" / "0"
    lines = (place / "images.txt").read_text().splitlines()
    lines[2] += " 40 59.5 500"
    lines[4] += " 40 59.5 500"
    (place / "images.txt").write_text("\n".join(lines))
    rows = (place / "points3D.txt").read_text().splitlines()
    (place / "points3D.txt").write_text("\n".join([*rows[:-1], "500 9 9 9 1 2 3 0.5 1 1 3 1"]))
    capture = colmap_capture(tmp_path / "shoe")
    assert len(capture.tracks.points_in_world) == 39
    assert reprojection_px(capture) < 1e-3
    sizes = np.array([image.camera.hw[::-1] for image in capture.images])[capture.tracks.image]
    assert (capture.tracks.xy >= 0).all() and (capture.tracks.xy <= sizes).all()
