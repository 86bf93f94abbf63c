"""Key points and matches in a COLMAP database, each pair's geometry verified: `colmap mapper` goes on from there."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sfm.colmap import import_pycolmap, interruptible
from ..data.sfm.reconstruct import CAMERA_MODEL, camera_groups
from ..errors import bad_input
from ..io import atomic_path, stored_hw
from .keypoints import Pair, SharedKeypoints

MAX_ERROR_PX = 4.0
"""COLMAP's own limit for a match that fits; taken as a share of a token where that is more."""


def write_database(
    path: Path, pictures: Path, keypoints: SharedKeypoints, error_px: Mapping[str, float], *, seed: int = 0
) -> dict[str, int]:
    """Write a new database: cameras as COLMAP guesses them (one for all pictures of a size), matches, geometries.

    Args:
        path: Of the database; an older one is replaced.
        pictures: Their folder; names are relative to it.
        keypoints: COLMAP's pixels are ours.
        error_px: By picture, how far a match may lie from its epipolar line; at least `MAX_ERROR_PX` is allowed.
        seed: Of RANSAC.

    Returns:
        How many pairs, verified pairs, matches and verified matches there are.

    Raises:
        EquiviewError: pycolmap is not installed or refuses, or the disk does.
    """
    import_pycolmap()
    with atomic_path(path) as temporary:
        temporary.unlink()  # COLMAP makes its tables in a new file.
        return interruptible(partial(_write, temporary, pictures, keypoints, error_px, seed))


def _write(
    path: Path, pictures: Path, keypoints: SharedKeypoints, error_px: Mapping[str, float], seed: int, token: Any
) -> dict[str, int]:
    pycolmap = import_pycolmap()
    pycolmap.set_random_seed(seed)
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = CAMERA_MODEL
    pycolmap.Database.open(path).close()
    names = list(keypoints.xy)
    groups = camera_groups({name: stored_hw(pictures / name) for name in names}, "single")
    for group in groups:
        pycolmap.import_images(path, pictures, pycolmap.CameraMode.SINGLE, group, reader)
    with pycolmap.Database.open(path) as database:
        images = {name: database.read_image_with_name(name) for name in names if database.exists_image(name)}
        missing = [name for name in names if name not in images]
        if missing:
            fix = "Save it again as PNG or JPEG."
            raise bad_input(str(pictures / missing[0]), "a picture that COLMAP reads", "one it does not", fix)
        for name, image in images.items():
            database.write_keypoints(image.image_id, keypoints.xy[name].astype(np.float32))
        counts = []
        for first, second in keypoints.pairs:
            if token.is_cancelled:
                break
            allowed = max(MAX_ERROR_PX, error_px[first], error_px[second])
            counts.append(_verify(database, images, keypoints, (first, second), allowed, seed))
    found = np.array(counts, int).reshape(-1, 2)
    return {
        "pairs": len(found),
        "verified_pairs": int((found[:, 1] > 0).sum()),
        "matches": int(found[:, 0].sum()),
        "verified_matches": int(found[:, 1].sum()),
    }


def _verify(
    database: Any, images: Mapping[str, Any], keypoints: SharedKeypoints, pair: Pair, allowed_px: float, seed: int
) -> tuple[int, int]:
    """Write a pair's matches and the geometry they fit; return how many there are and how many fit."""
    pycolmap = import_pycolmap()
    index = keypoints.pairs[pair].index.astype(np.uint32)
    ids = [images[name].image_id for name in pair]
    database.write_matches(*ids, index)
    cameras = [database.read_camera(images[name].camera_id) for name in pair]
    places = [keypoints.xy[name].astype(np.float64) for name in pair]
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.max_error = allowed_px
    options.ransac.random_seed = seed
    geometry = pycolmap.estimate_two_view_geometry(cameras[0], places[0], cameras[1], places[1], index, options)
    database.write_two_view_geometry(*ids, geometry)
    return len(index), len(geometry.inlier_matches)
