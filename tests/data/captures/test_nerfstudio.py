"""transforms.json: the axes, lenses of several kinds, frames that are listed and missing, and a real scene."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from capture_worlds import (
    BENT,
    GL,
    HW,
    INTRINSICS,
    World,
    read_json,
    write_depth,
    write_json,
    write_mask,
    write_transforms,
)
from equiview.data.captures import nerfstudio
from equiview.data.captures.lens import Lens
from equiview.data.captures.nerfstudio import cam_from_world_of, nerfstudio_capture
from equiview.data.captures.undistortion import source_xy
from equiview.geometry import inverse, pixel_centers, project, unproject
from equiview.io import pixels_of
from equiview.types import Camera

FISHEYE = Lens(INTRINSICS, HW, "fisheye", (0.05, -0.01, 0.003, -0.001))


def check_reprojection(capture, world):
    for i, photograph in enumerate(capture.images.photographs):
        xy, depth = project(capture.images[i].camera, world.points)
        assert (depth > 0).all()
        np.testing.assert_allclose(source_xy(photograph.undistortion, xy), world.pixels(i), atol=1e-3)


@pytest.mark.parametrize(
    ("lens", "extra"),
    [
        (Lens(INTRINSICS, HW), {}),
        (BENT, {}),
        (BENT, {"camera_model": "OPENCV"}),
        (FISHEYE, {"camera_model": "OPENCV_FISHEYE"}),
        (FISHEYE, {"is_fisheye": True}),
    ],
)
@pytest.mark.parametrize("long_side", [None, 50])
def test_points_reproject(tmp_path, lens, extra, long_side):
    world = World(lens)
    capture = nerfstudio_capture(write_transforms(tmp_path / "fox", world, extra=extra), long_side=long_side)
    assert capture.name == "fox" and capture.tracks is None and capture.notes == ()
    check_reprojection(capture, world)


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1), st.tuples(*[st.floats(-9, 9)] * 3))
def test_axes_there_and_back(q, t):
    """A point in front of an OpenGL camera (z = -1), up and right, lies in front, up and right of ours."""
    world_from_gl = np.eye(4)
    world_from_gl[:3, :3], world_from_gl[:3, 3] = Rotation.from_quat(q).as_matrix(), t
    cam_from_world = cam_from_world_of(world_from_gl)
    np.testing.assert_allclose(inverse(cam_from_world) @ GL, world_from_gl, atol=1e-9)
    np.testing.assert_allclose(cam_from_world @ world_from_gl @ [0.2, 0.3, -1, 1], [0.2, -0.3, 1, 1], atol=1e-9)


def test_frames_have_their_own_intrinsics(tmp_path):
    """The scene's are wrong; every frame's count."""
    world = World(BENT)
    folder = write_transforms(tmp_path / "fox", world)
    scene = read_json(folder / "transforms.json")
    own = {key: scene[key] for key in ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")}
    for frame in scene["frames"]:
        frame.update(own)
    write_json(folder / "transforms.json", scene | {"fl_x": 10, "cx": 3, "k1": 0})
    check_reprojection(nerfstudio_capture(folder), world)


def test_an_angle_instead_of_focal_lengths(tmp_path):
    """As NeRF's Blender scenes: one angle, no size, no suffix, transparent pictures, transforms_train.json."""
    world = World(Lens(np.array([[90.0, 0, 40], [0, 90, 30], [0, 0, 1]]), HW))
    folder = write_transforms(tmp_path / "lego", world)
    scene = read_json(folder / "transforms.json")
    (folder / "transforms.json").unlink()
    frames = [frame | {"file_path": frame["file_path"].removesuffix(".png")} for frame in scene["frames"]]
    write_json(folder / "transforms_train.json", {"camera_angle_x": 2 * np.arctan(40 / 90), "frames": frames})
    rgba = np.zeros((*HW, 4), np.uint8)
    rgba[10:20, 30:50] = 255
    Image.fromarray(rgba).save(folder / "images" / "000.png")
    capture = nerfstudio_capture(folder)
    check_reprojection(capture, world)
    assert capture.images[0].mask.sum() == 200 and capture.images[1].mask is None
    assert pixels_of(capture.images[0].image).shape == (*HW, 3)


def test_listed_and_missing_is_one_note(tmp_path):
    listed = [f"9{i}.png" for i in range(7)]
    capture = nerfstudio_capture(write_transforms(tmp_path / "fox", World(BENT), listed=listed))
    note = "12 images listed, 7 missing: 90.png, 91.png, 92.png, 93.png, 94.png and 2 more"
    assert len(capture.images) == 5 and capture.notes == (note,)


def test_masks_and_depth(tmp_path):
    world = World(BENT)
    folder = write_transforms(tmp_path / "fox", world, extra={"integer_depth_scale": 0.0005})
    scene = read_json(folder / "transforms.json")
    write_mask(folder / "masks" / "000.png")
    write_mask(folder / "elsewhere" / "m.png")
    write_depth(folder / "depth" / "1.png", world, 1, 2000)
    np.save(folder / "depth" / "2.npy", (world.depth(2) / 0.0005).astype(np.float32))
    scene["frames"][1] |= {"mask_path": "elsewhere/m.png", "depth_file_path": "depth/1.png"}
    scene["frames"][2] |= {"depth_path": "./depth/2.npy"}
    write_json(folder / "transforms.json", scene)
    images = nerfstudio_capture(folder).images
    assert [image.mask is not None for image in images] == [True, True, False, False, False]
    assert images[0].mask[:, :38].all() and not images[0].mask[:, 43:].any()
    for i in (1, 2):
        assert_on_plane(images[i])


def assert_on_plane(image, tolerance=0.02):
    """Depth points of the plane z = 0 lie on it: nearest depth is within a pixel, a cm or so here."""
    points = unproject(image.camera, pixel_centers(image.camera.hw), image.depth)
    assert np.abs(points[..., 2]).max() < tolerance


def symmetric_epipolar_px(camera_0: Camera, camera_1: Camera, xy0, xy1):
    cam1_from_cam0 = camera_1.cam_from_world @ inverse(camera_0.cam_from_world)
    x, y, z = cam1_from_cam0[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    essential = cross @ cam1_from_cam0[:3, :3]
    f = np.linalg.inv(camera_1.intrinsics).T @ essential @ np.linalg.inv(camera_0.intrinsics)
    a, b = (np.concatenate([xy, np.ones((len(xy), 1))], 1) for xy in (xy0, xy1))
    line_1, line_0 = a @ f.T, b @ f
    off = np.abs((b * line_1).sum(1))
    return (off / np.linalg.norm(line_1[:, :2], axis=1) + off / np.linalg.norm(line_0[:, :2], axis=1)) / 2


# Pairs whose motion is across the picture: along the axis, radial distortion keeps points on their epipolar lines.
FOX_PAIRS = [(7, 8), (20, 22), (21, 22), (42, 43)]


def sift_matches(capture):
    """Return pixels of SIFT matches (ratio test alone) of each pair."""
    cv2 = pytest.importorskip("cv2")
    sift, matcher = cv2.SIFT_create(1500), cv2.BFMatcher(cv2.NORM_L2)
    found, matches = {}, []
    for i in {i for pair in FOX_PAIRS for i in pair}:
        keys, descriptors = sift.detectAndCompute(pixels_of(capture.images[i].image), None)
        found[i] = np.array([key.pt for key in keys]) + 0.5, descriptors  # OpenCV's first pixel centre is 0, 0.
    for i, j in FOX_PAIRS:
        (xy0, d0), (xy1, d1) = found[i], found[j]
        good = [a for a, b in matcher.knnMatch(d0, d1, k=2) if a.distance < 0.7 * b.distance]
        assert len(good) > 100
        matches.append((xy0[[m.queryIdx for m in good]], xy1[[m.trainIdx for m in good]]))
    return matches


def median_epipolar_px(capture, matches):
    distances = []
    for (i, j), (xy0, xy1) in zip(FOX_PAIRS, matches, strict=True):
        distances.append(symmetric_epipolar_px(capture.images[i].camera, capture.images[j].camera, xy0, xy1))
    return np.median(np.concatenate(distances))


@pytest.mark.shared
def test_the_fox(shared, monkeypatch):
    """Matches of a real scene lie on their epipolar lines, and less so when a conversion is left out."""
    folder = shared / "data" / "captures" / "ngp_fox"
    capture = nerfstudio_capture(folder, long_side=1024)
    assert len(capture.images) == 50 and capture.images[0].camera.hw == (1024, 576)
    assert capture.notes[0].startswith("67 images listed, 17 missing: 0005.jpg, ")
    matches = sift_matches(capture)
    as_read = median_epipolar_px(capture, matches)
    with monkeypatch.context() as patch:
        patch.setattr(nerfstudio, "GL_FROM_CV", np.eye(4))  # The pictures are the same.
        unturned = median_epipolar_px(nerfstudio_capture(folder, long_side=1024), matches)
    with monkeypatch.context() as patch:
        patch.setattr(nerfstudio, "_distortion", lambda *_: ("perspective", ()))
        bent = nerfstudio_capture(folder, long_side=1024)
        without_lens = median_epipolar_px(bent, sift_matches(bent))
    assert as_read < 0.5
    assert without_lens > 1.3 * as_read, (without_lens, as_read)
    assert unturned > 5


@pytest.mark.parametrize("key", ["ftheta_p0", "equirectangular"])
def test_other_lenses_of_instant_ngp_are_refused(tmp_path, key):
    folder = write_transforms(tmp_path / "fox", World(BENT), extra={key: 1.0})
    with pytest.raises(ValueError, match=f"expected a perspective or OpenCV fisheye lens, found {key}"):
        nerfstudio_capture(folder)


def test_a_picture_that_is_listed_twice_is_used_once(tmp_path):
    folder = write_transforms(tmp_path, World())
    scene = read_json(folder / "transforms.json")
    scene["frames"] += scene["frames"][:2]
    write_json(folder / "transforms.json", scene)
    capture = nerfstudio_capture(folder)
    assert len({image.name for image in capture.images}) == len(capture.images) == len(scene["frames"]) - 2
    assert capture.notes == ("2 pictures are listed more than once; the first entry of each is used",)
