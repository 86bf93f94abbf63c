"""The parts of making a capture: names, pairs, cameras, epipolar distance, and stopping."""

import numpy as np
import pytest
from PIL import Image

pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed: pip install 'equiview[colmap]'")

from equiview.data.captures.photographs import read_mask  # noqa: E402
from equiview.data.sfm.colmap import interruptible  # noqa: E402
from equiview.data.sfm.matches import ColmapConfig, Workplace, extract, pairs_in_order  # noqa: E402
from equiview.data.sfm.photos import PhotoFiles, file_names, open_photos, write_masks, write_photos  # noqa: E402
from equiview.data.sfm.reconstruct import camera_groups  # noqa: E402
from equiview.data.sfm.triangulate import chosen_pairs, epipolar_distance_px  # noqa: E402
from equiview.data.sfm.writing import files_fingerprint, posed_fingerprint  # noqa: E402
from equiview.errors import EquiviewError  # noqa: E402
from equiview.geometry import project  # noqa: E402
from equiview.io import write_image  # noqa: E402
from equiview.types import Camera, PosedImage  # noqa: E402
from worlds import camera_at  # noqa: E402


def ring(n: int):
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return {f"{i}.jpg": camera_at((3 * np.cos(a), 3 * np.sin(a), 1.0)) for i, a in enumerate(angles)}


def test_true_matches_lie_on_their_epipolar_lines():
    camera_0, camera_1 = camera_at((2, 1, 0.4)), camera_at((1, 2, 0.9))
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))
    xy0, xy1 = project(camera_0, points)[0], project(camera_1, points)[0]
    assert epipolar_distance_px(camera_0, camera_1, xy0, xy1).max() < 1e-9
    shifted = xy1 + np.random.default_rng(1).normal(size=xy1.shape) * 3
    forth = epipolar_distance_px(camera_0, camera_1, xy0, shifted)
    np.testing.assert_allclose(forth, epipolar_distance_px(camera_1, camera_0, shifted, xy0))
    assert (forth > 0.01).mean() > 0.9


def test_cameras_in_one_place_confirm_nothing():
    camera = camera_at((2, 1, 0.4))
    xy = np.array([[3.0, 4.0], [30, 20]])
    assert np.isinf(epipolar_distance_px(camera, camera, xy, xy)).all()


def test_few_pictures_are_matched_in_all_pairs_many_with_their_nearest():
    assert len(chosen_pairs(ring(10), 80)) == 45
    pairs = chosen_pairs(ring(100), 80)
    assert len(set(pairs)) == len(pairs) <= 100 * 30
    steps = [abs(int(a[:-4]) - int(b[:-4])) for a, b in pairs]
    assert max(min(step, 100 - step) for step in steps) <= 20


def test_frames_of_a_video_are_matched_with_near_ones_and_some_far_ones():
    pairs = pairs_in_order([str(i) for i in range(100)], ColmapConfig(overlap=3))
    assert ("0", "1") in pairs and ("0", "3") in pairs and ("0", "4") in pairs and ("0", "5") not in pairs
    assert len(set(pairs)) == len(pairs)


def test_pictures_of_one_size_share_a_camera():
    sizes = {"a": (3, 4), "b": (4, 3), "c": (3, 4)}
    assert camera_groups(sizes, "single") == [["a", "c"], ["b"]]
    assert camera_groups(sizes, "each") == [["a"], ["b"], ["c"]]


def test_names_have_no_spaces_and_are_unique():
    assert file_names(["a b", "a_b", "A_B", "ok-1.2", ""]) == (
        *("a_b.jpg", "a_b_2.jpg", "A_B_3.jpg", "ok-1.2.jpg", "image.jpg"),
    )


def test_photos_are_turned_upright_and_keep_only_the_lens_of_their_exif(tmp_path):
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"  # Orientation: turn right.
    exif.get_ifd(0x8769).update({41989: 28, 36867: "2020:01:01 00:00:00"})
    rgb = np.zeros((20, 40, 3), np.uint8)
    rgb[:, 30:] = 255
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=exif, quality=95)
    Image.fromarray(rgb).save(tmp_path / "b.png")
    photos = open_photos(tmp_path)
    assert isinstance(photos.frames, PhotoFiles) and photos.frames[0].shape == (40, 20, 3)
    assert photos.frames[0][35:, 5].min() > 200  # The right end is now the lower one.
    sizes = write_photos(photos, [0, 1], tmp_path / "out", 20, lambda *_: None)
    assert sizes == {"a.jpg": (20, 10), "b.jpg": (10, 20)}
    with Image.open(tmp_path / "out" / "a.jpg") as written:
        kept = written.getexif()
        assert 274 not in kept and kept[271] == "Maker"
        assert dict(kept.get_ifd(0x8769)) == {41989: 28}


def test_ctrl_c_stops_the_work_and_is_raised_again():
    ended = []

    def work(token):
        while not token.is_cancelled:
            pass
        ended.append(True)

    def watch():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interruptible(work, watch)
    assert ended == [True]


def test_the_result_of_the_work_comes_back_and_its_log_is_as_before():
    before = pycolmap.logging.minloglevel
    assert interruptible(lambda token: 41 + 1) == 42
    assert pycolmap.logging.minloglevel == before


def test_an_interruption_leaves_one_camera_for_pictures_of_one_size(tmp_path):
    names = [f"{number}.png" for number in range(5)]
    (tmp_path / "images").mkdir()
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / name)
    place, config = Workplace(tmp_path / "work", tmp_path / "images"), ColmapConfig(threads=1)
    extract(place, [names[:2]], config, "SIMPLE_RADIAL", lambda *_: None)
    (place.folder / place.stages).unlink()
    extract(place, [names], config, "SIMPLE_RADIAL", lambda *_: None)
    with pycolmap.Database.open(place.database) as database:
        assert {database.read_image_with_name(name).camera_id for name in names} == {1}


def test_pictures_edited_to_the_same_size_are_other_pictures(tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("RGB", (60, 40), "red").save(path)
    before, size = files_fingerprint([path]), path.stat().st_size
    assert files_fingerprint([path]) == before
    Image.new("RGB", (60, 40), "blue").save(path)
    assert path.stat().st_size == size and files_fingerprint([path]) != before


def test_a_pose_a_mask_or_a_picture_that_changed_is_noticed(tmp_path):
    path, camera = tmp_path / "a.bmp", camera_at((2, 1, 0.4))
    Image.new("RGB", camera.hw[::-1], "red").save(path)
    moved, mask = camera.cam_from_world.copy(), np.zeros(camera.hw, bool)
    moved[0, 3] += 1e-3
    images = [
        PosedImage(path, camera, "a"),
        PosedImage(path, Camera(camera.intrinsics, moved, camera.hw), "a"),
        PosedImage(path, camera, "a", mask),
        PosedImage(path, camera, "a", ~mask),
    ]
    prints = [posed_fingerprint([image]) for image in images]
    Image.new("RGB", camera.hw[::-1], "blue").save(path)
    prints.append(posed_fingerprint(images[:1]))
    assert len(set(prints)) == 5


def test_masks_of_photos_are_carried_over(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    for name in ("a", "b"):
        write_image(tmp_path / "scene" / "images" / f"{name}.png", rgb)
    mask = np.zeros((120, 160), np.uint8)
    mask[:60] = 255
    (tmp_path / "scene" / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "scene" / "masks" / "b.png")
    photos = open_photos(tmp_path / "scene")
    sizes = write_photos(photos, [0, 1], tmp_path / "out" / "images", 40, lambda *_: None)
    assert write_masks(photos, [0, 1], tmp_path / "out" / "masks", sizes)
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["b.jpg.png"]
    written = read_mask(tmp_path / "out" / "masks" / "b.jpg.png")
    assert written.shape == (30, 40)
    assert written[:15].all() and not written[15:].any()
    assert not write_masks(photos, [0], tmp_path / "none", sizes)
    Image.fromarray(mask.T.copy()).save(tmp_path / "scene" / "masks" / "b.png")
    with pytest.raises(EquiviewError, match=r"80x60|40x30"):
        write_masks(photos, [1], tmp_path / "other", sizes)
