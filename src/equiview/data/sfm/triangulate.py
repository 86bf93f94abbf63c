"""Points for pictures whose cameras are known: matches near their epipolar lines, triangulated, poses kept fixed."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import EquiviewError
from ...geometry import fundamental_matrix, inverse, symmetric_distance_px
from ...types import Camera
from .colmap import colmap_camera, colmap_pose, import_pycolmap, interruptible
from .matches import ColmapConfig, Progress, Workplace, extract, match
from .reconstruct import drop_bad_points, pipeline_options

NEIGHBOURS = 30


def triangulate_known(
    place: Workplace, cameras: Mapping[str, Camera], config: ColmapConfig, progress: Progress
) -> tuple[Any | None, float]:
    """Find points; cameras and poses are exactly the given ones afterwards.

    Args:
        place: Where COLMAP works; what an interrupted run finished there is used.
        cameras: By the pictures' file names.
        config: How. An observation must lie within `max_error_px` of its epipolar line to be used at all.
        progress: Called with (stage, done, total); stages are features, matches, epipolar check and points.

    Returns:
        A `pycolmap.Reconstruction` in which every picture has its given pose, None when no match fits the poses; and
        the share (0 to 1) of the matches that fit them.
    """
    names = list(cameras)
    extract(place, [[name] for name in names], config, "PINHOLE", progress)
    match(place, chosen_pairs(cameras, config.max_exhaustive), config, progress, verify=False)
    known = _known_model(place, cameras)
    kept, matches = verify_by_poses(place, cameras, config.max_error_px, progress)
    if kept == 0:
        return None, 0.0
    return drop_bad_points(_triangulated(place, known, config, progress), config), kept / matches


def chosen_pairs(cameras: Mapping[str, Camera], max_exhaustive: int) -> list[tuple[str, str]]:
    """Return the pairs to match: all of few pictures, else each with its nearest by position and viewing direction."""
    names = list(cameras)
    if len(names) <= max_exhaustive:
        return list(combinations(names, 2))
    centers = np.stack([camera.center_in_world for camera in cameras.values()])
    forward = np.stack([camera.cam_from_world[2, :3] for camera in cameras.values()])
    size = np.linalg.norm(np.ptp(centers, axis=0)) or 1.0
    apart = np.linalg.norm(centers[:, None] - centers, axis=-1) / size + (1 - forward @ forward.T)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, 1 : NEIGHBOURS + 1]
    pairs = {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row if i != j}
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def _known_model(place: Workplace, cameras: Mapping[str, Camera]) -> Any:
    """Return a model with the given cameras under the ids of the database, and put them into the database too."""
    pycolmap = import_pycolmap()
    model = pycolmap.Reconstruction()
    with pycolmap.Database.open(place.database) as database:
        for name, camera in cameras.items():
            stored = database.read_image_with_name(name)
            ours = colmap_camera(camera, stored.camera_id)
            database.update_camera(ours)
            model.add_camera_with_trivial_rig(ours)
            image = pycolmap.Image(name=name, camera_id=stored.camera_id, image_id=stored.image_id)
            image.points2D = pycolmap.Point2DList(
                [pycolmap.Point2D(xy) for xy in database.read_keypoints(stored.image_id)[:, :2].astype(np.float64)]
            )
            model.add_image_with_trivial_frame(image, colmap_pose(camera))
    return model


def verify_by_poses(
    place: Workplace, cameras: Mapping[str, Camera], max_error_px: float, progress: Progress
) -> tuple[int, int]:
    """Keep the matches that lie near each other's epipolar lines under the given poses, in place of COLMAP's estimate.

    Args:
        place: With features and matches.
        cameras: By name.
        max_error_px: Distance from the epipolar line, in both pictures.
        progress: Called with ("epipolar check", done, total) in pairs.

    Returns:
        How many matches are kept, and how many there were.
    """
    pycolmap = import_pycolmap()
    kept = 0
    total = 0
    with pycolmap.Database.open(place.database) as database:
        by_id = {database.read_image_with_name(name).image_id: (name, camera) for name, camera in cameras.items()}
        keypoints = {number: database.read_keypoints(number)[:, :2].astype(np.float64) for number in by_id}
        pairs, all_matches = database.read_all_matches()
        database.clear_two_view_geometries()
        for done, (pair, matches) in enumerate(zip(pairs, all_matches, strict=True), 1):
            first, second = pycolmap.pair_id_to_image_pair(pair)
            camera_0, camera_1 = by_id[first][1], by_id[second][1]
            xy0, xy1 = keypoints[first][matches[:, 0]], keypoints[second][matches[:, 1]]
            fits = epipolar_distance_px(camera_0, camera_1, xy0, xy1) <= max_error_px
            if fits.any():
                database.write_two_view_geometry(first, second, _geometry(camera_0, camera_1, matches[fits]))
            kept, total = kept + int(fits.sum()), total + len(fits)
            progress("epipolar check", done, len(pairs))
    return kept, total


def _geometry(camera_0: Camera, camera_1: Camera, matches: np.ndarray) -> Any:
    pycolmap = import_pycolmap()
    relative = camera_1.cam_from_world @ inverse(camera_0.cam_from_world)
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
    geometry.inlier_matches = matches
    geometry.cam2_from_cam1 = pycolmap.Rigid3d(pycolmap.Rotation3d(relative[:3, :3]), relative[:3, 3])
    return geometry


def epipolar_distance_px(
    camera_0: Camera, camera_1: Camera, xy0: Float[np.ndarray, "n 2"], xy1: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n"]:
    """Return how far matches are from each other's epipolar line, the larger of the two distances.

    Infinite where a line is not defined (both cameras in one place).
    """
    try:
        fundamental = fundamental_matrix(camera_0, camera_1)
    except EquiviewError:  # Cameras in one place confirm nothing.
        return np.full(len(xy0), np.inf)
    return symmetric_distance_px(fundamental, xy0, xy1)


def _triangulated(place: Workplace, known: Any, config: ColmapConfig, progress: Progress) -> Any:
    pycolmap = import_pycolmap()
    folder = place.folder / "triangulated"
    folder.mkdir(parents=True, exist_ok=True)
    how = pipeline_options(config)
    # Few matches a pair are fine here: the poses have confirmed each of them.
    how.min_num_matches = 1
    how.ba_refine_focal_length = how.ba_refine_extra_params = how.ba_refine_principal_point = False
    how.mapper.filter_max_reproj_error = config.max_error_px
    how.mapper.filter_min_tri_angle = config.min_angle_deg
    how.triangulation.min_angle = config.min_angle_deg
    progress("points", 0, 1)

    def work(token: Any) -> Any:
        pycolmap.set_random_seed(config.seed)
        return pycolmap.triangulate_points(
            known,
            place.database,
            place.images,
            folder,
            options=how,
            refine_intrinsics=False,
            cancellation_token=token,
        )

    model = interruptible(work)
    progress("points", 1, 1)
    return model
