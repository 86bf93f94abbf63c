"""Any capture by its path: what it is recognised as, and selections of its images."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from capture_worlds import (
    BENT,
    World,
    write_bop,
    write_colmap,
    write_mask,
    write_middlebury,
    write_rgbd,
    write_transforms,
    write_tum,
)
from equiview.data.captures.opening import LAYOUTS, capture_kind, open_capture
from equiview.data.captures.photographs import Photographs
from equiview.data.captures.tracks import restrict_tracks
from equiview.data.names import split_selection
from equiview.errors import EquiviewError
from equiview.geometry import project
from equiview.types import SparseTracks
from recall_sets import write_co3d

WRITERS = {
    "colmap": (write_colmap, "shoe"),
    "nerfstudio": (write_transforms, "fox"),
    "bop": (write_bop, "set/test/000048"),
    "middlebury": (write_middlebury, "dino"),
    "rgbd": (write_rgbd, "desk"),
    "mvimgnet": (write_colmap, "23/4a0112ec"),
    "co3d": (lambda folder, world: write_co3d(folder.parents[1], count=world.count), "apple/1_2_3"),
}


def test_every_layout_is_tested():
    assert WRITERS.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("kind", WRITERS)
def test_kinds(tmp_path, kind):
    write, name = WRITERS[kind]
    folder = write(tmp_path / name, World())
    assert capture_kind(folder) == capture_kind(f"{folder}@0:2") == kind
    capture = open_capture(folder)
    assert len(capture.images) == 5 and (capture.tracks is not None) == (kind in ("colmap", "mvimgnet"))
    part = open_capture(str(folder) + "@1::2", long_side=40)
    assert part.name == f"{capture.name}@1__2" and part.images[0].camera.hw == (30, 40)
    assert [image.name for image in part.images] == [image.name for image in capture.images[1::2]]


def test_points_come_first(tmp_path):
    """A COLMAP model beside a transforms.json: the model has the tracks."""
    folder = write_transforms(write_colmap(tmp_path / "fox", World(BENT)), World(BENT))
    assert capture_kind(folder) == "colmap"


def test_tum_is_rgbd(tmp_path):
    assert capture_kind(write_tum(tmp_path / "fr1", World())) == "rgbd"


def test_nothing_is_no_kind(tmp_path):
    assert capture_kind(tmp_path) is None and capture_kind(tmp_path / "nowhere") is None


def test_the_folder_itself_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_transforms(tmp_path / "fox", World()))
    assert open_capture(".").name == "fox" and open_capture(".@:3").name == "fox@_3"


def test_split_selection():
    assert split_selection("fox@0::2") == (Path("fox"), slice(0, None, 2))
    assert split_selection("a/fox@-5:") == (Path("a/fox"), slice(-5, None, None))
    assert split_selection("fox@::-1") == (Path("fox"), slice(None, None, -1))
    assert split_selection("fox") == (Path("fox"), slice(None))
    assert split_selection("me@home/fox") == (Path("me@home/fox"), slice(None))


@given(*[st.one_of(st.none(), st.integers(-99, 99))] * 2, st.one_of(st.none(), st.integers(1, 9), st.integers(-9, -1)))
def test_split_selection_reads_what_slices_mean(start, stop, step):
    words = ["" if part is None else str(part) for part in (start, stop, step)]
    assert split_selection(Path("x/fox@" + ":".join(words))) == (Path("x/fox"), slice(start, stop, step))


def test_a_path_that_exists_has_no_selection(tmp_path):
    folder = write_transforms(tmp_path / "fox@1:3", World())
    assert split_selection(folder) == (folder, slice(None)) and len(open_capture(folder).images) == 5
    assert len(open_capture(f"{folder}@1:3").images) == 2


def test_a_selection_keeps_points_that_two_of_its_images_see(tmp_path):
    """Point j is in images j % 5 and the next: 2 and 3 share every fifth point, 1 and 3 none."""
    folder = write_colmap(tmp_path / "shoe", World(BENT))
    path = folder / "sparse" / "0" / "images.txt"
    lines = path.read_text().splitlines()
    for row in range(1, len(lines), 2):
        i = (int(lines[row].split()[0]) - 1) // 2
        seen = np.array(lines[row + 1].split()).reshape(-1, 3)
        number = (seen[:, 2].astype(int) - 10) // 3
        kept = seen[(number >= 0) & ((number % 5 == i) | ((number + 1) % 5 == i))]
        lines[row + 1] = " ".join(kept.ravel())
    path.write_text("\n".join(lines) + "\n")
    whole = open_capture(folder)
    assert len(whole.tracks.points_in_world) == 40
    with pytest.raises(EquiviewError, match="points that two chosen images see, found none"):
        open_capture(f"{folder}@1:4:2")
    part = open_capture(f"{folder}@2:4")
    np.testing.assert_array_equal(part.tracks.points_in_world, whole.tracks.points_in_world[2::5])
    assert sorted(set(part.tracks.image)) == [0, 1] and len(part.tracks.image) == 16
    for i, image in enumerate(part.images):
        here = part.tracks.image == i
        xy, _ = project(image.camera, part.tracks.points_in_world[part.tracks.point[here]])
        np.testing.assert_allclose(xy, part.tracks.xy[here], atol=1e-3)


@given(st.data())
def test_restricting_tracks(data):
    """By hand, for any observations: which points stay, and that every observation that stays says the same."""
    rows = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), unique=True))
    images = data.draw(st.permutations(range(6)).map(lambda order: order[:3]))
    image, point = np.array(rows, int).reshape(-1, 2).T
    tracks = SparseTracks(np.arange(24.0).reshape(8, 3), image, point, np.stack([image, point], 1) + 0.5)
    found = restrict_tracks(tracks, images)
    kept = [p for p in range(8) if len({i for i, q in rows if q == p and i in images}) >= 2]
    np.testing.assert_array_equal(found.points_in_world, tracks.points_in_world[kept])
    said = {(images[i], kept[p], *xy) for i, p, xy in zip(found.image, found.point, found.xy.tolist(), strict=True)}
    assert said == {(i, p, i + 0.5, p + 0.5) for i, p in rows if i in images and p in kept}


def test_masks_and_depth_are_read_when_asked_for(tmp_path):
    """Opening looks at headers only; a broken mask is met when its image is."""
    folder = write_transforms(tmp_path / "fox", World())
    write_mask(folder / "masks" / "000.png")
    data = (folder / "masks" / "000.png").read_bytes()
    (folder / "masks" / "000.png").write_bytes(data[:60])
    capture = open_capture(folder)
    assert isinstance(capture.images, Photographs) and capture.images[1].mask is None
    with pytest.raises(EquiviewError, match="masks/000.png: expected an image that opens"):
        capture.images[0].mask  # noqa: B018
    write_mask(folder / "masks" / "000.png")
    assert capture.images[0] is capture.images[0] and capture.images[-5].mask.any()
    with pytest.raises(IndexError):
        capture.images[5]


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_masks_of_ones_and_of_labels(tmp_path, dtype):
    folder = write_transforms(tmp_path / "fox", World())
    (folder / "masks").mkdir()
    mask = np.zeros((60, 80), dtype)
    mask[:, :40] = 1
    Image.fromarray(mask).save(folder / "masks" / "000.png")
    assert open_capture(folder).images[0].mask.sum() == 2400
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(folder / "masks" / "001.png")
    assert not open_capture(folder).images[1].mask.any()


@pytest.mark.parametrize("kind", ["colmap", "nerfstudio"])
def test_notes_stay_with_a_selection(tmp_path, kind):
    write, name = WRITERS[kind]
    folder = write(tmp_path / name, World(BENT))
    (folder / "images" / "002.png").unlink()
    assert open_capture(f"{folder}@0:3").notes == ("5 images listed, 1 missing: 002.png",)


def test_an_object_of_a_scene_with_several(tmp_path):
    folder = write_bop(tmp_path / "set" / "test" / "000048", World(), objects=(5, 8))
    assert json.loads((folder / "scene_gt.json").read_text())["0"][1]["obj_id"] == 8
    assert open_capture(f"{folder}@:2", object_id=8).name == "000048_obj000008@_2"
