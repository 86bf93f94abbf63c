"""Scores of a pose, as pure functions: rotation, translation, ADD, and the errors of the BOP challenge."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from ..errors import bad_input
from ..geometry import pixel_centers, project, transform
from ..types import Camera

RECALLS_CM_DEG = (1.0, 3.0, 5.0)
RECALLS_DEG = (5.0, 10.0)
VSD_TAUS = tuple(0.05 * k for k in range(1, 11))
Pose = Float[np.ndarray, "r 4"]


def rotation_error_deg(cam_from_world: Pose, true_cam_from_world: Pose) -> float:
    """Return the angle of the rotation between two poses, degrees.

    The angle comes from the trace, which is clamped on both sides: rounding must not turn half a turn into NaN (the
    released evaluation clamps above only).
    """
    relative = cam_from_world[:3, :3] @ true_cam_from_world[:3, :3].T
    return float(np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1.0, 1.0))))


def translation_error(cam_from_world: Pose, true_cam_from_world: Pose) -> float:
    """Return the distance between two translations, in world units."""
    return float(np.linalg.norm(cam_from_world[:3, 3] - true_cam_from_world[:3, 3]))


def lateral_depth_error(cam_from_world: Pose, true_cam_from_world: Pose) -> tuple[float, float]:
    """Split the translation error of where the world's origin is seen, in world units.

    With a long focal length the depth is hardly observable, and one number would hide how good the rest is.

    Returns:
        The part across the true line of sight, and the part along it; their squares add up to the whole.
    """
    true = true_cam_from_world[:3, 3]
    difference, distance = cam_from_world[:3, 3] - true, np.linalg.norm(true)
    sight = true / distance if distance > 0 else np.array([0.0, 0.0, 1.0])
    depth = float(difference @ sight)
    return float(np.linalg.norm(difference - depth * sight)), abs(depth)


def recall_hits(
    rotation_deg: Float[np.ndarray, "*n"], translation_cm: Float[np.ndarray, "*n"] | None
) -> dict[str, Bool[np.ndarray, "*n"]]:
    """Return for each `pose_recall@...` which poses are under its thresholds; strict <, and NaN counts as a failure.

    Args:
        rotation_deg: Rotation errors.
        translation_cm: Translation errors; None where there is no scale, and no recall in centimetres.
    """
    hits = {f"pose_recall@{limit:g}deg": rotation_deg < limit for limit in RECALLS_DEG}
    if translation_cm is not None:
        for limit in RECALLS_CM_DEG:
            hits[f"pose_recall@{limit:g}cm{limit:g}deg"] = (rotation_deg < limit) & (translation_cm < limit)
    return hits


def add_error(cam_from_world: Pose, true_cam_from_world: Pose, points: Float[np.ndarray, "m 3"]) -> float:
    """Return ADD: the mean distance of model points in both poses, world units. Source: Hinterstoisser, ACCV 2012."""
    moved, true = transform(cam_from_world, points), transform(true_cam_from_world, points)
    return float(np.linalg.norm(moved - true, axis=1).mean())


def adds_error(cam_from_world: Pose, true_cam_from_world: Pose, points: Float[np.ndarray, "m 3"]) -> float:
    """Return ADD-S: the mean distance from each true point to the nearest in the found pose, world units."""
    moved, true = transform(cam_from_world, points), transform(true_cam_from_world, points)
    return float(cKDTree(moved).query(true)[0].mean())


def mssd(
    cam_from_world: Pose,
    true_cam_from_world: Pose,
    points: Float[np.ndarray, "m 3"],
    symmetries: Sequence[Float[np.ndarray, "4 4"]] = (np.eye(4),),
) -> float:
    """Return the Maximum Symmetry-aware Surface Distance, world units. Source: BOP challenge 2019.

    Args:
        cam_from_world: The estimate.
        true_cam_from_world: The truth.
        points: Model points.
        symmetries: Rigid transforms that leave the object as it is, the identity among them.
    """
    moved = transform(cam_from_world, points)
    alternatives = (transform(true_cam_from_world @ symmetry, points) for symmetry in symmetries)
    return min(float(np.linalg.norm(moved - true, axis=1).max()) for true in alternatives)


def mspd(
    cam_from_world: Pose,
    true_camera: Camera,
    points: Float[np.ndarray, "m 3"],
    symmetries: Sequence[Float[np.ndarray, "4 4"]] = (np.eye(4),),
) -> float:
    """Return the Maximum Symmetry-aware Projection Distance, pixels. Source: BOP challenge 2019."""
    intrinsics, hw = true_camera.intrinsics, true_camera.hw
    moved = project(Camera(intrinsics, cam_from_world, hw), points)[0]
    errors = []
    for symmetry in symmetries:
        true = project(Camera(intrinsics, true_camera.cam_from_world @ symmetry, hw), points)[0]
        errors.append(float(np.linalg.norm(moved - true, axis=1).max()))
    return min(errors)


def vsd(
    depth: Float[np.ndarray, "h w"],
    true_depth: Float[np.ndarray, "h w"],
    scene_depth: Float[np.ndarray, "h w"],
    intrinsics: Float[np.ndarray, "3 3"],
    *,
    delta: float,
    diameter: float,
    taus: Sequence[float] = VSD_TAUS,
) -> list[float]:
    """Return the Visible Surface Discrepancy (0 to 1) for each misalignment tolerance.

    Source: Hodan et al., ECCV 2018, with the visibility of the BOP challenge 2019 (a pixel without measured depth
    counts as seen) and the step cost.

    Args:
        depth: The model's z-depth in the estimated pose, 0 where it is not (see `render.render_depth`).
        true_depth: The same in the true pose.
        scene_depth: Measured z-depth of the picture, 0 where unknown.
        intrinsics: Corner origin.
        delta: Tolerance of the visibility test, the unit of the depths (15 mm in BOP).
        diameter: Of the object, same unit; distances are divided by it before they meet a tau.
        taus: Tolerances, shares of the diameter.
    """
    rays = pixel_centers(depth.shape) - intrinsics[:2, 2]
    lengths = np.sqrt(1 + ((rays / intrinsics[[0, 1], [0, 1]]) ** 2).sum(-1))
    found, true, scene = (lengths * one for one in (depth, true_depth, scene_depth))
    visible_true = _visible(true, scene, delta)
    visible = _visible(found, scene, delta) | (visible_true & (found > 0))
    both, either = visible & visible_true, int((visible | visible_true).sum())
    if either == 0:
        return [1.0] * len(taus)
    distances = np.abs(found[both] - true[both]) / diameter
    return [(int((distances >= tau).sum()) + either - int(both.sum())) / either for tau in taus]


def _visible(model: Float[np.ndarray, "h w"], scene: Float[np.ndarray, "h w"], delta: float) -> Bool[np.ndarray, "h w"]:
    return (model > 0) & ((model - scene <= delta) | (scene == 0))


def bop_average_recalls(
    errors: dict[str, list[float] | list[list[float]]], diameter: float, image_width: int
) -> dict[str, float]:
    """Return AR_VSD, AR_MSSD, AR_MSPD over the queries of one object and their mean AR, percent.

    Thresholds of the BOP challenge 2019: VSD 0.05 to 0.5 for every tau, MSSD 0.05 to 0.5 of the diameter, MSPD 5 to 50
    pixels of a 640 px wide image; strict <. A failed query has infinite errors.

    Args:
        errors: `mssd` and `mspd` with one value a query, and `vsd` with a list a query; any may be missing.
        diameter: Of the object, the unit of `mssd`.
        image_width: Pixels.

    Raises:
        EquiviewError: No errors at all.
    """
    steps = np.arange(1, 11)
    thresholds = {"vsd": 0.05 * steps, "mssd": 0.05 * steps * diameter, "mspd": 5.0 * steps * image_width / 640}
    values = {
        f"ar_{name}": float(100 * (np.asarray(errors[name], float)[..., None] < limits).mean())
        for name, limits in thresholds.items()
        if errors.get(name)
    }
    if not values:
        raise bad_input("BOP recalls", "errors vsd, mssd or mspd", "none", "Score at least one query.")
    return values | {"ar": float(np.mean(list(values.values())))}


def symmetry_transforms(model_info: dict, max_step: float = 0.01) -> list[Float[np.ndarray, "4 4"]]:
    """Return an object's symmetries as a list, continuous ones in steps, by the BOP toolkit's rule.

    Args:
        model_info: An entry of models_info.json: `symmetries_discrete` (row-major 4x4) and `symmetries_continuous`
            (`axis`, `offset`) where there are any.
        max_step: Largest allowed displacement between neighbours, share of the diameter (BOP: 0.01).
    """
    discrete = [np.eye(4)] + [
        np.reshape(one, (4, 4)).astype(float) for one in model_info.get("symmetries_discrete", [])
    ]
    continuous = []
    count = int(np.ceil(np.pi / max_step))
    for one in model_info.get("symmetries_continuous", []):
        axis = np.asarray(one["axis"], float) / np.linalg.norm(one["axis"])
        offset = np.asarray(one.get("offset", [0, 0, 0]), float)
        continuous += [_turn(axis, offset, 2 * np.pi * k / count) for k in range(count)]
    return [turn @ one for one in discrete for turn in continuous] if continuous else discrete


def _turn(axis: Float[np.ndarray, "3"], offset: Float[np.ndarray, "3"], angle: float) -> Float[np.ndarray, "4 4"]:
    """Rotate by `angle` about an axis through `offset` (Rodrigues)."""
    cross = np.cross(np.eye(3), axis).T
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = offset - rotation @ offset
    return matrix
