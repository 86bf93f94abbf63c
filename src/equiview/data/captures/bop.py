"""Data sets in the BOP layout (YCB-V, LM-O and others), read for model-free onboarding: references show one object."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import image_hw, read_json
from ...render import load_mesh
from ...types import Capture, PosedImage, PoseScene
from .checks import finish, require_rigid
from .lens import pinhole
from .photographs import Photograph
from .undistortion import pinhole_for

LAYOUT = "BOP: scene_camera.json and scene_gt.json with rgb/ (or gray/), depth/ and mask_visib/"
WORLD_UNIT_CM = 0.1  # millimetres


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
    entry = read_json(path).get(str(object_id))
    if entry is None:
        raise bad_input(str(path), f"object {object_id}", "no such entry", "Check the object's number.")
    try:
        low = [float(entry[f"min_{axis}"]) for axis in "xyz"]
        size = [float(entry[f"size_{axis}"]) for axis in "xyz"]
        return BopModel(float(entry["diameter"]), np.array([low, np.add(low, size)]), entry)
    except KeyError as error:
        raise bad_input(str(path), f"{error} of object {object_id}", "no such key", "Fetch it again.") from error


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
    root only its images are queries.

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
    found = list(_shown(root / reference_split, object_id))
    every = np.unique(np.linspace(0, len(found) - 1, min(max_references, len(found))).astype(int))
    references = [_posed(*found[i], depth=depth, mask=True) for i in every]
    targets = _targets(root, query_split, object_id)
    shown = [one for one in _shown(root / query_split, object_id) if targets is None or (one[0], one[1]) in targets]
    if not references or not shown:
        empty = reference_split if not references else query_split
        raise bad_input(str(root / empty), f"images that show object {object_id}", "none", "Check the split's name.")
    queries = [_posed(*one, depth=query_depth, mask=False) for one in shown]
    return PoseScene(f"{root.name}/{object_id:06d}", references, queries, _points(root, object_id), WORLD_UNIT_CM)


_Shown = tuple[Path, int, int, dict[str, Any], dict[str, Any]]


def _shown(split: Path, object_id: int) -> Iterator[_Shown]:
    """Yield folder, image, instance, camera and pose wherever an object is shown, in order."""
    folders = sorted(path for path in split.iterdir() if (path / "scene_gt.json").is_file()) if split.is_dir() else []
    if not folders:
        raise bad_input(str(split), "scene folders with scene_gt.json", "none", "Check the split's name.")
    for folder in folders:
        yield from _shown_in(folder, object_id)


def _shown_in(folder: Path, object_id: int) -> Iterator[_Shown]:
    cameras, poses = read_json(folder / "scene_camera.json"), read_json(folder / "scene_gt.json")
    for image in sorted(poses, key=int):
        for number, pose in enumerate(poses[image]):
            if pose.get("obj_id") == object_id:
                if image not in cameras:
                    where = str(folder / "scene_camera.json")
                    raise bad_input(where, f"a camera for image {image}", "none", "Fetch it again.")
                yield folder, int(image), number, cameras[image], pose


def _posed(
    folder: Path, image: int, number: int, camera: dict[str, Any], pose: dict[str, Any], *, depth: bool, mask: bool
) -> PosedImage:
    one = _photograph(folder, image, number, camera, pose)
    return replace(one, mask=one.mask if mask else None, depth=one.depth if depth else None).posed()


def _photograph(
    folder: Path,
    image: int,
    number: int,
    camera: dict[str, Any],
    pose: dict[str, Any],
    *,
    long_side: int | None = None,
) -> Photograph:
    picture = _picture(folder, image)
    try:
        intrinsics = np.array(camera["cam_K"], float).reshape(3, 3)
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3] = np.array(pose["cam_R_m2c"], float).reshape(3, 3)
        cam_from_world[:3, 3] = np.array(pose["cam_t_m2c"], float)
    except (KeyError, ValueError) as error:
        where = f"{folder} image {image}"
        raise bad_input(where, "cam_K, cam_R_m2c and cam_t_m2c", str(error), "Fetch it again.") from error
    intrinsics[:2, 2] += 0.5
    mask_file = folder / "mask_visib" / f"{image:06d}_{number:06d}.png"
    depth_file = folder / "depth" / f"{image:06d}.png"
    return Photograph(
        picture,
        pinhole_for(pinhole(intrinsics, image_hw(picture)), long_side),
        cam_from_world,
        f"{folder.name}/{image:06d}",
        mask_file if mask_file.is_file() else None,
        depth_file if depth_file.is_file() else None,
        float(camera.get("depth_scale", 1.0)),
    )


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
    poses = read_json(folder / "scene_gt.json")
    if not isinstance(poses, dict):
        raise bad_input(str(folder / "scene_gt.json"), "poses by image number", "something else", "Fetch it again.")
    objects = sorted({pose.get("obj_id") for image in poses.values() for pose in image})
    if object_id is None and len(objects) != 1:
        found = f"objects {', '.join(map(str, objects))}" if objects else "none"
        raise bad_input(str(folder / "scene_gt.json"), "one object", found, "Say which one (object_id).")
    chosen = objects[0] if object_id is None else object_id
    if chosen not in objects:
        found = f"objects {', '.join(map(str, objects))}"
        raise bad_input(str(folder / "scene_gt.json"), f"object {chosen}", found, "Check the object's number.")
    photographs: dict[int, Photograph] = {}
    for shown in _shown_in(folder, chosen):
        if shown[1] not in photographs:
            one = _photograph(*shown, long_side=long_side)
            require_rigid(one.cam_from_world, f"{folder} image {shown[1]}")
            photographs[shown[1]] = one
    without = len(poses) - len(photographs)
    notes = [f"{len(poses)} images, {without} without object {chosen}"] if without else []
    root = folder.resolve().parent.parent
    known = any((root / name / "models_info.json").is_file() for name in ("models_eval", "models"))
    box = bop_model(root, chosen).box if known else None
    name = f"{folder.resolve().name}_obj{chosen:06d}"
    return finish(name, list(photographs.values()), box=box, notes=notes)


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
    rows: Sequence[dict[str, Any]] = read_json(path)
    return {(root / split / f"{row['scene_id']:06d}", row["im_id"]) for row in rows if row["obj_id"] == object_id}


def _points(root: Path, object_id: int) -> Float[np.ndarray, "m 3"] | None:
    files = [root / name / f"obj_{object_id:06d}.ply" for name in ("models_eval", "models")]
    found = next((path for path in files if path.is_file()), None)
    # The annotated poses are of the mesh in its file's own frame.
    return None if found is None else np.asarray(load_mesh(found, up="z").vertices, np.float64)
