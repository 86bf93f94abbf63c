"""The BOP layout, from a tiny data set the test writes."""

import json

import numpy as np
import pytest
from PIL import Image

from capture_worlds import World, write_bop
from equiview.data.captures.bop import bop_capture, bop_model, bop_scene
from equiview.data.captures.undistortion import source_xy
from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers, project, unproject


def write(root, depth=True):
    models = root / "models_eval"
    models.mkdir(parents=True)
    entry = {"diameter": 50.0, "min_x": -1, "min_y": -2, "min_z": -3, "size_x": 2, "size_y": 4, "size_z": 6}
    (models / "models_info.json").write_text(json.dumps({"5": entry}))
    vertices = "0 0 0\n1 0 0\n0 1 0\n"
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (models / "obj_000005.ply").write_text(f"{head}{faces}{vertices}3 0 1 2\n")
    for split, scene, count in (("train_real", 1, 6), ("test", 48, 3)):
        folder = root / split / f"{scene:06d}"
        for part in ("rgb", "depth", "mask_visib"):
            (folder / part).mkdir(parents=True)
        cameras, poses = {}, {}
        for i in range(count):
            cameras[str(i)] = {"cam_K": [20, 0, 8, 0, 20, 6, 0, 0, 1], "depth_scale": 0.1}
            pose = {"cam_R_m2c": np.eye(3).ravel().tolist(), "cam_t_m2c": [1, 2, 300 + i]}
            poses[str(i)] = [pose | {"obj_id": 3}, pose | {"obj_id": 5}]
            Image.new("RGB", (16, 12)).save(folder / "rgb" / f"{i:06d}.png")
            if depth:
                Image.fromarray(np.full((12, 16), 3000, np.uint16)).save(folder / "depth" / f"{i:06d}.png")
            mask = np.zeros((12, 16), np.uint8)
            mask[3:6, 4:9] = 255
            Image.fromarray(mask).save(folder / "mask_visib" / f"{i:06d}_000001.png")
        (folder / "scene_camera.json").write_text(json.dumps(cameras))
        (folder / "scene_gt.json").write_text(json.dumps(poses))
    return root


def test_scene(tmp_path):
    root = write(tmp_path / "ycbv")
    scene = bop_scene(root, 5, max_references=3)
    assert scene.name == "ycbv/000005" and scene.world_unit_cm == 0.1
    assert [r.camera.cam_from_world[2, 3] for r in scene.references] == [300, 302, 305]
    first = scene.references[0]
    np.testing.assert_array_equal(first.camera.intrinsics, [[20, 0, 8.5], [0, 20, 6.5], [0, 0, 1]])
    assert first.mask.sum() == 15 and first.depth.min() == first.depth.max() == 300
    assert len(scene.queries) == 3 and scene.queries[0].mask is None and scene.queries[0].depth is None
    assert scene.model_points.shape == (3, 3)
    model = bop_model(root, 5)
    assert model.diameter == 50
    np.testing.assert_array_equal(model.box, [[-1, -2, -3], [1, 2, 3]])


def test_targets_choose_the_queries(tmp_path):
    root = write(tmp_path / "ycbv", depth=False)
    rows = [{"scene_id": 48, "im_id": 1, "obj_id": 5}, {"scene_id": 48, "im_id": 2, "obj_id": 3}]
    (root / "test_targets_bop19.json").write_text(json.dumps(rows))
    scene = bop_scene(root, 5)
    assert [query.name for query in scene.queries] == ["000048/000001"]
    assert scene.references[0].depth is None and len(scene.references) == 6


def test_bad_input(tmp_path):
    root = write(tmp_path / "ycbv")
    with pytest.raises(EquiviewError, match="images that show object 9"):
        bop_scene(root, 9)
    with pytest.raises(EquiviewError, match="scene folders with scene_gt.json"):
        bop_scene(root, 5, reference_split="train_synt")
    with pytest.raises(EquiviewError, match="object 9, found no such entry"):
        bop_model(root, 9)
    cameras = root / "train_real" / "000001" / "scene_camera.json"
    cameras.write_text(json.dumps({"0": {"cam_K": [1, 2]}}))
    with pytest.raises(EquiviewError, match="a camera for image 1"):
        bop_scene(root, 5)
    (root / "test" / "000048" / "rgb" / "000000.png").unlink()
    cameras.write_text((root / "test" / "000048" / "scene_camera.json").read_text())
    with pytest.raises(EquiviewError):
        bop_scene(root, 5)


@pytest.mark.parametrize("long_side", [None, 40])
def test_capture(tmp_path, long_side):
    """World is the object: points reproject, and depth lies on the plane it was made from."""
    world = World()
    folder = write_bop(tmp_path / "set" / "test" / "000048", world)
    capture = bop_capture(folder, long_side=long_side)
    assert capture.name == "000048_obj000005" and capture.notes == () and capture.box is None
    for i, photograph in enumerate(capture.images.photographs):
        image = capture.images[i]
        xy, _ = project(image.camera, world.points)
        np.testing.assert_allclose(source_xy(photograph.undistortion, xy), world.pixels(i), atol=1e-3)
        points = unproject(image.camera, pixel_centers(image.camera.hw), image.depth)
        assert np.abs(points[..., 2]).max() < (0.001 if long_side is None else 0.03)
        assert image.mask.mean() == 0.5 and image.mask[:, 0].all()


def test_capture_of_one_object_of_several(tmp_path):
    folder = write_bop(tmp_path / "set" / "test" / "000048", World(), objects=(5, 8, 8))
    models = tmp_path / "set" / "models"
    models.mkdir()
    entry = {"diameter": 50.0, "min_x": -1, "min_y": -2, "min_z": -3, "size_x": 2, "size_y": 4, "size_z": 6}
    (models / "models_info.json").write_text(json.dumps({"8": entry}))
    poses = json.loads((folder / "scene_gt.json").read_text())
    poses["2"] = poses["2"][:1]
    (folder / "scene_gt.json").write_text(json.dumps(poses))
    capture = bop_capture(folder, object_id=8)
    assert capture.name == "000048_obj000008" and capture.notes == ("5 images, 1 without object 8",)
    assert [image.name for image in capture.images] == [f"000048/{i:06d}" for i in (0, 1, 3, 4)]
    np.testing.assert_array_equal(capture.box, [[-1, -2, -3], [1, 2, 3]])
    with pytest.raises(EquiviewError, match="one object, found objects 5, 8"):
        bop_capture(folder)
    with pytest.raises(EquiviewError, match="object 9, found objects 5, 8"):
        bop_capture(folder, object_id=9)
