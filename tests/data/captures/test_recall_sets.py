"""NAVI, ScanNet's 1,500 pairs and CO3D, from tiny sets the tests write: geometry, pairs, what is said of bad ones."""

import gzip
import json
import shutil

import numpy as np
import pytest

from equiview.data.captures.co3d import co3d_capture
from equiview.data.captures.navi import is_navi, navi_pairs, square_around
from equiview.data.captures.opening import capture_kind, open_capture
from equiview.data.captures.scannet_pairs import is_scannet_pairs, scannet_pairs
from equiview.data.captures.views import CaptureViews
from equiview.data.correspond import known_points
from equiview.errors import EquiviewError
from equiview.geometry import project, unproject
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.recall import RecallConfig, draw_pairs, run
from recall_sets import NAVI_HW, NAVI_UNIT, write_co3d, write_navi, write_scannet
from worlds import sphere_ring

CONFIG = RecallConfig(matches=100, step_px=12)


@pytest.fixture(scope="module")
def navi(tmp_path_factory):
    return write_navi(tmp_path_factory.mktemp("navi"), ("bowl", "cup"))


@pytest.fixture(scope="module")
def scannet(tmp_path_factory):
    return write_scannet(tmp_path_factory.mktemp("scannet"))


def lies_on_the_sphere(view, unit):
    points = view.points_in_world[view.mask]
    return np.allclose(np.linalg.norm(points, axis=1), 0.5 * unit, atol=0.012 * unit)


def test_navi_is_cut_to_its_object(navi):
    cup = [one for one in navi_pairs(navi) if one.name == "cup"][0]
    view = cup.views[0]
    assert is_navi(navi) and cup.unit_cm == 0.1 and view.camera.hw == (512, 512)
    rows, cols = np.nonzero(view.mask)
    assert min(np.ptp(rows), np.ptp(cols)) > 470  # The object fills the square but for its slanted rim.
    assert lies_on_the_sphere(view, NAVI_UNIT)
    # Every point projects to the pixel that shows it.
    sample = known_points(cup.views, 0, 12)
    assert project(view.camera, sample.points_in_world)[0] == pytest.approx(sample.xy, abs=1e-3)


def test_pairs_of_navi_are_scored(navi):
    sets = list(navi_pairs(navi))
    assert [one.name for one in sets] == ["bowl", "cup"]
    # Every fourth photograph is a source, and its partner is at most 120 degrees away.
    assert [i for i, _ in draw_pairs(sets[0], CONFIG)] == [0, 4]
    near = RecallConfig(matches=40, step_px=12, max_angle_deg=70)
    rows = run(OracleExtractor(stride_px=4, radius=2 * NAVI_UNIT), sets, near)
    assert len(rows) == 4 and min(row["recall@1cm"] for row in rows) == 100
    assert rows[0]["pair"][0] == "000" and rows[0]["angle_deg"] > 10
    noise = run(NoiseExtractor(stride_px=16), sets, near)
    assert np.mean([row["recall@1cm"] for row in noise]) < 10


def test_scannet_has_the_pairs_of_its_list(scannet):
    (scene,) = scannet_pairs(scannet)
    assert is_scannet_pairs(scannet) and scene.name == "scene0707_00" and scene.unit_cm == 100
    assert list(scene.pairs) == [(0, 1), (1, 2)] and [view.name for view in scene.views] == ["0", "15", "30"]
    assert lies_on_the_sphere(scene.views[1], 1.0)
    assert scene.views[0].camera.intrinsics[0, 2] == 320
    config = RecallConfig(thresholds_px=(5, 10, 20), px_scale=0.25, binned="10px", bins_deg=(0, 15, 30, 60, 180))
    rows = run(OracleExtractor(stride_px=8), [scene], config)
    assert min(row["recall@10px"] for row in rows) > 99 and len(rows) == 2


@pytest.mark.parametrize("kind", ["ndc_isotropic", "ndc_norm_image_bounds"])
def test_co3d_is_a_capture_with_depth(tmp_path, kind):
    folder = write_co3d(tmp_path, kind=kind)
    capture = open_capture(folder)
    assert capture_kind(folder) == "co3d" and capture.name == "apple_1_2_3"
    assert [image.name for image in capture.images] == [f"frame{i:06d}.jpg" for i in range(4)]
    image, true = capture.images[2], sphere_ring(4, NAVI_HW, focal_px=150.0)[2].camera
    assert image.camera.intrinsics == pytest.approx(true.intrinsics, abs=1e-9)
    assert image.camera.cam_from_world == pytest.approx(true.cam_from_world, abs=1e-9)
    rows, cols = np.nonzero(image.depth)
    points = unproject(image.camera, np.stack([cols, rows], -1) + 0.5, image.depth[rows, cols].astype(float))
    assert np.linalg.norm(points, axis=1) == pytest.approx(0.5, abs=2e-3)  # Half precision.
    assert CaptureViews(capture)[2].mask.sum() > 0.8 * len(rows)


def test_co3d_without_depth_or_masks_opens(tmp_path):
    folder = write_co3d(tmp_path)
    for path in (folder / "depths").iterdir():
        path.unlink()
    assert all(image.depth is None and image.mask is None for image in open_capture(folder).images)
    (folder / "images" / "frame000001.jpg").unlink()
    assert "4 images listed, 1 missing: frame000001.jpg" in open_capture(folder).notes[0]


def test_a_square_stays_in_the_picture():
    mask = np.zeros((40, 60), bool)
    mask[30:40, 20:50] = True
    left, top, right, bottom = square_around(mask)
    assert right - left == bottom - top == 30 and bottom == 40 and (left, right) == (20, 50)
    mask[:] = True
    assert square_around(mask) == (10, 0, 50, 40)


def change_json(path, change):
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: change_json(f / "annotations.json", lambda r: r[0]["camera"].pop("q")), "no q"),
        (lambda f: change_json(f / "annotations.json", lambda r: r[0].update(image_size=[60, 80])), "80x60 pixels"),
        (lambda f: (f / "depth" / "000.png").unlink(), "000.png"),
        (lambda f: change_json(f / "annotations.json", lambda r: r[0]["camera"].update(q=[0, 0, 0, 0])), "w x y z"),
    ],
)
def test_a_broken_navi_is_said_so(tmp_path, spoil, words):
    spoil(write_navi(tmp_path, count=2) / "cup" / "wild_set")
    with pytest.raises(EquiviewError, match=words):
        [view.name for one in navi_pairs(tmp_path) for view in one.views]


def test_a_folder_without_navi_is_said_so(tmp_path):
    with pytest.raises(EquiviewError, match="wild_set"):
        next(navi_pairs(tmp_path))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: np.savez(root / "test.npz", name=np.zeros((2, 3), int)), "scene, scan, frame, frame"),
        (lambda root: np.savez(root / "intrinsics.npz", scene0000_00=np.eye(3)), "scene0707_00"),
        (lambda root: (root / "test.npz").write_bytes(b"no archive"), "test.npz"),
        (lambda root: (root / "scene0707_00" / "pose" / "15.txt").write_text("inf " * 16), "4x4"),
    ],
)
def test_a_broken_scannet_is_said_so(scannet, tmp_path, spoil, words):
    shutil.copytree(scannet, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    with pytest.raises(EquiviewError, match=words):
        list(scannet_pairs(tmp_path))


def change_co3d(folder, change):
    path = folder.parent / "frame_annotations.jgz"
    rows = json.loads(gzip.decompress(path.read_bytes()))
    change(rows[1])
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder.parent / "frame_annotations.jgz").write_text("[]"), "compressed by gzip"),
        (lambda folder: change_co3d(folder, lambda row: row["viewpoint"].update(R=np.eye(2).tolist())), "3x3"),
        (lambda folder: change_co3d(folder, lambda row: row["viewpoint"].update(intrinsics_format="px")), "ndc_iso"),
        (lambda folder: change_co3d(folder, lambda row: row["image"].update(size=[10, 10])), "10x10"),
        (lambda folder: folder.rename(folder.with_name("other")), "sequence"),
    ],
)
def test_a_broken_co3d_is_said_so(tmp_path, spoil, words):
    folder = write_co3d(tmp_path)
    spoil(folder)
    folder = folder if folder.exists() else folder.with_name("other")
    with pytest.raises(EquiviewError, match=words):
        co3d_capture(folder)
