"""The BOP layout, from a tiny data set the test writes."""

import json

import numpy as np
import pytest
from PIL import Image

from equiview.captures.bop import bop_model, bop_scene
from equiview.errors import EquiviewError


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
