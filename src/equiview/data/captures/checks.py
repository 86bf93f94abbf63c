"""What every capture is checked for, and how a part of one is chosen."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...limits import MAX_VALUE
from ...types import Capture, SparseTracks
from .photographs import Photograph, Photographs, read_raster
from .tracks import restrict_tracks
from .undistortion import require_size

# Published rotations are written with few digits: LM-O's are orthonormal to 0.01. Beyond that the axes are sheared.
ROUNDED = 0.02
_EXACT = 1e-3


def require_rigid(b_from_a: np.ndarray, where: str) -> Float[np.ndarray, "4 4"]:
    """Return a pose as 4x4 if it is a rigid transform; one that is so but for rounding becomes exact (see `ROUNDED`).

    Args:
        b_from_a: 3x4 or 4x4.
        where: The frame, for messages.

    Raises:
        EquiviewError: Not finite, no rotation, left-handed, or with a scale.
    """
    pose = np.asarray(b_from_a, np.float64)
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0, 0, 0, 1.0]])
    if pose.shape != (4, 4) or not (np.abs(pose) <= MAX_VALUE).all():
        wrong = "NaN or infinity" if not np.isfinite(pose).all() else f"values beyond {MAX_VALUE:g}"
        found = f"shape {pose.shape}" if pose.shape != (4, 4) else wrong
        raise bad_input(where, "a pose of 4x4 finite numbers", found, "Leave this frame out, or restore its pose.")
    if not np.allclose(pose[3], (0, 0, 0, 1)):
        found = f"{pose[3].tolist()}"
        raise bad_input(where, "a pose with the last row 0 0 0 1", found, "Write it row by row.")
    gram = pose[:3, :3] @ pose[:3, :3].T
    scale = float(np.sqrt(np.trace(gram) / 3))
    if scale < 1e-9 or not np.allclose(gram / scale**2, np.eye(3), atol=ROUNDED):
        raise bad_input(where, "a rotation", "axes that are not orthogonal", "Restore the pose of this frame.")
    if np.linalg.det(pose[:3, :3]) < 0:
        fix = "One axis is mirrored: check which axes the poses were written with."
        raise bad_input(where, "a right-handed rotation (determinant +1)", "a left-handed one", fix)
    if not np.allclose(gram, np.eye(3), atol=ROUNDED):
        fix = f"Divide the 3x3 part by {scale:.6g}; a scaled scene scales positions and depth, never the rotation."
        raise bad_input(where, "a rotation without scale", f"a scale of {scale:.6g}", fix)
    if _is_rounded(pose):
        pose = pose.copy()
        pose[:3, :3] = nearest_rotation(pose[:3, :3])
    return pose


def _is_rounded(b_from_a: np.ndarray) -> bool:
    """Return whether a pose's rotation is orthonormal to a few digits only."""
    turn = np.asarray(b_from_a)[:3, :3]
    if not (np.abs(turn) <= 2).all():  # No rotation at all, which `require_rigid` says.
        return False
    return not np.allclose(turn @ turn.T, np.eye(3), atol=_EXACT)


def nearest_rotation(turn: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Return the rotation nearest to a matrix (least squares over its entries, by its singular vectors)."""
    left, _, right = np.linalg.svd(turn)
    return left @ right


def rounded_note(poses: Iterable[np.ndarray]) -> tuple[str, ...]:
    """Return one note on rotations that `require_rigid` makes exact, from the poses as given; none without."""
    found = [_is_rounded(pose) for pose in poses]
    if not any(found):
        return ()
    return (f"{sum(found)} of {len(found)} rotations are orthonormal to a few digits only; the nearest ones are used",)


def finish(
    name: str,
    photographs: Sequence[Photograph],
    *,
    tracks: SparseTracks | None = None,
    box: Float[np.ndarray, "2 3"] | None = None,
    notes: Iterable[str] = (),
) -> Capture:
    """Check the files of a capture (headers only) and return it.

    Raises:
        EquiviewError: Fewer than two images, a picture twice in a model with tracks, tracks without a point, or a
            picture, mask or depth of another size.
    """
    photographs, twice = _once(name, photographs, tracks)
    notes = (*notes, *twice)
    if len(photographs) < 2:
        raise bad_input(f"capture {name!r}", "at least 2 images with poses", f"{len(photographs)}", "Add views.")
    for one in photographs:
        hw = one.undistortion.lens.hw
        require_size(one.path, hw)
        if one.mask is not None and one.mask != one.path:
            require_size(one.mask, hw, "a mask")
        if one.depth is not None and one.depth_camera is None:
            _require_depth_size(one.depth, hw)
    capture = Capture(name, Photographs(photographs), tracks, box, tuple(notes))
    if tracks is not None and not len(tracks.points_in_world):
        fix = "Triangulate again, or open the pictures and poses in a layout without points."
        raise bad_input(f"capture {name!r}", "points that two images or more see", "none", fix)
    return capture


def _once(
    name: str, photographs: Sequence[Photograph], tracks: SparseTracks | None
) -> tuple[Sequence[Photograph], tuple[str, ...]]:
    """Return every picture once, the first of its entries, and a note: a picture matched with itself is no test."""
    first = {one.path: one for one in reversed(photographs)}
    count = len(photographs) - len(first)
    if not count:
        return photographs, ()
    if tracks is not None:
        raise bad_input(f"capture {name!r}", "every picture once", f"{count} listed again", "Export the model again.")
    kept = [one for one in photographs if first[one.path] is one]
    return kept, (f"{count} pictures are listed more than once; the first entry of each is used",)


def _require_depth_size(path: Path, hw: tuple[int, int]) -> None:
    if path.suffix != ".npy":
        return require_size(path, hw, "depth")
    found = read_raster(path).shape
    if found != hw:
        raise bad_input(str(path), f"depth of shape {hw}", f"{found}", "Write depth at the size of the picture.")


def choose(capture: Capture, chosen: slice, text: str) -> Capture:
    """Return some images of a capture and the points that at least two of them see.

    Args:
        capture: The whole.
        chosen: Which images, in their order.
        text: How the selection was written; it becomes part of the name.

    Raises:
        EquiviewError: Fewer than two images are left, or no point where there were some.
    """
    kept = range(len(capture.images))[chosen]
    what = f"{capture.name}@{text}"
    if len(kept) < 2:
        fix = "Choose more: START:STOP:STEP counts images from 0."
        raise bad_input(what, f"at least 2 of {len(capture.images)} images", f"{len(kept)}", fix)
    part = select(capture, kept)
    if part.tracks is not None and not len(part.tracks.points_in_world):
        raise bad_input(what, "points that two chosen images see", "none", "Choose images that lie closer together.")
    return replace(part, name=what.replace(":", "_"))


def select(capture: Capture, kept: Sequence[int]) -> Capture:
    """Return the capture of some of its images, in the order given, and the points that at least two of them see.

    Raises:
        EquiviewError: A number is not one of an image.
    """
    count = len(capture.images)
    if any(not 0 <= one < count for one in kept):
        raise bad_input(f"capture {capture.name!r}", f"images 0 to {count - 1}", f"{list(kept)}", "Choose among them.")
    images = capture.images
    chosen = images.only(kept) if isinstance(images, Photographs) else [images[one] for one in kept]
    tracks = None if capture.tracks is None else restrict_tracks(capture.tracks, list(kept))
    return replace(capture, images=chosen, tracks=tracks)


def missing_note(kind: str, listed: int, missing: Sequence[str]) -> tuple[str, ...]:
    """Return one note such as "67 images listed, 17 missing: 0005.jpg, 0010.jpg and 15 more"; none if all are there."""
    if not missing:
        return ()
    rest = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return (f"{listed} {kind} listed, {len(missing)} missing: {', '.join(missing[:5])}{rest}",)
