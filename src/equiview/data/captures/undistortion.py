"""Photographs as a pinhole camera sees them: the lens undone, large ones reduced, when they are read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.ndimage import map_coordinates

from ...errors import bad_input
from ...geometry import pixel_centers
from ...io import image_hw, read_image, stored_hw
from .lens import Lens, Points, apply, distort, one_to_one, undistort

_WIDEST_TAN = 1.75  # Beyond 60 degrees from the axis a flat picture is mostly stretched border.
_NARROWEST_ZOOM = 16.0


@dataclass(frozen=True)
class Undistortion:
    """From a photograph to the picture of a pinhole camera with the same centre and axes.

    Every pixel of the result has a source: the intrinsics are chosen so (see `pinhole_for`), and no mask of empty
    pixels is needed. What the result has no room for, at the rim of the photograph, is cut off.

    Attributes:
        lens: What took the photograph, in its own pixels.
        intrinsics: 3x3 matrix of the result in its pixels, corner origin.
        hw: Size of the result.
    """

    lens: Lens
    intrinsics: Float[np.ndarray, "3 3"]
    hw: tuple[int, int]

    @property
    def changes_nothing(self) -> bool:
        """True where the photograph itself is the result."""
        return self.lens.is_pinhole and self.hw == self.lens.hw


def pinhole_for(lens: Lens, long_side: int | None = None) -> Undistortion:
    """Choose the pinhole picture that a photograph becomes.

    It has the size of the photograph, or its longer side is `long_side` where that is smaller, and its principal point.
    Without distortion the focal lengths are those of the lens (scaled with the picture). With distortion both are
    multiplied by the smallest factor for which every pixel has a source in the photograph, at least 0.5, and at least
    what keeps the rim within 60 degrees of the axis (1 where the lens alone is beyond).

    Raises:
        EquiviewError: No such factor exists: the coefficients fold the picture over at its centre.
    """
    h, w = lens.hw
    factor = 1.0 if long_side is None else min(1.0, long_side / max(h, w))
    hw = (max(1, round(h * factor)), max(1, round(w * factor)))
    small = lens.scaled(hw)
    if lens.is_pinhole:
        return Undistortion(lens, small.intrinsics, hw)
    return Undistortion(lens, _zoomed(small.intrinsics, _smallest_zoom(small)), hw)


def _zoomed(intrinsics: Float[np.ndarray, "3 3"], factor: float) -> Float[np.ndarray, "3 3"]:
    zoomed = intrinsics.copy()
    zoomed[:2, :2] *= factor
    return zoomed


def _smallest_zoom(lens: Lens) -> float:
    h, w = lens.hw
    x, y = np.meshgrid(np.linspace(0, w, 65), np.linspace(0, h, 65))
    xy = np.stack([x.ravel(), y.ravel()], -1)
    rim = np.linalg.norm(apply(np.linalg.inv(lens.intrinsics), xy), axis=-1).max()
    low, high = min(1.0, max(0.5, rim / _WIDEST_TAN)), _NARROWEST_ZOOM
    if _has_source(lens, xy, low):
        return low
    if not _has_source(lens, xy, high):
        fix = "Check the calibration, or undistort the pictures first."
        raise bad_input(f"{lens.kind} lens", "a distortion that can be undone", f"{lens.coefficients}", fix)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if _has_source(lens, xy, middle) else (middle, high)
    return high


def _has_source(lens: Lens, xy: Points, zoom: float) -> bool:
    """Return whether every one of these pixels has a source."""
    ideal = apply(np.linalg.inv(_zoomed(lens.intrinsics, zoom)), xy)
    with np.errstate(invalid="ignore", over="ignore"):
        source = apply(lens.intrinsics, distort(lens, ideal))
        inside = ((source >= 0) & (source <= lens.hw[::-1])).all()
    return bool(inside) and bool(one_to_one(lens, ideal).all())


def source_xy(undistortion: Undistortion, xy: Points) -> Points:
    """Return which pixels of the photograph the pixels `xy` of the result come from."""
    ideal = apply(np.linalg.inv(undistortion.intrinsics), np.asarray(xy, np.float64))
    return apply(undistortion.lens.intrinsics, distort(undistortion.lens, ideal))


def target_xy(undistortion: Undistortion, xy: Points) -> Points:
    """Return where pixels of the photograph lie in the result (perhaps outside of it); the inverse of `source_xy`.

    NaN where the lens model has no such ray.
    """
    distorted = apply(np.linalg.inv(undistortion.lens.intrinsics), np.asarray(xy, np.float64))
    return apply(undistortion.intrinsics, undistort(undistortion.lens, distorted))


def nearest(undistortion: Undistortion, values: np.ndarray) -> np.ndarray:
    """Resample a map of the photograph's size without mixing values, as masks and depth need it."""
    h, w = undistortion.lens.hw
    xy = source_xy(undistortion, pixel_centers(undistortion.hw).reshape(-1, 2))
    cols, rows = np.clip(np.floor(xy).astype(int), 0, (w - 1, h - 1)).T
    return values[rows, cols].reshape(undistortion.hw)


def require_size(path: Path, hw: tuple[int, int], what: str = "a picture") -> None:
    """Check a picture's size by its header.

    Raises:
        EquiviewError: The file is missing or no image, or its size is not what its camera says.
    """
    found = stored_hw(path)
    if found != hw and image_hw(path) != hw:
        expected = f"{what} of {hw[1]}x{hw[0]} pixels as its camera says"
        fix = "Use the pictures the cameras were computed from, or scale the intrinsics with the pictures."
        raise bad_input(str(path), expected, f"{found[1]}x{found[0]}", fix)


@dataclass(frozen=True)
class UndistortedImage:
    """A photograph that becomes a pinhole picture when it is read; a `LazyImage`.

    Attributes:
        path: The photograph.
        undistortion: What to do with it.
    """

    path: Path
    undistortion: Undistortion

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """Read, reduce (Lanczos, without aliasing) and undistort (bilinear) the photograph.

        Raises:
            EquiviewError: The file is missing, no image, or of another size than its camera says.
        """
        require_size(self.path, self.undistortion.lens.hw)
        rgb = read_image(self.path, self.undistortion.lens.hw)
        hw = self.undistortion.hw
        if hw != rgb.shape[:2]:
            rgb = np.asarray(Image.fromarray(rgb).resize(hw[::-1], Image.Resampling.LANCZOS))
        return rgb if self.undistortion.lens.is_pinhole else self._resampled(rgb)

    def _resampled(self, rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        hw, full = self.undistortion.hw, self.undistortion.lens.hw
        xy = source_xy(self.undistortion, pixel_centers(hw).reshape(-1, 2)) * (hw[1] / full[1], hw[0] / full[0])
        at = xy[:, ::-1].T.reshape(2, *hw) - 0.5
        channels = [map_coordinates(rgb[..., i], at, np.float32, order=1, mode="nearest") for i in range(3)]
        return np.rint(np.stack(channels, -1)).astype(np.uint8)
