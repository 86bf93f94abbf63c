"""The folder of a capture: claimed by one capture, a standard COLMAP folder when it is finished."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import bad_input
from ...io import (
    atomic_folder,
    atomic_path,
    pixels_of,
    posed_pixels,
    read_json,
    require_file,
    require_space,
    write_json,
)
from ...records import CaptureRecord
from ...types import Camera, PosedImage
from ..captures.undistortion import UndistortedImage
from .matches import Progress
from .photos import JPEG_QUALITY, unique_name

IMAGES, MASKS, SPARSE, WORK, ABOUT = "images", "masks", "sparse", "work", "capture.json"
_CLAIM = "source.json"
_READ_BYTES = 2**20  # Of the beginning and of the end of a file.


def claim_capture(out: Path, what: Mapping[str, Any]) -> CaptureRecord | None:
    """Write what this capture is made of, or check that the folder holds the very same (to go on with it).

    Returns:
        The content of capture.json when the same capture is finished there, else None.

    Raises:
        EquiviewError: The folder holds something else, or is a file.
    """
    wanted = json.loads(json.dumps(what, default=str))
    claim = out / WORK / _CLAIM
    if out.exists() and not out.is_dir():
        raise bad_input(str(out), "a folder to write to, or nothing yet", "a file", "Choose another --out.")
    if not claim.exists():
        there = sorted(path.name for path in out.iterdir()) if out.exists() else []
        if there and there != [WORK]:
            found = f"{', '.join(there[:3])}{' ...' if len(there) > 3 else ''}"
            raise bad_input(
                str(out), "a new folder, or this very capture to go on with", found, "Choose another --out."
            )
        write_json(claim, wanted)
        return None
    found = read_json(claim)
    changed = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if changed:
        differs = f"another capture (it differs in: {', '.join(changed)})"
        raise bad_input(str(out), "a new folder, or this very capture to go on with", differs, "Choose another --out.")
    return read_json(out / ABOUT) if (out / ABOUT).exists() else None


def files_fingerprint(files: Iterable[Path]) -> str:
    """Return a hash of files: their names, and what is in them (of one over 2 MiB its size, beginning and end)."""
    found = hashlib.sha256()
    for path in files:
        _add_file(found, require_file(path, "a picture"))
    return found.hexdigest()[:16]


def posed_fingerprint(images: Iterable[PosedImage]) -> str:
    """Return a hash of pictures, masks and cameras: everything that triangulated points come from, and nothing else."""
    found = hashlib.sha256()
    for posed in images:
        camera, image = posed.camera, posed.image
        found.update(f"{posed.name}:{camera.hw}".encode("utf-8", "surrogateescape"))
        found.update(np.concatenate([camera.intrinsics.ravel(), camera.cam_from_world.ravel()]).tobytes())
        found.update(b"" if posed.mask is None else np.packbits(posed.mask).tobytes())
        if isinstance(image, UndistortedImage):
            lens = image.undistortion.lens
            found.update(f"{lens.kind}:{lens.coefficients}:{lens.intrinsics.tolist()}".encode())
            _add_file(found, image.path)
        elif isinstance(image, Path):
            _add_file(found, image)
        else:
            found.update(np.ascontiguousarray(pixels_of(image)).tobytes())
    return found.hexdigest()[:16]


def _add_file(found: Any, path: Path) -> None:
    size = path.stat().st_size
    found.update(f"{path.name}:{size}".encode("utf-8", "surrogateescape"))
    with path.open("rb") as file:
        found.update(file.read(_READ_BYTES))
        if size > _READ_BYTES:
            file.seek(max(_READ_BYTES, size - _READ_BYTES))
            found.update(file.read())


def write_posed(
    out: Path, images: Sequence[PosedImage], long_side: int, progress: Progress
) -> tuple[dict[str, Camera], bool]:
    """Write the pictures of a capture as its cameras see them (lens distortion undone), and their masks.

    Args:
        out: The capture's folder.
        images: With cameras.
        long_side: Larger pictures are shrunk to this, pixels.
        progress: Called with ("pictures", done, total).

    Returns:
        The camera of each picture by file name, scaled with it; and whether there are masks.

    Raises:
        EquiviewError: A picture does not open, or is not as large as its camera says.
    """
    cameras: dict[str, Camera] = {}
    taken: set[str] = set()
    masked = False
    for number in range(len(images)):
        image = images[number]  # Its mask is read now, and only once.
        name = unique_name(Path(image.name or f"image{number:04d}").stem, taken)
        height, width = image.camera.hw
        scale = min(1.0, long_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        cameras[name] = _scaled(image.camera, size)
        path, mask = out / IMAGES / name, out / MASKS / f"{name}.png"
        masked |= image.mask is not None
        if image.mask is not None and not mask.exists():
            _save(mask, Image.fromarray(image.mask.astype(np.uint8) * 255), size)
        if not path.exists():
            _save(path, Image.fromarray(posed_pixels(image)), size)
        progress("pictures", number + 1, len(images))
    return cameras, masked


def _save(path: Path, picture: Image.Image, size: tuple[int, int]) -> None:
    if picture.size != size:
        # A mask stays black and white; a picture is smoothed.
        how = Image.Resampling.NEAREST if picture.mode == "L" else Image.Resampling.LANCZOS
        picture = picture.resize(size, how)
    with atomic_path(path) as temporary:
        picture.save(temporary, quality=JPEG_QUALITY)  # PNG has no use for it.


def _scaled(camera: Camera, size: tuple[int, int]) -> Camera:
    """Return the camera of a resized picture: with the corner as origin a resize is one multiplication."""
    scale = np.diag([size[0] / camera.hw[1], size[1] / camera.hw[0], 1.0])
    return Camera(scale @ camera.intrinsics, camera.cam_from_world, (size[1], size[0]))


# Of points3D.bin and images.bin together: C++ streams write what fits and say nothing.
_POINT_BYTES, _SEEN_BYTES, _IMAGE_BYTES = 100, 8, 24 * 8192


def write_model(out: Path, model: Any) -> Path:
    """Write sparse/0 as a whole: cameras.bin, images.bin and points3D.bin, with the colours of the points."""
    model.extract_colors_for_all_images(out / IMAGES)
    with atomic_folder(out / SPARSE / "0") as folder:
        needed = _POINT_BYTES * model.num_points3D() + _SEEN_BYTES * model.compute_num_observations()
        require_space(folder / "points3D.bin", needed + _IMAGE_BYTES * model.num_images())
        model.write_binary(folder)
    return out / SPARSE / "0"
