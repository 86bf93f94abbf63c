"""Every value of a file becomes one that no data set has: it is refused in one message, or what is read holds no harm.

Unlike the fuzzing, nothing is left to chance: each place of each kind of file takes each of the values. After reading,
what the numbers are used for is checked, so that NaN, a box of no size or a camera that no lens has cannot pass.
"""

import copy
import json
import logging
import math
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

import capture_worlds
from capture_worlds import BENT, World
from equiview.data.captures.bop import bop_model, bop_scene
from equiview.data.captures.onepose import onepose_scenes
from equiview.data.captures.opening import open_capture
from equiview.data.clips.badja import open_badja
from equiview.data.clips.dinotracker import open_dinotracker
from equiview.data.clips.tapvid import open_tapvid
from equiview.data.keypoints.loaders import LOADERS
from equiview.errors import EquiviewError
from equiview.metrics.pose import symmetry_transforms
from fuzz_inputs import BYTES, JSON, Case, places
from fuzz_inputs import JSON as FUZZED

NAN, INF = float("nan"), float("inf")
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2.5, 1e308, NAN, INF, -INF, 10**9, 10**400, "", "x", "a" * 5000, "\0", "../../x", "\udcff"),
    *("a\nb", "nan", [], {}, [[]], [1, "a", None]),
)
ARRAYS: tuple[Any, ...] = (
    *(np.full((2, 3, 2), NAN), np.full((2, 3, 2), 1e308), np.zeros((0, 3, 2)), np.zeros(3)),
    *(np.zeros((3, 0, 6, 3), np.uint8), {NAN: 1}, {"a": 1, 0: 2}, b"x", [b"x"], [b""]),
)
WORDS = (
    *("nan", "inf", "-inf", "1e400", "0", "-1", "1e308", "1e-320", "x", "", "\udcff", "../../x", "9" * 20, "2.5"),
    *("a" * 5000, "\0", "1_0", "0x10", "\u0661", "1,5"),
)


def _noise(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
    return path


def _pairs(name: str, path: Path) -> None:
    pairs = LOADERS[name](path)
    for pair in (pairs[i] for i in range(len(pairs))):
        sides = pair.box1_wh or (1.0, 1.0)
        assert all(math.isfinite(side) and side > 0 for side in sides)
        assert np.isfinite(pair.xy0[pair.visible]).all() and np.isfinite(pair.xy1[pair.visible]).all()
        assert pair.name.isprintable() and pair.category.isprintable()


def _camera(camera: Any) -> None:
    assert np.isfinite(camera.intrinsics).all() and np.diag(camera.intrinsics).min() > 1e-9
    assert np.isfinite(camera.cam_from_world).all() and np.isfinite(camera.center_in_world).all()


def _capture(folder: Path) -> None:
    capture = open_capture(folder, long_side=32)
    for image in (capture.images[0], capture.images[len(capture.images) - 1]):
        _camera(image.camera)
        assert image.depth is None or (np.isfinite(image.depth).all() and (image.depth >= 0).all())
        if not isinstance(image.image, np.ndarray | Path):
            image.image.read()
    if capture.tracks is not None:
        assert np.isfinite(capture.tracks.points_in_world).all() and np.isfinite(capture.tracks.xy).all()
    assert capture.box is None or (capture.box[0] <= capture.box[1]).all()


def _clips(clips: Any) -> None:
    for clip in clips:
        assert clip.frames[0].size and np.isfinite(clip.xy[clip.visible]).all()


def _scene(write: Callable[..., Any], file: str, more: str | None = None, **options: Any) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        write(folder / "scene", options.pop("world", None) or World(count=2), **options)
        if more is not None:
            (folder / "scene" / file).write_text(more)
        return Case(folder / "scene" / file, lambda: _capture(folder / "scene"))

    return make


def _spair(folder: Path) -> Case:
    for name in "ab":
        _noise(folder / "JPEGImages" / "cat" / f"{name}.jpg")
    path = folder / "PairAnnotation" / "test" / "000001-a-b:cat.json"
    path.parent.mkdir(parents=True)
    record = {f"{side}_imname": f"{name}.jpg" for side, name in (("src", "a"), ("trg", "b"))}
    record |= {"src_kps": [[1, 2], [3, 4]], "trg_kps": [[1, 2], [3, 4]], "trg_bndbox": [1, 1, 9, 9], "category": "cat"}
    path.write_text(json.dumps(record))
    return Case(path, lambda: _pairs("spair", folder))


def _ap10k(folder: Path, *, pair: bool) -> Case:
    for name in "ab":
        _noise(folder / "JPEGImages" / "F" / "cat" / f"{name}.jpg")
        picture = folder / "ImageAnnotation" / "F" / "cat" / f"{name}.json"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(json.dumps({"keypoints": [1, 2, 2] * 17, "bbox": [1, 1, 9, 9]}))
    path = folder / "PairAnnotation" / "test" / "1-2:cat.json"
    path.parent.mkdir(parents=True)
    names = {f"{side}_json_path": f"x/ImageAnnotation/F/cat/{name}.json" for side, name in (("src", "a"), ("trg", "b"))}
    path.write_text(json.dumps(names))
    return Case(path if pair else picture, lambda: _pairs("ap10k", folder))


def _own_pairs(folder: Path) -> Case:
    path = FUZZED["key points"](folder).file
    return Case(path, lambda: _pairs("json", path))


def _pf_pascal(folder: Path) -> Case:
    for name in "ab":
        _noise(folder / "JPEGImages" / f"{name}.jpg")
    path = folder / "test_pairs_pf_different_views.csv"
    path.write_text("source_image,target_image,class,XA,YA,XB,YB\nP/a.jpg,P/b.jpg,3,1;2,3;4,5;6,7;8\n")
    return Case(path, lambda: _pairs("pf-pascal", folder))


def _tss(folder: Path) -> Case:
    pair = folder / "JODS" / "p"
    for name in ("image1", "image2", "mask1", "mask2"):
        _noise(pair / f"{name}.png")
    flow = np.float32(202021.25).tobytes() + np.array([16, 12], "<i4").tobytes() + bytes(12 * 16 * 8)
    for number in (1, 2):
        (pair / f"flow{number}.flo").write_bytes(flow)
    (pair / "flip_gt.txt").write_text("0\n")
    return Case(pair / "flip_gt.txt", lambda: _pairs("tss", folder))


def _badja(folder: Path) -> Case:
    return Case(FUZZED["BADJA"](folder).file, lambda: _clips(open_badja(folder)))


def _tapvid(folder: Path) -> Case:
    path = BYTES["TAP-Vid pickle"](folder).file
    return Case(path, lambda: _clips(open_tapvid(path)))


def _dinotracker(folder: Path) -> Case:
    for number in range(3):
        _noise(folder / "1" / "video" / f"{number:05d}.jpg")
    video = {"video_idx": 1, "h": 12, "w": 16, "target_points": {0: np.full((2, 3, 2), 3.0)}}
    path = folder / "all.pkl"
    path.write_bytes(pickle.dumps({"videos": [video | {"occluded": {0: np.zeros((2, 3), bool)}}]}))
    return Case(path, lambda: _clips(open_dinotracker(folder, path)))


def _bop_model(folder: Path) -> Case:
    entry: dict[str, Any] = {"diameter": 3.0, **{f"{part}_{axis}": 1.0 for part in ("min", "size") for axis in "xyz"}}
    entry["symmetries_discrete"] = [np.eye(4).ravel().tolist()]
    entry["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
    path = folder / "models" / "models_info.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"1": entry}))

    def read() -> None:
        model = bop_model(folder, 1)
        assert model.diameter > 0 and (model.box[0] <= model.box[1]).all()
        assert all(np.isfinite(one).all() for one in symmetry_transforms(model.info))

    return Case(path, read)


def _bop_split(folder: Path) -> Case:
    for split in ("train_real", "test"):
        capture_worlds.write_bop(folder / split / "000001", World(count=2))
    path = folder / "test" / "000001" / "scene_gt.json"
    content = json.loads(path.read_text())
    number = next(iter(content.values()))[0]["obj_id"]
    targets = [{"scene_id": 1, "im_id": int(image), "obj_id": number, "inst_count": 1} for image in content]
    path = folder / "test_targets_bop19.json"
    path.write_text(json.dumps(targets))
    return Case(path, lambda: _camera(bop_scene(folder, number).references[0].camera))


def _open3d(folder: Path) -> Case:
    capture_worlds.write_rgbd(folder / "scene", World(count=2))
    (folder / "scene" / "intrinsics.txt").unlink()
    path = folder / "scene" / "camera_intrinsic.json"
    path.write_text(json.dumps({"width": 64, "height": 48, "intrinsic_matrix": [60, 0, 0, 0, 60, 0, 32, 24, 1]}))
    return Case(path, lambda: _capture(folder / "scene"))


def _depth_camera(folder: Path, file: str) -> Case:
    capture_worlds.write_rgbd(folder, World(count=2))
    (folder / "depth_intrinsics.txt").write_text((folder / "intrinsics.txt").read_text())
    (folder / "depth_to_color.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return Case(folder / file, lambda: _capture(folder))


def _tum(folder: Path) -> Case:
    capture_worlds.write_rgbd(folder, World(count=2))
    rows = []
    for number, picture in enumerate(sorted((folder / "color").iterdir()), 1):
        pose = np.loadtxt(folder / "pose" / f"{picture.stem}.txt")
        values = [number, *pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        rows.append(" ".join(f"{value:.9f}" for value in values))
        (folder / "depth" / f"{picture.stem}.png").rename(folder / "depth" / f"{number}.0.png")
        picture.rename(picture.with_name(f"{number}.0{picture.suffix}"))
    (folder / "groundtruth.txt").write_text("# time\n" + "\n".join(rows) + "\n")
    return Case(folder / "groundtruth.txt", lambda: _capture(folder))


def _onepose(folder: Path, file: str) -> Case:
    for number in (1, 2):
        sequence = folder / "0700-toy-others" / f"toy-{number}"
        for name, text in (
            ("intrin_ba", "20 0 8\n0 20 6\n0 0 1\n"),
            ("poses_ba", "1 0 0 0\n0 1 0 0\n0 0 1 2\n0 0 0 1\n"),
        ):
            (sequence / name).mkdir(parents=True)
            (sequence / name / "0.txt").write_text(text)
        _noise(sequence / "color" / "0.png")
    read = lambda: [_camera(one.references[0].camera) for one in onepose_scenes(folder)]  # noqa: E731
    return Case(folder / "0700-toy-others" / "toy-1" / file, read)


RECORDS: dict[str, Callable[[Path], Case]] = {
    "spair": _spair,
    "ap10k, a pair": lambda d: _ap10k(d, pair=True),
    "ap10k, a picture": lambda d: _ap10k(d, pair=False),
    "pairs of one's own": _own_pairs,
    "badja": _badja,
    "transforms.json": _scene(capture_worlds.write_transforms, "transforms.json"),
    "BOP scene_gt.json": _scene(capture_worlds.write_bop, "scene_gt.json"),
    "BOP scene_camera.json": _scene(capture_worlds.write_bop, "scene_camera.json"),
    "BOP models_info.json": _bop_model,
    "BOP targets": _bop_split,
    "Open3D intrinsics": _open3d,
    "glTF": JSON["glTF"],
}
PICKLES: dict[str, Callable[[Path], Case]] = {"dinotracker": _dinotracker, "tapvid": _tapvid}
TEXTS: dict[str, Callable[[Path], Case]] = {
    "pf-pascal": _pf_pascal,
    "tss": _tss,
    "TUM poses": _tum,
    "depth scale": _scene(capture_worlds.write_rgbd, "depth_scale.txt", "1000\n"),
    "distortion": _scene(capture_worlds.write_rgbd, "distortion.txt", "0.01 0 0 0\n"),
    "RGB-D intrinsics": _scene(capture_worlds.write_rgbd, "intrinsics.txt"),
    "RGB-D pose": _scene(capture_worlds.write_rgbd, "pose/000.txt"),
    "depth camera": lambda d: _depth_camera(d, "depth_intrinsics.txt"),
    "depth camera's pose": lambda d: _depth_camera(d, "depth_to_color.txt"),
    "onepose intrinsics": lambda d: _onepose(d, "intrin_ba/0.txt"),
    "onepose pose": lambda d: _onepose(d, "poses_ba/0.txt"),
    "COLMAP cameras": _scene(
        capture_worlds.write_colmap, "sparse/0/cameras.txt", form="txt", world=World(BENT, count=2)
    ),
    "COLMAP images": _scene(capture_worlds.write_colmap, "sparse/0/images.txt", form="txt"),
    "COLMAP points": _scene(capture_worlds.write_colmap, "sparse/0/points3D.txt", form="txt"),
    "Middlebury list": _scene(capture_worlds.write_middlebury, "made_par.txt"),
    "Middlebury box": _scene(capture_worlds.write_middlebury, "README.txt"),
    "OBJ": BYTES["OBJ"],
    "MTL": BYTES["MTL"],
    "PLY": BYTES["PLY text"],
}


def _changed_records(content: Any, values: tuple[Any, ...]) -> Iterator[tuple[Any, str]]:
    """Yield the content with each kind of place changed to each value."""
    seen = set()
    for number, (_, path, kind) in enumerate(_paths(content)):
        if kind in seen or "/-" in kind:
            continue
        seen.add(kind)
        for value in values:
            changed = copy.deepcopy(content)
            inside, key = list(places(changed))[number]
            inside[key] = copy.deepcopy(value)
            yield changed, f"{path} = {value!r:.60}"
        del inside[key]
        yield changed, f"{path} left out"


def _paths(value: Any, path: str = "", kind: str = "") -> Iterator[tuple[Any, str, str]]:
    """Yield what `places` yields, in its order, with the way there and what kind of place it is.

    Of items that are alike the first and the last stand for all, of numbers in a row the second too; the others are
    of the kind "-". Numbered images of a dictionary are such items.
    """
    if isinstance(value, dict | list):
        keys = [*value] if isinstance(value, dict) else [*range(len(value))]
        alike = isinstance(value, list) or all(str(key).isdigit() for key in keys)
        shown = {keys[0], keys[-1]} if alike and keys else set(keys)
        if alike and len(keys) > 1 and not isinstance(value[keys[1]], dict | list):
            shown.add(keys[1])
        for key in keys:
            inner = f"{kind}/{key if key in shown else '-'}"
            yield value, f"{path}/{key}", inner
            yield from _paths(value[key], f"{path}/{key}", inner)


def _changed_texts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text with each word changed to each of `WORDS`; of a long file the first and the last words."""
    words = list(re.finditer(r"[^\s,;()]+", text))
    for word in words if len(words) <= 16 else words[:12] + words[-4:]:
        for new in WORDS:
            yield text[: word.start()] + new + text[word.end() :], f"{word[0]!r} at {word.start()} = {new!r:.60}"


def _read(case: Case, content: bytes, changed: str) -> str | None:
    """Return what is wrong with how a file of this content is read; None when it is refused, or read without harm."""
    case.file.write_bytes(content)
    try:
        case.read()
    except EquiviewError as error:
        said = str(error)
        told = said.isprintable() and len(said) < 1500
        return None if told else f"{changed}: message {said[:200]!r}"
    except Exception as error:  # Anything else is what this test looks for.
        return f"{changed}: {type(error).__name__}: {str(error)[:120]}"
    return None


def _check(case: Case, contents: Iterator[tuple[bytes, str]]) -> None:
    case.read()
    whole = case.file.read_bytes()
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # A warning of numpy is a second message, and a value that went through.
            wrong = [found for one in contents if (found := _read(case, *one)) is not None]
    finally:
        logging.disable(logging.NOTSET)
        case.file.write_bytes(whole)
    assert not wrong, "\n".join([f"{len(wrong)} of them:", *wrong[:20]])


@pytest.mark.parametrize("name", RECORDS)
def test_json(tmp_path: Path, name: str) -> None:
    case = RECORDS[name](tmp_path)
    changed = _changed_records(json.loads(case.file.read_text()), VALUES)
    _check(case, ((json.dumps(one).encode(), what) for one, what in changed))


@pytest.mark.parametrize("name", PICKLES)
def test_pickles(tmp_path: Path, name: str) -> None:
    case = PICKLES[name](tmp_path)
    changed = _changed_records(pickle.loads(case.file.read_bytes()), VALUES + ARRAYS)
    _check(case, ((pickle.dumps(one), what) for one, what in changed))


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path: Path, name: str) -> None:
    case = TEXTS[name](tmp_path)
    changed = _changed_texts(case.file.read_text())
    _check(case, ((one.encode("utf-8", "surrogateescape"), what) for one, what in changed))
