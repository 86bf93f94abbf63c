"""The BOP layout, from a tiny data set the test writes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from capture_worlds import World, write_bop, write_transforms
from equiview.data.captures.bop import bop_capture, bop_model, bop_scene
from equiview.data.captures.checks import require_rigid
from equiview.data.captures.opening import open_capture
from equiview.data.captures.undistortion import source_xy
from equiview.data.open import check_source, open_source, source_name
from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers, project, unproject
from equiview.io import read_jsonl
from equiview.jobs.bench.pose_examples import pose_example
from equiview.jobs.pose import open_models, open_scenes, score_poses
from equiview.models.oracle import NoiseExtractor
from equiview.tasks.pose import PoseConfig
from equiview.types import PosedImage


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
    for path in (root / "test" / "000048" / "rgb").iterdir():
        path.unlink()
    cameras.write_text((root / "test" / "000048" / "scene_camera.json").read_text())
    with pytest.raises(EquiviewError, match="test: expected images that show object 5"):
        bop_scene(root, 5)


def test_references_that_lack_something_are_left_out_and_counted(tmp_path, caplog):
    root = write(tmp_path / "ycbv")
    cameras = root / "train_real" / "000001" / "scene_camera.json"
    cameras.write_text((root / "test" / "000048" / "scene_camera.json").read_text())
    scene = bop_scene(root, 5)
    assert len(scene.references) == 3 and len(scene.queries) == 3
    assert "3 images cannot be used and are left out" in caplog.text and "a camera for image 3" in caplog.text


def half_labelled(root):
    """Spoil a test split of six images: no picture, camera, translation or sight of the object; two are good."""
    folder = root / "test" / "000048"
    cameras, poses = (json.loads((folder / name).read_text()) for name in ("scene_camera.json", "scene_gt.json"))
    for i in (3, 4, 5):
        poses[str(i)] = poses["1"]
        cameras[str(i)] = cameras["1"]
        shutil.copy(folder / "rgb" / "000001.png", folder / "rgb" / f"{i:06d}.png")
    (folder / "rgb" / "000000.png").unlink()
    del cameras["2"]
    poses["3"] = [poses["1"][0], {"obj_id": 5, "cam_R_m2c": poses["1"][1]["cam_R_m2c"]}]
    (folder / "scene_camera.json").write_text(json.dumps(cameras))
    (folder / "scene_gt.json").write_text(json.dumps(poses))
    info = {str(i): [{"visib_fract": 0.9}, {"visib_fract": float(i != 4)}] for i in range(6)}
    (folder / "scene_gt_info.json").write_text(json.dumps(info))
    return root


REASONS = ("the picture, found nothing", None, "a camera for image 2", "no cam_t_m2c", "nothing of the object", None)


def test_queries_that_cannot_be_used_fail_with_their_reason(tmp_path, caplog):
    scene = bop_scene(half_labelled(write(tmp_path / "ycbv")), 5)
    assert [query.name for query in scene.queries] == [f"000048/{i:06d}" for i in range(6)]
    for query, reason in zip(scene.queries, REASONS, strict=True):
        assert isinstance(query, PosedImage) if reason is None else reason in query.reason
    assert "4 queries cannot be used and count as failed; the first: " in caplog.text


def test_each_query_of_a_half_labelled_set_has_its_row(tmp_path):
    root = half_labelled(write(tmp_path / "ycbv"))
    (scene,), _ = open_scenes(root, "bop", 5)
    models = open_models(root, "bop", 5)
    summary = score_poses(NoiseExtractor(stride_px=2), [scene], PoseConfig(), tmp_path / "out", models=models)
    rows = read_jsonl(tmp_path / "out" / "rows.jsonl")
    assert [row["query"] for row in rows] == [query.name for query in scene.queries]
    for row, reason in zip(rows, REASONS, strict=True):
        assert row["diameter"] == 50 and ("image_width" in row) == (reason is None)
        assert reason is None or (reason in row["failed"] and "rotation_error_deg" not in row)
    assert summary["metrics"]["pose_recall@5deg"]["n"] == 6
    unusable = next(query for query in scene.queries if not isinstance(query, PosedImage))
    picture, words = pose_example(scene, unusable, None, rows[0])
    assert picture.ndim == 3 and REASONS[0] in words


def test_a_capture_leaves_out_hidden_instances_and_half_labelled_frames(tmp_path):
    folder = write_bop(tmp_path / "set" / "test" / "000048", World(count=8), objects=(5, 8))
    poses = json.loads((folder / "scene_gt.json").read_text())
    del poses["1"][1]["cam_t_m2c"]
    poses["2"][1]["cam_R_m2c"] = [1, 2]
    poses["3"] = None
    (folder / "scene_gt.json").write_text(json.dumps(poses))
    info = {str(i): [{"visib_fract": 0.9}, {"visib_fract": 0.0 if i == 4 else 0.5}] for i in range(8)}
    (folder / "scene_gt_info.json").write_text(json.dumps(info))
    capture = open_capture(f"{folder}@object=8")
    assert [image.name for image in capture.images] == [f"000048/{i:06d}" for i in (0, 5, 6, 7)]
    one, two, three = capture.notes
    assert one == "8 images, 1 without object 8"
    assert two == "1 images in which nothing of object 8 can be seen are left out"
    assert three.startswith("2 images cannot be used and are left out; the first: ") and "no cam_t_m2c" in three
    assert len(open_capture(f"{folder}@object=5").images) == 7


@pytest.mark.parametrize("text", ["object=8", "object=8,0::2", "object=8,:-1"])
def test_an_object_is_chosen_by_the_path(tmp_path, text):
    folder = write_bop(tmp_path / "000048", World(), objects=(5, 8))
    capture = open_capture(f"{folder}@{text}")
    assert len(capture.images) == {"object=8": 5, "object=8,0::2": 3, "object=8,:-1": 4}[text]
    assert source_name(f"{folder}@{text}") == f"000048@{text.replace('=', '_').replace(',', '_').replace(':', '_')}"
    check_source(f"{folder}@{text}")
    assert len(open_source(f"{folder}@{text}", n_views=3, cache_dir=tmp_path)) == 3
    with pytest.raises(EquiviewError, match=r"one object, found objects 5, 8. Choose one: FOLDER@object="):
        check_source(folder)


@pytest.mark.parametrize("text", ["object=", "object=x", "object=1,object=2", "object=5,", "0:2,object=5", "object=9"])
def test_other_choices_are_refused(tmp_path, text):
    folder = write_bop(tmp_path / "000048", World(), objects=(5, 8))
    with pytest.raises(EquiviewError, match=r"a selection of images PATH@START:STOP:STEP|object 9"):
        open_capture(f"{folder}@{text}")


def test_an_object_of_another_layout_is_refused(tmp_path):
    with pytest.raises(EquiviewError, match="a BOP scene where an object is chosen, found the layout nerfstudio"):
        open_capture(f"{write_transforms(tmp_path / 'fox', World())}@object=1")


def spoil(change):
    return lambda content: json.dumps(change(json.loads(content)))


BAD = {
    "scene_gt.json: a number": ("scene_gt.json", lambda _: "3"),
    "scene_gt.json: names of images": ("scene_gt.json", lambda _: '{"one": []}'),
    "scene_gt.json: a number as instances": ("scene_gt.json", lambda _: '{"0": 3}'),
    "scene_gt.json: numbers as instances": ("scene_gt.json", lambda _: '{"0": [3]}'),
    "scene_gt.json: deep": ("scene_gt.json", lambda _: "[" * 99999),
    "scene_gt.json: no object": ("scene_gt.json", lambda _: '{"0": []}'),
    "scene_gt.json: objects without number": ("scene_gt.json", lambda _: '{"0": [{"obj_id": [1]}]}'),
    "scene_camera.json: a list": ("scene_camera.json", lambda _: "[]"),
    "scene_camera.json: a long number": ("scene_camera.json", lambda _: '{"0": ' + "9" * 5000 + "}"),
    "scene_camera.json: no camera": ("scene_camera.json", lambda _: "{}"),
    "scene_camera.json: numbers": ("scene_camera.json", spoil(lambda c: {k: 3 for k in c})),
    "scene_camera.json: focal length 0": (
        "scene_camera.json",
        spoil(lambda c: {k: v | {"cam_K": [0, 0, 8, 0, 20, 6, 0, 0, 1]} for k, v in c.items()}),
    ),
    "scene_camera.json: NaN": (
        "scene_camera.json",
        spoil(lambda c: {k: v | {"cam_K": [float("nan")] * 9} for k, v in c.items()}),
    ),
    "scene_camera.json: words": ("scene_camera.json", spoil(lambda c: {k: v | {"cam_K": "K"} for k, v in c.items()})),
    "scene_camera.json: depth of NaN": (
        "scene_camera.json",
        spoil(lambda c: {k: v | {"depth_scale": float("nan")} for k, v in c.items()}),
    ),
}


@pytest.mark.parametrize(("file", "change"), BAD.values(), ids=BAD)
def test_broken_scenes_are_one_message(tmp_path, file, change):
    folder = write_bop(tmp_path / "000048", World())
    (folder / file).write_text(change((folder / file).read_text()))
    with pytest.raises(EquiviewError, match="expected") as caught:
        open_capture(folder)
    assert len(str(caught.value)) < 600


def test_rounded_rotations_become_the_nearest_ones_with_a_note(tmp_path):
    """As LM-O's: written with few digits. Mirrored, sheared and scaled ones stay errors."""
    folder = write_bop(tmp_path / "000048", World())
    poses = json.loads((folder / "scene_gt.json").read_text())
    exact = np.array(poses["2"][0]["cam_R_m2c"]).reshape(3, 3)
    error = np.array([[1, 2, -3], [-2, 1, 2], [3, -1, 2]]) * 1e-3
    poses["2"][0]["cam_R_m2c"] = (exact + error).ravel().tolist()
    (folder / "scene_gt.json").write_text(json.dumps(poses))
    capture = open_capture(folder)
    found = capture.images[2].camera.cam_from_world[:3, :3]
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found, exact, atol=4e-3)
    assert np.linalg.norm(found - exact - error) <= np.linalg.norm(error) + 1e-12  # The nearest rotation of all.
    assert capture.notes == ("1 of 5 rotations are orthonormal to a few digits only; the nearest ones are used",)
    for wrong in (np.diag([1, 1, -1.0]), 1.1 * np.eye(3), np.eye(3) + np.eye(3, k=1) * 0.1):
        with pytest.raises(EquiviewError, match="frame: expected a (right-handed )?rotation"):
            require_rigid(np.vstack([np.c_[exact @ wrong, np.zeros(3)], [0, 0, 0, 1]]), "frame")


@pytest.mark.shared
def test_linemod_occlusion_opens(shared):
    for number, references, queries in ((1, 37, 70), (6, 38, 68), (8, 40, 80), (11, 30, 52)):
        scene = bop_scene(shared / "data" / "pose" / "lmo", number)
        assert (len(scene.references), len(scene.queries)) == (references, queries) and len(scene.model_points) > 0
        capture = open_capture(f"{shared / 'data' / 'pose' / 'lmo' / 'test' / '000002'}@object={number}")
        assert len(capture.images) > 10 and ("orthonormal to a few digits" in " ".join(capture.notes)) == (number == 8)


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
