"""Captures whose files were written on another system, or laid out in another of the public ways."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capture_worlds import BENT, World, read_json, write_colmap, write_json, write_transforms
from equiview.data.captures.opening import open_capture
from equiview.errors import EquiviewError
from equiview.render.references import find_file

NAMES = {
    "plain": "images/a.png",
    "from here": "./images/a.png",
    "backslashes": "images\\a.png",
    "backslashes from here": ".\\images\\a.png",
    "both": ".\\images/a.png",
    "doubled": "images\\\\a.png",
    "a Windows drive": "C:\\Users\\me\\fox\\images\\a.png",
    "a Windows share": "\\\\server\\fox\\images\\a.png",
    "another machine": "/Users/me/fox/images/a.png",
    "another working folder": "data/fox/images/a.png",
    "the name alone behind a drive": "D:/b.png",
    "quotes": '"images/a.png"',
    "spaces around": " images/a.png ",
    "another case": "Images/A.PNG",
    "through a parent": "images/../images/a.png",
    "decomposed letters": "images/u\u0308.png",
    "composed letters": "images/\u00fc.png",
}


@pytest.mark.parametrize("listed", NAMES.values(), ids=NAMES)
def test_a_file_is_found_by_the_name_another_system_gave_it(tmp_path, listed):
    (tmp_path / "images").mkdir()
    for name in ("images/a.png", "b.png", "images/\u00fc.png"):
        (tmp_path / name).touch()
    found = find_file(listed, tmp_path, strict=True)
    wanted = "b.png" if "b.png" in listed else "images/\u00fc.png" if "u" in Path(listed).stem else None
    wanted = "images/\u00fc.png" if "\u00fc" in listed or "\u0308" in listed else wanted or "images/a.png"
    assert found is not None and found.samefile(tmp_path / wanted)


@pytest.mark.parametrize(
    "listed", ["", ".", "images", "images/c.png", "other/b.png", "a\0b", "x" * 5000, "/", "C:\\", "..", "images/" * 500]
)
def test_a_file_that_is_not_there_is_not_found(tmp_path, listed):
    (tmp_path / "images").mkdir()
    (tmp_path / "b.png").touch()
    assert find_file(listed, tmp_path, strict=True) is None


def rewrite_names(folder, change):
    scene = read_json(folder / "transforms.json")
    for frame in scene["frames"]:
        for key in ("file_path", "mask_path", "depth_file_path"):
            if key in frame:
                frame[key] = change(frame[key])
    write_json(folder / "transforms.json", scene)


CHANGES = {
    "windows": lambda name: ".\\" + name.removeprefix("./").replace("/", "\\"),
    "drive": lambda name: "C:\\fox\\" + name.removeprefix("./").replace("/", "\\"),
    "absolute": lambda name: "/nowhere/fox/" + name.removeprefix("./"),
    "case": lambda name: name.upper(),
    "no suffix": lambda name: name.removesuffix(".png"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_scenes_of_nerfstudio(tmp_path, change):
    world = World()
    folder = write_transforms(tmp_path, world)
    for part in ("other", "deep"):
        (folder / part).mkdir()
    scene = read_json(folder / "transforms.json")
    for i, frame in enumerate(scene["frames"]):
        name = world.names()[i]
        mask = np.zeros((60, 80), np.uint8)
        mask[:, : 10 + i] = 255
        Image.fromarray(mask).save(folder / "other" / name)
        Image.fromarray(np.full((60, 80), 1000 + i, np.uint16)).save(folder / "deep" / name)
        frame |= {"mask_path": f"other/{name}", "depth_file_path": f"deep/{name}"}
    write_json(folder / "transforms.json", scene)
    rewrite_names(folder, change)
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text("\ufeff" + text)
    capture = open_capture(folder)
    assert [image.name for image in capture.images] == world.names() and capture.notes == ()
    for i, image in enumerate(capture.images):
        assert image.mask.sum() == 60 * (10 + i) and image.depth[0, 0] == pytest.approx(1 + i / 1000)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("name", [r"in\000.png", r"C:\data\images\in\000.png", "IN/000.png", "/data/images/in/000.png"])
def test_models_of_colmap(tmp_path, mark, name):
    world = World(BENT)
    names = [f"in/{i:03d}.png" for i in range(world.count)]
    folder = write_colmap(tmp_path, world, names=names)
    path = folder / "sparse" / "0" / "images.txt"
    text = path.read_text()
    for one in names:
        text = text.replace(one, name.replace("000", Path(one).stem))
    path.write_text(mark + text)
    capture = open_capture(folder)
    assert len(capture.images) == 5 and capture.notes == ()
    assert "\\" not in capture.images[0].name


@pytest.mark.parametrize("form", ["txt", "bin"])
@pytest.mark.parametrize("place", ["sparse", "colmap/sparse", "."])
def test_the_largest_of_several_models_with_a_note(tmp_path, form, place):
    folder = write_colmap(tmp_path, World(BENT), form=form, place=f"{place}/1")
    write_colmap(tmp_path / "part", World(BENT, count=3), form=form, place="0")
    (tmp_path / "part" / "0").rename(tmp_path / place / "0")
    capture = open_capture(folder)
    assert len(capture.images) == 5 and capture.notes == ("2 models: 1 with 5 images is used, not 0 (3)",)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "sparse/3", "colmap/sparse/0", "colmap/sparse", "0", "2", "."])
def test_every_public_layout(tmp_path, place):
    capture = open_capture(write_colmap(tmp_path, World(BENT), place=place))
    assert len(capture.images) == 5 and capture.notes == ()


def test_pictures_without_a_camera_are_counted(tmp_path):
    folder = write_colmap(tmp_path, World(BENT))
    for name in ("x10.png", "x9.png", "._000.png"):
        Image.new("RGB", (80, 60)).save(folder / "images" / name, "PNG")
    assert open_capture(folder).notes == ("2 of 7 pictures in images have no camera: x9.png, x10.png",)


IMPOSSIBLE = {
    "angle pi": {"camera_angle_x": np.pi},
    "angle 0": {"camera_angle_x": 0.0},
    "negative angle": {"camera_angle_x": -1.0},
    "angle NaN": {"camera_angle_x": np.nan},
    "focal length 0": {"fl_x": 0},
    "negative focal length": {"fl_x": -100},
    "focal length infinite": {"fl_x": np.inf},
    "focal length of 4000 digits": {"fl_x": 10**4000},
    "principal point NaN": {"cx": np.nan},
    "distortion NaN": {"k1": np.nan},
    "size NaN": {"w": np.nan},
    "size infinite": {"h": np.inf},
    "size of a half": {"w": 80.5},
    "negative size": {"w": -80},
    "size beyond any picture": {"w": 10**12},
    "size of 4000 digits": {"h": 10**4000},
    "a list as size": {"w": [80]},
    "an object as focal length": {"fl_x": {}},
    "text as focal length": {"fl_x": "long"},
    "a number as path": {"file_path": 3},
    "no path": {"file_path": None},
    "a path with NUL": {"file_path": "a\0b"},
    "a list as path": {"file_path": []},
    "a number as mask": {"mask_path": 3},
    "depth unit NaN": {"depth_unit_scale_factor": np.nan},
    "negative depth unit": {"depth_unit_scale_factor": -1},
    "no pose": {"transform_matrix": None},
    "a pose of text": {"transform_matrix": "eye"},
    "a ragged pose": {"transform_matrix": [[1, 0], [1]]},
    "a pose of large numbers": {"transform_matrix": [[10**4000]]},
    "a pose of 3x3": {"transform_matrix": np.eye(3).tolist()},
    "a pose with NaN": {"transform_matrix": np.full((4, 4), np.nan).tolist()},
    "a pose of 0": {"transform_matrix": np.zeros((4, 4)).tolist()},
    "a mirrored pose": {"transform_matrix": np.diag([-1.0, 1, 1, 1]).tolist()},
}


@pytest.mark.parametrize("values", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_values_are_named(tmp_path, values):
    folder = write_transforms(tmp_path, World())
    scene = read_json(folder / "transforms.json")
    scene["frames"][2] |= values
    (folder / "transforms.json").write_text(json.dumps(scene))
    with pytest.raises(EquiviewError, match=r"transforms.json frame 2") as caught:
        open_capture(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["null", "3", "[]", '{"frames": 3}', '{"frames": {}}', '{"frames": [3]}', "[" * 9999])
def test_scenes_of_another_shape(tmp_path, text):
    (write_transforms(tmp_path, World()) / "transforms.json").write_text(text)
    with pytest.raises(EquiviewError, match=r"transforms.json: expected"):
        open_capture(tmp_path)
