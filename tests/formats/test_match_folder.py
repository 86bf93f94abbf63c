"""Matches of a folder for hloc and COLMAP: one rendered scene, matched, verified, and reconstructed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from data.sfm.textured import distance_to_surface, views
from equiview.data.sfm.align import umeyama
from equiview.data.sfm.colmap import quiet
from equiview.errors import EquiviewError
from equiview.formats.keypoints import FoundPair, picture_pairs, share_keypoints
from equiview.geometry import project
from equiview.io import write_image
from equiview.jobs.match_folder import FolderConfig, match_folder
from posed_worlds import PictureOracle

COUNT, TURN_DEG = 5, 60.0


def test_places_that_pairs_share_become_one_key_point() -> None:
    found = {
        ("a", "b"): FoundPair(
            np.array([[5.0, 5], [9, 9], [5.2, 5.2]]), np.array([[1.0, 1], [8, 8], [1.1, 1]]), np.array([0.5, 0.7, 0.9])
        ),
        ("a", "c"): FoundPair(np.array([[5.1, 5.1]]), np.array([[3.0, 4]]), np.array([0.4])),
    }
    shared = share_keypoints(found, {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0})
    assert {name: len(xy) for name, xy in shared.xy.items()} == {"a": 2, "b": 2, "c": 1, "d": 0}
    np.testing.assert_allclose(shared.xy["a"], [[5.1, 5.1], [9, 9]])
    # Of two matches of one key point the better is kept.
    pair = shared.pairs["a", "b"]
    assert pair.index.tolist() == [[0, 0], [1, 1]] and pair.score.tolist() == [0.9, 0.7]
    assert shared.pairs["a", "c"].index.tolist() == [[0, 0]]


def test_pairs_of_many_pictures_are_neighbours() -> None:
    assert len(picture_pairs("abcde", 5, 2)) == 10
    assert picture_pairs("abcde", 4, 2)[:3] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len(picture_pairs("abcde", 4, 2)) == 7


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene") / "photos"
    for number, view in enumerate(views(COUNT, TURN_DEG)):
        write_image(folder / f"view {number}.png", view.rgb)
    return folder


@pytest.fixture(scope="module")
def source() -> PictureOracle:
    """Features that know which point they show, on tokens of 8 px."""
    return PictureOracle(list(views(COUNT, TURN_DEG)), stride_px=8)


def test_a_model_is_reconstructed_from_the_database(photos: Path, source, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    result = match_folder(source, photos, tmp_path, FolderConfig("colmap"))
    assert result == json.loads((tmp_path / "matches.json").read_text())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["database.db", "matches.json"]
    assert result["pairs"] == 10 and result["verified_pairs"] >= 8
    assert 0.4 * result["matches"] < result["verified_matches"] < result["matches"]
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        # One camera for pictures of a size; its focal length is given, for so few views do not tell it.
        (camera,) = database.read_all_cameras()
        camera.params = [views(COUNT, TURN_DEG)[0].camera.intrinsics[0, 0], 160, 120, 0]
        database.update_camera(camera)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed, options.min_model_size = 1, 0, 3
    options.ba_refine_focal_length = options.ba_refine_extra_params = False
    with quiet(pycolmap):
        models = pycolmap.incremental_mapping(tmp_path / "database.db", photos, tmp_path / "model", options)
    (model,) = models.values()
    assert model.num_reg_images() == COUNT and model.num_points3D() > 200
    assert model.compute_mean_track_length() > 2.5
    # Its cameras are where they were, and its points on the scene: pixels have the right origin.
    cameras = {f"view {i}.png": view.camera for i, view in enumerate(views(COUNT, TURN_DEG))}
    found = np.array([image.projection_center() for image in model.images.values()])
    true = np.array([np.linalg.inv(cameras[image.name].cam_from_world)[:3, 3] for image in model.images.values()])
    aligned = umeyama(found, true)
    assert np.linalg.norm(aligned(found) - true, axis=1).max() < 0.05
    points = aligned(np.array([point.xyz for point in model.points3D.values()]))
    assert np.median(distance_to_surface(points)) < 0.03


def test_hloc_finds_its_files(photos: Path, source, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    result = match_folder(source, photos, tmp_path, FolderConfig("hloc"))
    views_ = views(COUNT, TURN_DEG)
    with h5py.File(tmp_path / "feats.h5") as feats, h5py.File(tmp_path / "matches.h5") as matches:
        first, second = feats["view 0.png"], feats["view 1.png"]
        count = len(first["keypoints"])
        assert first["descriptors"].shape == (4, count) and first["scores"].shape == (count,)
        assert first["image_size"][()].tolist() == [320, 240] and first["keypoints"].attrs["uncertainty"] > 0
        pair = matches["view 0.png/view 1.png"]
        index = pair["matches0"][()]
        assert index.dtype == np.int16 and len(index) == count and pair["matching_scores0"].dtype == np.float16
        kept = np.flatnonzero(index >= 0)
        assert len(kept) > 100 and len(set(index[kept])) == len(kept)
        # hloc's pixels are half a pixel from ours; what the matches join is one place of the scene.
        xy0, xy1 = first["keypoints"][()][kept] + 0.5, second["keypoints"][()][index[kept]] + 0.5
        assert sum(len(one["matches0"]) > 0 for one in matches["view 0.png"].values()) == COUNT - 1
    cols, rows = xy0.astype(int).T
    there = project(views_[1].camera, views_[0].points_in_world[rows, cols])[0]
    assert np.nanmedian(np.linalg.norm(there - xy1, axis=1)) < 5
    assert result["matches"] > 500
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: source)
    code, _, err = run("features", photos, "--to", "hloc", "-b", "any", "--out", tmp_path / "f")
    assert code == 0, err
    with h5py.File(tmp_path / "f" / "feats.h5") as feats:
        # Token centres: 320 x 240 pixels have 40 x 30 tokens of 8.
        assert len(feats) == COUNT and feats["view 2.png/keypoints"].shape == (1200, 2)
        assert feats["view 2.png/keypoints"][0].tolist() == [3.5, 3.5]


def test_the_command(photos: Path, source, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycolmap")
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *_, **__: source)
    code, out, err = run("match", photos, "--to", "colmap", "-b", "any", "--out", tmp_path)
    assert code == 0, err
    assert "matches of 10 pairs of 5 pictures" in out and f"--image_path {photos}" in out
    assert f"Wrote {tmp_path / 'database.db'}" in out


def test_refusals(photos: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = photos / "view 0.png"
    (tmp_path / "single").mkdir()
    write_image(tmp_path / "single" / "a.png", np.zeros((40, 40, 3), np.uint8))
    out = tmp_path / "out"
    for words, said in (
        ((one,), "expected two pictures, found one"),
        ((photos, one, "--to", "hloc"), "one folder of pictures"),
        ((photos, "--to", "hloc", "--check-px", "2"), "one folder of pictures"),
        ((one, "--to", "colmap"), "a folder of pictures"),
        ((tmp_path / "single", "--to", "colmap"), "two pictures or more"),
    ):
        code, _, err = run("match", *words, "--out", out)
        assert code == 2 and said in err, err
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EquiviewError, match=r"pip install 'equiview\[hloc\]'"):
        match_folder(None, photos, out, FolderConfig("hloc"))
    assert not out.exists()
