"""COLMAP models with their pictures, as captures: cameras, sparse points, tracks.

Convention found: cam_from_world, OpenCV axes, pixels with the corner as origin - equiview's own, so nothing is
converted (a reprojection test and one against pycolmap establish it). Lens distortion is undone when a picture is read;
tracks are moved with it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import bad_input
from ...io import require_folder
from ...types import Capture, SparseTracks
from .checks import finish, missing_note, require_rigid
from .colmap_files import ColmapImage, ColmapModel, is_model, read_model
from .files import mask_of, natural_key
from .photographs import Photograph
from .tracks import restrict_tracks
from .undistortion import Undistortion, pinhole_for, target_xy

LAYOUT = "COLMAP: sparse/0/, sparse/ or 0/ (or the folder itself) with cameras, images and points3D as .bin or .txt"
_MODELS = ("sparse/0", "sparse", "0", ".")


def find_model(folder: Path) -> Path | None:
    """Return where a folder's COLMAP model lies: sparse/0, sparse, 0 or the folder itself; None without one."""
    return next((folder / place for place in _MODELS if is_model(folder / place)), None)


def colmap_capture(
    folder: str | Path,
    *,
    long_side: int | None = None,
    name: str | None = None,
    masks: Sequence[Path] | None = None,
) -> Capture:
    """Read a COLMAP model and its pictures.

    Args:
        folder: Has the model in sparse/0, sparse, 0 or itself, and the pictures in images/ or itself (a model's own
            folder finds them beside `sparse`).
        long_side: Pictures are reduced to this many pixels at most.
        name: The capture's; the folder's when None.
        masks: Folders to look for masks in; masks/ and mask/ beside the pictures when None.

    Raises:
        EquiviewError: No model, a broken file, a camera model that is not known, none of the pictures, no points, a
            pose that is no rotation, or a picture whose size is not its camera's.
    """
    folder = require_folder(Path(folder), "a folder with a COLMAP model")
    place = find_model(folder)
    if place is None:
        raise bad_input(str(folder), LAYOUT, "none", "Give the folder that holds `sparse` and `images`.")
    model = read_model(place)
    images = sorted(model.images, key=lambda image: natural_key(image.name))
    pictures = _pictures(folder, images)
    present = [image for image in images if (pictures / image.name).is_file()]
    if not present:
        found = f"none of {len(images)}"
        raise bad_input(str(pictures), "the pictures the model names", found, "Put them into images/.")
    undo = {number: pinhole_for(lens, long_side) for number, lens in model.lenses.items()}
    where = [pictures.parent / "masks", pictures.parent / "mask"] if masks is None else masks
    photographs = [
        Photograph(
            pictures / image.name,
            undo[image.camera],
            require_rigid(image.cam_from_world, f"{place} image {image.name}"),
            image.name,
            mask_of(pictures / image.name, where, image.name),
        )
        for image in present
    ]
    missing = [image.name for image in images if not (pictures / image.name).is_file()]
    tracks = _tracks(model, present, [undo[image.camera] for image in present])
    return finish(
        name or folder.resolve().name, photographs, tracks=tracks, notes=missing_note("images", len(images), missing)
    )


def _pictures(folder: Path, images: Sequence[ColmapImage]) -> Path:
    """Return the first folder that has one of the pictures; images/ when none has."""
    whole = folder.resolve()
    tries = [folder / "images", folder, whole.parent / "images", whole.parent.parent / "images"]
    return next((one for one in tries if any((one / image.name).is_file() for image in images)), tries[0])


def _tracks(model: ColmapModel, images: Sequence[ColmapImage], undo: Sequence[Undistortion]) -> SparseTracks:
    """Return the model's tracks in pixels of the undistorted pictures; what falls outside them is left out."""
    index = {number: i for i, number in enumerate(model.point.tolist())}
    parts = []
    for i, (image, one) in enumerate(zip(images, undo, strict=True)):
        point = np.array([index.get(number, -1) for number in image.point.tolist()], int)
        xy = target_xy(one, image.xy)
        kept = (point >= 0) & np.isfinite(xy).all(1) & (xy >= 0).all(1) & (xy < one.hw[::-1]).all(1)
        parts.append((np.full(kept.sum(), i), point[kept], xy[kept]))
    image_of, point_of, xy_of = (np.concatenate(part) for part in zip(*parts, strict=True))
    return restrict_tracks(SparseTracks(model.points_in_world, image_of, point_of, xy_of), range(len(images)))
