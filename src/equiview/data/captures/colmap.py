"""COLMAP models with their pictures, as captures: cameras, sparse points, tracks.

Convention found: cam_from_world, OpenCV axes, pixels with the corner as origin - equiview's own, so nothing is
converted (a reprojection test and one against pycolmap establish it). Lens distortion is undone when a picture is read;
tracks are moved with it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import bad_input
from ...io import natural_key, picture_files, require_folder, visible
from ...render.references import find_file
from ...types import Capture, SparseTracks
from .checks import finish, missing_note, require_rigid
from .colmap_files import ColmapImage, ColmapModel, count_images, is_model, read_model
from .files import mask_of
from .photographs import Photograph
from .tracks import restrict_tracks
from .undistortion import Undistortion, pinhole_for, target_xy

LAYOUT = "COLMAP: sparse/N/, sparse/, colmap/sparse/N/ or N/ (or the folder itself) with cameras, images and points3D"
_PLACES = ("sparse", "colmap/sparse", "dense/sparse", ".", "colmap")


def find_models(folder: Path) -> list[Path]:
    """Return a folder's COLMAP models: those with a number as name, else the place itself; all of one place."""
    for place in _PLACES:
        where = folder / place
        inside = [path for path in visible(where) if path.name.isdecimal() and is_model(path)] if where.is_dir() else []
        if inside or is_model(where):
            return inside or [where]
    return []


def largest_model(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the model with the most images, and a note where there are several: COLMAP numbers them as they came.

    Raises:
        EquiviewError: There is none, or one of several does not parse.
    """
    models = find_models(folder)
    if not models:
        raise bad_input(str(folder), LAYOUT, "none", "Give the folder that holds `sparse` and `images`.")
    if len(models) == 1:
        return models[0], ()
    counts = [count_images(model) for model in models]
    best = int(np.argmax(counts))
    others = ", ".join(f"{one.name} ({n})" for i, (one, n) in enumerate(zip(models, counts, strict=True)) if i != best)
    return models[best], (
        f"{len(models)} models: {models[best].name} with {counts[best]} images is used, not {others}",
    )


def colmap_capture(
    folder: str | Path,
    *,
    long_side: int | None = None,
    name: str | None = None,
    masks: Sequence[Path] | None = None,
    model_folder: Path | None = None,
) -> Capture:
    """Read a COLMAP model and its pictures.

    Args:
        folder: Has the model where `LAYOUT` says, and the pictures in images/ or itself (a model's own folder finds
            them beside `sparse`). Of several models the largest is read, with a note.
        long_side: Pictures are reduced to this many pixels at most.
        name: The capture's; the folder's when None.
        masks: Folders to look for masks in; masks/ and mask/ beside the pictures when None.
        model_folder: Where the model is, when that is known.

    Raises:
        EquiviewError: No model, a broken file, a camera model that is not known, none of the pictures, no points, a
            pose that is no rotation, or a picture whose size is not its camera's.
    """
    folder = require_folder(Path(folder), "a folder with a COLMAP model")
    place, notes = (model_folder, ()) if model_folder else largest_model(folder)
    model = read_model(place)
    images = sorted(model.images, key=lambda image: natural_key(image.name))
    pictures = _pictures(folder, images)
    paths = {image.name: find_file(image.name, pictures, strict=True) for image in images}
    present = [(image, path) for image in images if (path := paths[image.name]) is not None]
    if not present:
        found = f"none of {len(images)}"
        raise bad_input(str(pictures), "the pictures the model names", found, "Put them into images/.")
    undo = {number: pinhole_for(lens, long_side) for number, lens in model.lenses.items()}
    where = [pictures.parent / "masks", pictures.parent / "mask"] if masks is None else masks
    photographs = [
        Photograph(
            path,
            undo[image.camera],
            require_rigid(image.cam_from_world, f"{place} image {image.name}"),
            image.name.replace("\\", "/"),
            mask_of(path, where, image.name.replace("\\", "/")),
        )
        for image, path in present
    ]
    missing = [image.name for image in images if paths[image.name] is None]
    notes += missing_note("images", len(images), missing) + _unused_note(pictures, [path for _, path in present])
    tracks = _tracks(model, [image for image, _ in present], [undo[image.camera] for image, _ in present])
    return finish(name or folder.resolve().name, photographs, tracks=tracks, notes=notes)


def _unused_note(pictures: Path, used: Sequence[Path]) -> tuple[str, ...]:
    """Return a note on pictures that lie among the used ones and have no camera: COLMAP could not place them."""
    there = [path for folder in dict.fromkeys(path.parent for path in used) for path in picture_files(folder)]
    unused = sorted({path.name for path in there} - {path.name for path in used}, key=natural_key)
    if not unused:
        return ()
    rest = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
    return (f"{len(unused)} of {len(there)} pictures in {pictures.name} have no camera: {', '.join(unused[:5])}{rest}",)


def _pictures(folder: Path, images: Sequence[ColmapImage]) -> Path:
    """Return the first folder that has one of the pictures; images/ when none has."""
    whole = folder.resolve()
    tries = [folder / "images", folder, whole.parent / "images", whole.parent.parent / "images"]
    return next(
        (one for one in tries if any(find_file(image.name, one, strict=True) is not None for image in images)), tries[0]
    )


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
