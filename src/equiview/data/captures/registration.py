"""Depth of a camera of its own, moved into the colour camera beside it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...geometry import pixel_centers, transform
from ...limits import require_memory
from .lens import apply
from .undistortion import Undistortion

_LARGEST_RATIO = 32  # Of a phone's depth and its largest pictures it is 16.
_BYTES_PER_SAMPLE = 100  # Rays, points and pixels in float64.


@dataclass(frozen=True)
class DepthCamera:
    """The camera that measured depth.

    Attributes:
        intrinsics: 3x3 matrix in pixels of the depth picture, corner origin, without distortion.
        colour_from_depth: 4x4 rigid transform from its coordinates to the colour camera's, world units.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    colour_from_depth: Float[np.ndarray, "4 4"]


def registered(depth: Float[np.ndarray, "h w"], camera: DepthCamera, undo: Undistortion) -> Float[np.ndarray, "h2 w2"]:
    """Return depth at the pixels of the colour picture (undistorted), 0 where nothing was measured.

    Every measured pixel is cut into so many parts that they leave no gap between the pixels of the colour picture; of
    what falls on one pixel the nearest counts, for it hides the rest.

    Args:
        depth: Along the depth camera's z axis, world units, 0 where unknown.
        camera: The depth camera.
        undo: Of the colour picture.

    Raises:
        EquiviewError: The focal lengths of both cameras are so far apart that it takes more memory than is free.
    """
    finer = np.diag(camera.intrinsics)[:2] / np.diag(undo.intrinsics)[:2]
    if not 1 / _LARGEST_RATIO <= finer.min() <= finer.max() <= min(_LARGEST_RATIO, 2 * finer.min()):
        expected = f"focal lengths of depth and colour within a factor of {_LARGEST_RATIO}, about the same in x and y"
        raise bad_input("depth camera", expected, f"factors {finer.tolist()}", "Check the intrinsics of both cameras.")
    # A reduced colour picture is filled at about the sensor's resolution and thinned out: the nearest of many samples
    # in one large pixel would lie before the surface.
    times = max(1, int(np.ceil(finer.max())))
    intrinsics = np.diag([times, times, 1.0]) @ undo.intrinsics
    h, w = undo.hw[0] * times, undo.hw[1] * times
    parts = int(np.ceil(1.25 * times / finer.min()))
    needed = _BYTES_PER_SAMPLE * (depth.size * parts**2 + h * w)
    require_memory("depth in a camera of its own", needed, "Check the intrinsics of both cameras.")
    fine = np.repeat(np.repeat(depth, parts, 0), parts, 1).ravel()
    seen = np.flatnonzero(fine > 0)
    xy = pixel_centers((depth.shape[0] * parts, depth.shape[1] * parts)).reshape(-1, 2)[seen] / parts
    rays = np.concatenate([apply(np.linalg.inv(camera.intrinsics), xy), np.ones((len(xy), 1))], 1)
    points = transform(camera.colour_from_depth, rays * fine[seen, None])
    points = points[points[:, 2] > 0]
    xy = apply(intrinsics, points[:, :2] / points[:, 2:])
    inside = ((xy >= 0) & (xy < (w, h))).all(1)
    at = np.floor(xy[inside]).astype(np.int64)
    found = np.full(h * w, np.inf)
    np.minimum.at(found, at[:, 1] * w + at[:, 0], points[inside, 2])
    whole = np.where(np.isfinite(found), found, 0).astype(np.float32).reshape(h, w)
    return whole[times // 2 :: times, times // 2 :: times]
