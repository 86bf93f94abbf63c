"""Data sets in the BOP layout (YCB-V, LM-O and others), read for model-free onboarding: references show one object."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import EquiviewError, bad_input
from ...io import read_json, stored_hw, visible
from ...render import load_mesh
from ...schema import as_array, as_list, as_number, as_record, as_whole
from ...types import Capture, PosedImage, PoseScene, UnusableQuery
from .checks import finish, require_rigid, rounded_note
from .lens import pinhole
from .photographs import Photograph
from .undistortion import pinhole_for

LAYOUT = "BOP: scene_camera.json and scene_gt.json with rgb/ (or gray/), depth/ and mask_visib/"
WORLD_UNIT_CM = 0.1  # millimetres
_NUMBER = re.compile(r"[0-9]{1,9}")
_AGAIN = "Fetch it again."
log = logging.getLogger(__name__)


# Folder, image, instance, camera (None without) and pose.
_Shown = tuple[Path, int, int, Any, dict[str, Any]]


@dataclass(frozen=True)
class BopModel:
    """What models_info.json says of an object, millimetres.

    Attributes:
        diameter: Largest distance between two of its points.
        box: Lowest and highest corner.
        info: The whole entry, symmetries included (see `pose_metrics.symmetry_transforms`).
    """

    diameter: float
    box: Float[np.ndarray, "2 3"]
    info: dict[str, Any]


def bop_model(root: str | Path, object_id: int) -> BopModel:
    """Return an object's entry of models_eval/models_info.json (or models/).

    Raises:
        EquiviewError: There is none.
    """
    folders = [Path(root) / name / "models_info.json" for name in ("models_eval", "models")]
    path = next((path for path in folders if path.is_file()), folders[0])
    entry = as_record(read_json(path), str(path), fix=_AGAIN).get(str(object_id))
    if entry is None:
        raise bad_input(str(path), f"object {object_id}", "no such entry", "Check the object's number.")
    where, keys = f"{path} object {object_id}", tuple(f"{part}_{axis}" for part in ("min", "size") for axis in "xyz")
    entry = as_record(entry, where, ("diameter", *keys), _AGAIN)
    values = np.array([as_number(entry[key], f"{where} {key}", fix=_AGAIN) for key in keys])
    if min(values[3:]) < 0:
        raise bad_input(where, "sizes of at least 0", str(values[3:].tolist()), _AGAIN)
    diameter = as_number(entry["diameter"], f"{where} diameter", low=1e-9, fix=_AGAIN)
    _check_symmetries(entry, where)
    return BopModel(diameter, np.array([values[:3], values[:3] + values[3:]]), entry)


def _check_symmetries(entry: dict[str, Any], where: str) -> None:
    """Hold an object's symmetries against what `metrics.pose.symmetry_transforms` reads."""
    for one in as_list(entry.get("symmetries_discrete", []), f"{where} symmetries_discrete", fix=_AGAIN):
        require_rigid(_numbers(one, f"{where} symmetries_discrete", 16).reshape(4, 4), f"{where} symmetries_discrete")
    name = f"{where} symmetries_continuous"
    for one in as_list(entry.get("symmetries_continuous", []), name, fix=_AGAIN):
        turn = as_record(one, name, ("axis",), _AGAIN)
        axis, offset = (_numbers(turn.get(key, [0, 0, 0]), f"{name} {key}", 3) for key in ("axis", "offset"))
        if not np.isfinite([axis, offset]).all() or not axis.any():
            found = f"{axis.tolist()} and {offset.tolist()}"
            raise bad_input(name, "an axis that is not 0 and an offset, finite", found, _AGAIN)


def scene_name(root: str | Path, object_id: int) -> str:
    """Return what the scene of an object is called."""
    return f"{Path(root).name}/{object_id:06d}"


def bop_scene(
    root: str | Path,
    object_id: int,
    *,
    reference_split: str = "train_real",
    query_split: str = "test",
    max_references: int = 40,
    depth: bool = True,
    query_depth: bool = False,
) -> PoseScene:
    """Read one object: references from one split, queries from another.

    Folders of a split hold scene_camera.json (`cam_K`, `depth_scale`), scene_gt.json (`cam_R_m2c`, `cam_t_m2c`,
    `obj_id`), rgb/ (or gray/), depth/ and mask_visib/. BOP's integer pixels are pixel centres (its toolkit's rays go
    through them), so principal points move by half a pixel. Units are millimetres. With test_targets_bop19.json in the
    root only its images are queries. A query in which nothing of the object can be seen (scene_gt_info.json), or that
    lacks its camera, pose or picture, stays one, as failed with the reason; such references are left out.

    Args:
        root: The data set's folder.
        object_id: BOP's number of the object.
        reference_split: Such as train_real, train_pbr or onboarding_static.
        query_split: Usually test.
        max_references: At most so many, evenly spread over all that show the object.
        depth: Read the depth of references where there is some; else they are triangulated.
        query_depth: Read the depth of queries too (for VSD; all of them are in memory then).

    Raises:
        EquiviewError: A file is missing or broken, or no image shows the object.
    """
    root = Path(root)
    found = [one for one in _shown(root / reference_split, object_id) if not _hidden(*one[:3])]
    every = np.unique(np.linspace(0, len(found) - 1, min(max_references, len(found))).astype(int))
    references, left_out = _usable(found[i] for i in every)
    targets = _targets(root, query_split, object_id)
    queries = [
        _query(one) for one in _shown(root / query_split, object_id) if targets is None or (one[0], one[1]) in targets
    ]
    given = [one for one in queries if isinstance(one, Photograph)]
    not_given = [one.reason for one in queries if isinstance(one, UnusableQuery)]
    if not references or not given:
        empty, why = (query_split, not_given) if references else (reference_split, left_out)
        said = "; ".join(why[:2]) or "none"
        raise bad_input(str(root / empty), f"images that show object {object_id}", said, "Check the split's name.")
    for note in (
        *_left_out(left_out),
        *_failing(not_given),
        *rounded_note(p.cam_from_world for p in references + given),
    ):
        log.warning("%s: %s", root, note)
    return PoseScene(
        scene_name(root, object_id),
        [_posed(one, depth=depth, mask=True) for one in _rigid(root, references)],
        [one if isinstance(one, UnusableQuery) else _posed(*_rigid(root, [one]), depth=query_depth) for one in queries],
        _points(root, object_id),
        WORLD_UNIT_CM,
    )


def _usable(shown: Iterable[_Shown], long_side: int | None = None) -> tuple[list[Photograph], list[str]]:
    """Return the photographs of what is shown, and why others cannot be used: no camera, half a pose, no picture."""
    usable, reasons = [], []
    for one in shown:
        try:
            usable.append(_photograph(*one, long_side=long_side))
        except EquiviewError as error:
            reasons.append(str(error))
    return usable, reasons


def _query(shown: _Shown) -> Photograph | UnusableQuery:
    """Return the photograph of a listed query, or why it cannot be used: it stays in the list, as failed."""
    folder, image, number = shown[:3]
    name = f"{folder.name}/{image:06d}"
    if _hidden(folder, image, number):
        return UnusableQuery(name, "nothing of the object can be seen (visib_fract 0)")
    try:
        return _photograph(*shown)
    except EquiviewError as error:
        return UnusableQuery(name, str(error))


def _failing(reasons: Sequence[str]) -> list[str]:
    """Return one note on queries that fail before anything is looked for."""
    return [f"{len(reasons)} queries cannot be used and count as failed; the first: {reasons[0]}"] if reasons else []


def _rigid(folder: Path, photographs: Sequence[Photograph]) -> list[Photograph]:
    return [
        replace(one, cam_from_world=require_rigid(one.cam_from_world, f"{folder} image {int(one.path.stem)}"))
        for one in photographs
    ]


def _left_out(reasons: Sequence[str]) -> list[str]:
    """Return one note on images that are left out."""
    return [f"{len(reasons)} images cannot be used and are left out; the first: {reasons[0]}"] if reasons else []


def _shown(split: Path, object_id: int) -> Iterator[_Shown]:
    """Yield folder, image, instance, camera and pose wherever an object is shown, in order."""
    folders = [path for path in visible(split) if (path / "scene_gt.json").is_file()] if split.is_dir() else []
    if not folders:
        raise bad_input(str(split), "scene folders with scene_gt.json", "none", "Check the split's name.")
    for folder in folders:
        yield from _shown_in(folder, object_id)


def _shown_in(folder: Path, object_id: int) -> Iterator[_Shown]:
    cameras = _by_image(folder / "scene_camera.json", "cameras")
    poses = _poses(folder)
    for image in sorted(poses):
        for number, pose in enumerate(poses[image]):
            if pose.get("obj_id") == object_id:
                yield folder, image, number, cameras.get(image), pose


def _by_image(path: Path, what: str) -> dict[int, Any]:
    """Read one of BOP's files, which are objects with the numbers of images as keys."""
    content = as_record(read_json(path), f"{path}: {what} by image number", fix=_AGAIN)
    wrong = next((key for key in content if not _NUMBER.fullmatch(key)), None)
    if wrong is not None:
        raise bad_input(str(path), f"{what} by image number", repr(wrong[:40]), _AGAIN)
    return {int(key): value for key, value in content.items()}


def _poses(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Return the labelled instances of each image; an image that nobody labelled has none."""
    path = folder / "scene_gt.json"
    found = {}
    for image, instances in _by_image(path, "poses").items():
        listed = as_list([] if instances is None else instances, f"{path} image {image}", "a list of instances")
        found[image] = [as_record(one, f"{path} image {image}", fix=_AGAIN) for one in listed]
    return found


@lru_cache(maxsize=8)
def _visible_shares(folder: Path) -> dict[int, list[float | None]]:
    """Return how much of each instance can be seen (0 to 1) where scene_gt_info.json says it."""
    path, shares = folder / "scene_gt_info.json", {}
    if path.is_file():
        for image, instances in _by_image(path, "instances").items():
            listed = [
                one if isinstance(one, dict) else {} for one in (instances if isinstance(instances, list) else [])
            ]
            shares[image] = [one.get("visib_fract") for one in listed]
    return shares


def _hidden(folder: Path, image: int, number: int) -> bool:
    """Return True where the data set says that nothing of an instance can be seen."""
    shares = _visible_shares(folder).get(image, [])
    return number < len(shares) and shares[number] == 0


def _posed(one: Photograph, *, depth: bool, mask: bool = False) -> PosedImage:
    return replace(one, mask=one.mask if mask else None, depth=one.depth if depth else None).posed()


def _photograph(
    folder: Path,
    image: int,
    number: int,
    camera: Any,
    pose: dict[str, Any],
    *,
    long_side: int | None = None,
) -> Photograph:
    where = f"{folder} image {image}"
    if camera is None:
        raise bad_input(str(folder / "scene_camera.json"), f"a camera for image {image}", "none", _AGAIN)
    camera = as_record(camera, f"{where}, its camera", ("cam_K",), _AGAIN)
    pose = as_record(pose, f"{where}, instance {number}", ("cam_R_m2c", "cam_t_m2c"), _AGAIN)
    picture = _picture(folder, image)
    intrinsics = _numbers(camera["cam_K"], f"{where} cam_K", 9).reshape(3, 3)
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = _numbers(pose["cam_R_m2c"], f"{where} cam_R_m2c", 9).reshape(3, 3)
    cam_from_world[:3, 3] = _numbers(pose["cam_t_m2c"], f"{where} cam_t_m2c", 3)
    intrinsics[:2, 2] += 0.5
    mask_file = folder / "mask_visib" / f"{image:06d}_{number:06d}.png"
    depth_file = folder / "depth" / f"{image:06d}.png"
    return Photograph(
        picture,
        pinhole_for(pinhole(intrinsics, stored_hw(picture)), long_side),
        cam_from_world,
        f"{folder.name}/{image:06d}",
        mask_file if mask_file.is_file() else None,
        depth_file if depth_file.is_file() else None,
        as_number(camera.get("depth_scale", 1.0), f"{where} depth_scale", low=1e-9, fix=_AGAIN),
    )


def _numbers(value: Any, where: str, count: int) -> Float[np.ndarray, "n"]:
    """Return so many numbers, written as one list or as rows."""
    found = np.asarray(value, object).ravel().tolist() if isinstance(value, list) else value
    return as_array(found, where, (count,), _AGAIN)


def bop_capture(folder: str | Path, *, object_id: int | None = None, long_side: int | None = None) -> Capture:
    """Read a scene folder as a capture of one object: world is the object, millimetres, with its depth and masks.

    The conventions are those of `bop_scene`. Images that do not show the object are left out; of several instances in
    an image the first is taken. The box comes from the data set's models_info.json where that is there.

    Args:
        folder: Such as DATASET/test/000048, with scene_camera.json and scene_gt.json.
        object_id: Which object; may be None where the scene has one only.
        long_side: Pictures are reduced to this many pixels at most.

    Raises:
        EquiviewError: A file is missing or broken, the scene has several objects and none was chosen, or fewer than two
            images show it.
    """
    folder = Path(folder)
    poses = _poses(folder)
    objects = sorted(
        {pose["obj_id"] for image in poses.values() for pose in image if isinstance(pose.get("obj_id"), int)}
    )
    if object_id is None and len(objects) != 1:
        found = f"objects {', '.join(map(str, objects))}" if objects else "none"
        raise bad_input(str(folder / "scene_gt.json"), "one object", found, "Choose one: FOLDER@object=2 (object_id).")
    chosen = objects[0] if object_id is None else object_id
    if chosen not in objects:
        found = f"objects {', '.join(map(str, objects))}"
        raise bad_input(str(folder / "scene_gt.json"), f"object {chosen}", found, "Check the object's number.")
    every = list(_shown_in(folder, chosen))
    seen: dict[int, _Shown] = {}
    for shown in every:
        if not _hidden(*shown[:3]):
            seen.setdefault(shown[1], shown)
    given, reasons = _usable(seen.values(), long_side)
    photographs = _rigid(folder, given)
    without = len(poses) - len({shown[1] for shown in every})
    hidden = len({shown[1] for shown in every}) - len(seen)
    notes = [f"{len(poses)} images, {without} without object {chosen}"] if without else []
    notes += [f"{hidden} images in which nothing of object {chosen} can be seen are left out"] if hidden else []
    notes += [*_left_out(reasons), *rounded_note(one.cam_from_world for one in given)]
    if len(photographs) < 2 and reasons:
        raise bad_input(str(folder), "at least 2 images that can be used", f"{len(photographs)}; {reasons[0]}", _AGAIN)
    root = folder.resolve().parent.parent
    known = any((root / name / "models_info.json").is_file() for name in ("models_eval", "models"))
    box = bop_model(root, chosen).box if known else None
    name = f"{folder.resolve().name}_obj{chosen:06d}"
    return finish(name, photographs, box=box, notes=notes)


def _picture(folder: Path, image: int) -> Path:
    names = [folder / kind / f"{image:06d}.{suffix}" for kind in ("rgb", "gray") for suffix in ("png", "jpg", "tif")]
    found = next((path for path in names if path.is_file()), None)
    if found is None:
        raise bad_input(str(names[0]), "the picture", "nothing there", "Unpack the split again.")
    return found


def _targets(root: Path, split: str, object_id: int) -> set[tuple[Path, int]] | None:
    """Return (scene folder, image) of the listed targets; None without a list."""
    path = root / "test_targets_bop19.json"
    if not path.is_file():
        return None
    keys = ("scene_id", "im_id", "obj_id")
    rows = [as_record(row, f"{path}: a target", keys, _AGAIN) for row in as_list(read_json(path), str(path))]
    own = [row for row in rows if row["obj_id"] == object_id]
    numbers = [[as_whole(row[key], f"{path}: {key}", 0, 10**6 - 1, _AGAIN) for key in keys[:2]] for row in own]
    return {(root / split / f"{scene:06d}", image) for scene, image in numbers}


def _points(root: Path, object_id: int) -> Float[np.ndarray, "m 3"] | None:
    files = [root / name / f"obj_{object_id:06d}.ply" for name in ("models_eval", "models")]
    found = next((path for path in files if path.is_file()), None)
    # The annotated poses are of the mesh in its file's own frame.
    return None if found is None else np.asarray(load_mesh(found, up="z").vertices, np.float64)
