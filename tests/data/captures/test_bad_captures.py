"""Captures that cannot be used: each gives one message that names the file and what to do."""

import json

import numpy as np
import pytest
from PIL import Image

from bad_inputs import check_message
from capture_worlds import (
    BENT,
    World,
    read_json,
    write_bop,
    write_colmap,
    write_json,
    write_mask,
    write_middlebury,
    write_rgbd,
    write_transforms,
)
from equiview.data.captures.opening import open_capture
from equiview.errors import EquiviewError

MODEL = "sparse/0"


def colmap(folder, form="txt", **options):
    return write_colmap(folder, World(BENT, **options), form=form)


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def pose_times(folder, left):
    """Multiply the second frame's camera-to-world pose."""
    scene = read_json(folder / "transforms.json")
    frame = scene["frames"][1]
    frame["transform_matrix"] = (np.array(frame["transform_matrix"]) * left).tolist()
    write_json(folder / "transforms.json", scene)


def without(folder, *keys):
    scene = read_json(folder / "transforms.json")
    write_json(folder / "transforms.json", {key: value for key, value in scene.items() if key not in keys})


def frame_with(folder, **values):
    scene = read_json(folder / "transforms.json")
    scene["frames"][2].update(values)
    write_json(folder / "transforms.json", scene)


def no_such_folder(folder):
    return str(folder / "nowhere")


def nothing_recognisable(folder):
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")


def empty_folder(folder):
    folder.mkdir()


def a_file(folder):
    folder.write_text("")


def all_pictures_missing(folder):
    for path in (colmap(folder) / "images").iterdir():
        path.unlink()


def all_frames_missing(folder):
    for path in (write_transforms(folder, World()) / "images").iterdir():
        path.unlink()


def wrong_size(folder):
    Image.new("RGB", (40, 30)).save(colmap(folder) / "images" / "003.png")


def no_picture(folder):
    (colmap(folder) / "images" / "003.png").write_text("not a picture")


def unknown_model(folder):
    changed(colmap(folder) / MODEL / "cameras.txt", "OPENCV", "EUCM")


def unknown_model_number(folder):
    path = colmap(folder, "bin") / MODEL / "cameras.bin"
    data = bytearray(path.read_bytes())
    data[12] = 16
    path.write_bytes(bytes(data))


def too_few_parameters(folder):
    changed(colmap(folder) / MODEL / "cameras.txt", "OPENCV", "FULL_OPENCV")


def cut_cameras(folder):
    cut(colmap(folder, "bin") / MODEL / "cameras.bin", 0.5)


def cut_images(folder):
    cut(colmap(folder, "bin") / MODEL / "images.bin", 0.7)


def cut_points(folder):
    cut(colmap(folder, "bin") / MODEL / "points3D.bin", 0.4)


def empty_binary(folder):
    (colmap(folder, "bin") / MODEL / "images.bin").write_bytes(b"")


def broken_text(folder):
    changed(colmap(folder) / MODEL / "images.txt", " 7 002.png", " seven 002.png")


def missing_points_file(folder):
    (colmap(folder) / MODEL / "points3D.txt").unlink()


def unknown_camera(folder):
    changed(colmap(folder) / MODEL / "images.txt", " 7 002.png", " 9 002.png")


def zero_points(folder):
    (colmap(folder) / MODEL / "points3D.txt").write_text("# none\n")


def zero_quaternion(folder):
    path = colmap(folder) / MODEL / "images.txt"
    lines = path.read_text().splitlines()
    words = lines[1].split()
    path.write_text("\n".join([lines[0], " ".join([words[0], "0", "0", "0", "0", *words[5:]]), *lines[2:]]))


def one_photograph(folder):
    write_transforms(folder, World(count=1))


def broken_json(folder):
    cut(write_transforms(folder, World()) / "transforms.json", 0.6)


def a_list_as_scene(folder):
    write_json(write_transforms(folder, World()) / "transforms.json", [1, 2])


def no_frames(folder):
    without(write_transforms(folder, World()), "frames")


def no_intrinsics(folder):
    without(write_transforms(folder, World()), "fl_x", "fl_y")


def words_as_intrinsics(folder):
    frame_with(write_transforms(folder, World()), fl_x="long")


def words_as_depth_unit(folder):
    frame_with(write_transforms(folder, World()), integer_depth_scale="mm")


def size_of_0(folder):
    frame_with(write_transforms(folder, World()), w=0)


def no_picture_in_a_scene(folder):
    (write_transforms(folder, World()) / "images" / "003.png").write_text("not a picture")


def poses_as_a_list(folder):
    write_json(write_bop(folder, World()) / "scene_gt.json", [])


def unknown_lens(folder):
    frame_with(write_transforms(folder, World()), camera_model="EQUIRECTANGULAR")


def no_pose(folder):
    frame_with(write_transforms(folder, World()), transform_matrix=None)


def pose_of_words(folder):
    frame_with(write_transforms(folder, World()), transform_matrix=[["a"]])


def no_file_path(folder):
    frame_with(write_transforms(folder, World()), file_path=3)


def nan_pose(folder):
    pose_times(write_transforms(folder, World()), np.nan)


def left_handed(folder):
    pose_times(write_transforms(folder, World()), np.array([[1, 1, -1, 1]] * 4))


def scaled_pose(folder):
    pose_times(write_transforms(folder, World()), np.array([[2, 2, 2, 1]] * 3 + [[1, 1, 1, 1]]))


def sheared_pose(folder):
    pose_times(write_transforms(folder, World()), np.array([[2, 1, 1, 1]] * 4))


def transposed_pose(folder):
    path = write_rgbd(folder, World()) / "pose" / "002.txt"
    np.savetxt(path, np.loadtxt(path).T)


def nan_pose_text(folder):
    (write_rgbd(folder, World()) / "pose" / "002.txt").write_text("nan 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")


def left_handed_list(folder):
    changed(write_middlebury(folder, World()) / "made_par.txt", "001.png", "001.png")
    path = folder / "made_par.txt"
    lines = path.read_text().splitlines()
    words = lines[2].split()
    words[10:19] = [str(-float(word)) for word in words[10:19]]
    path.write_text("\n".join([*lines[:2], " ".join(words), *lines[3:]]))


def depth_of_another_size(folder):
    Image.fromarray(np.ones((30, 40), np.uint16)).save(write_rgbd(folder, World()) / "depth" / "002.png")


def npy_depth_of_another_size(folder):
    np.save(write_transforms(folder, World()) / "deep.npy", np.ones((30, 40)))
    frame_with(folder, depth_file_path="deep.npy")


def mask_of_another_size(folder):
    write_mask(write_transforms(folder, World()) / "masks" / "002.png")
    Image.new("L", (8, 6)).save(folder / "masks" / "002.png")


def named_mask_missing(folder):
    frame_with(write_transforms(folder, World()), mask_path="masks/gone.png")


def no_poses(folder):
    for path in (write_rgbd(folder, World()) / "pose").iterdir():
        path.unlink()


def no_colour(folder):
    for path in (write_rgbd(folder, World()) / "color").iterdir():
        path.unlink()


def several_objects(folder):
    write_bop(folder, World(), objects=(3, 4))


def scaled_bop(folder):
    path = write_bop(folder, World()) / "scene_gt.json"
    poses = read_json(path)
    poses["2"][0]["cam_R_m2c"] = [2 * value for value in poses["2"][0]["cam_R_m2c"]]
    path.write_text(json.dumps(poses))


def empty_selection(folder):
    write_transforms(folder, World())
    return f"{folder}@9:"


def selection_of_one(folder):
    write_transforms(folder, World())
    return f"{folder}@0:1"


def selection_with_step_0(folder):
    write_transforms(folder, World())
    return f"{folder}@::0"


def selection_of_words(folder):
    write_transforms(folder, World())
    return f"{folder}@every-second"


# What spoils a capture (perhaps giving another path to open) -> words its message has.
BAD = {
    no_such_folder: ("nowhere", "nothing there"),
    nothing_recognisable: ("one of these layouts", "COLMAP: ", "nerfstudio", "BOP", "RGB-D", "found letter.txt"),
    empty_folder: ("one of these layouts", "an empty folder"),
    a_file: ("the folder of a capture", "a file"),
    all_pictures_missing: ("the pictures the model names", "none of 5"),
    all_frames_missing: ("transforms.json", "none of 5"),
    wrong_size: ("003.png", "80x60 pixels as its camera says", "40x30"),
    no_picture: ("003.png", "an image that opens"),
    unknown_model: ("cameras.txt camera 7", "OPENCV_FISHEYE", "found EUCM"),
    unknown_model_number: ("cameras.bin camera 7", "found number 16"),
    too_few_parameters: ("cameras.txt camera 7", "12 values of FULL_OPENCV", "found 8"),
    cut_cameras: ("cameras.bin", "cut off"),
    cut_images: ("images.bin", "cut off"),
    cut_points: ("points3D.bin", "cut off"),
    empty_binary: ("images.bin", "cut off"),
    broken_text: ("images.txt", "a COLMAP text file", "seven"),
    missing_points_file: ("points3D.txt", "nothing there"),
    unknown_camera: ("002.png", "a camera of the model", "number 9"),
    zero_points: ("points that two images or more see", "none"),
    zero_quaternion: ("image 004.png", "NaN or infinity"),
    one_photograph: ("at least 2 images", "found 1"),
    broken_json: ("transforms.json", "JSON", "does not parse"),
    a_list_as_scene: ("transforms.json", "a list `frames`"),
    no_frames: ("transforms.json", "a list `frames`"),
    no_intrinsics: ("frame 0", "fl_x or camera_angle_x"),
    words_as_intrinsics: ("frame 2 `fl_x`", "a finite number", "long"),
    words_as_depth_unit: ("frame 2 `integer_depth_scale`", "a finite number", "mm"),
    size_of_0: ("at least 1x1 pixel", "found 0x60"),
    no_picture_in_a_scene: ("003.png", "an image that opens"),
    poses_as_a_list: ("scene_gt.json", "poses by image number"),
    unknown_lens: ("frame 2", "OPENCV_FISHEYE", "EQUIRECTANGULAR"),
    no_pose: ("frame 2", "a pose of 4x4"),
    pose_of_words: ("frame 2", "transform_matrix with 4x4 numbers"),
    no_file_path: ("frame 2", "`file_path`, a path"),
    nan_pose: ("frame 1 (001.png)", "NaN or infinity"),
    left_handed: ("frame 1 (001.png)", "a left-handed one", "mirrored"),
    scaled_pose: ("frame 1 (001.png)", "a scale of 2", "Divide the 3x3 part by 2"),
    sheared_pose: ("frame 1 (001.png)", "axes that are not orthogonal"),
    transposed_pose: ("002.txt", "the last row 0 0 0 1", "row by row"),
    nan_pose_text: ("002.txt", "NaN or infinity"),
    left_handed_list: ("made_par.txt:3", "a left-handed one"),
    depth_of_another_size: ("depth/002.png", "depth of 80x60 pixels", "40x30"),
    npy_depth_of_another_size: ("deep.npy", "(60, 80)", "(30, 40)"),
    mask_of_another_size: ("masks/002.png", "a mask of 80x60 pixels", "8x6"),
    named_mask_missing: ("masks/gone.png", "nothing there"),
    no_poses: ("pictures with poses", "5 pictures and no pose"),
    no_colour: ("pictures in rgb/ or color/", "none"),
    several_objects: ("one object", "objects 3, 4"),
    scaled_bop: ("image 2", "a scale of 2"),
    empty_selection: ("@9:", "at least 2 of 5 images", "found 0"),
    selection_of_one: ("@0:1", "at least 2 of 5 images", "found 1"),
    selection_with_step_0: ("PATH@START:STOP:STEP", "'::0'"),
    selection_of_words: ("PATH@START:STOP:STEP", "every-second"),
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_one_clear_message(tmp_path, spoil):
    folder = tmp_path / "thing"
    path = spoil(folder)
    with pytest.raises(EquiviewError) as raised:
        open_capture(path if isinstance(path, str) else folder)
    message = str(raised.value)
    assert message.count("expected") == 1 and "\n" not in message
    for words in BAD[spoil]:
        assert words.lower() in message.lower(), (words, message)


@pytest.mark.parametrize("spoil", list(BAD)[::2], ids=lambda spoil: spoil.__name__)
def test_measure_says_it_and_exits_with_2(tmp_path, run, spoil):
    folder = tmp_path / "thing"
    path = spoil(folder)
    given = path if isinstance(path, str) else folder
    check_message(run("measure", "-b", "equiview/tiny", "--objects", given, "--out", tmp_path / "out"), "expected")
    assert not (tmp_path / "out" / "rows.jsonl").exists()
