"""A flat textured thing in front of the object: its outline is a formula, so what it hides is known exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ...geometry import pixel_centers
from ...render.texture import bilinear
from .dead_leaves import dead_leaves

_LOBES = (2, 3, 5)
_SIDE = 4  # samples per pixel along each side when the edge is drawn


@dataclass(frozen=True)
class Occluder:
    """An outline r(angle) = radius * (1 + sum of lobes) around a centre, filled with a picture that moves with it.

    Attributes:
        center_xy: Where it is, pixels.
        radius_px: Its mean radius.
        lobes: Height (of the radius) and phase of each wave of the outline.
        picture: What it looks like; its middle lies at the centre.
    """

    center_xy: tuple[float, float]
    radius_px: float
    lobes: tuple[tuple[float, float], ...]
    picture: UInt8[np.ndarray, "h w 3"]


def random_occluder(
    rng: np.random.Generator, center_xy: tuple[float, float], radius_px: float, hw: tuple[int, int]
) -> Occluder:
    """Draw an outline and a texture that fills a picture of size `hw`."""
    lobes = tuple((float(rng.uniform(0.03, 0.3 / k)), float(rng.uniform(0, 2 * np.pi))) for k in _LOBES)
    return Occluder(center_xy, radius_px, lobes, dead_leaves(int(rng.integers(2**31)), hw))


def covers(occluder: Occluder, xy: Float[np.ndarray, "*n 2"]) -> Bool[np.ndarray, "*n"]:
    """Say which places it hides."""
    offset = xy - np.asarray(occluder.center_xy)
    angle = np.arctan2(offset[..., 1], offset[..., 0])
    waves = sum(h * np.cos(k * angle + p) for k, (h, p) in zip(_LOBES, occluder.lobes, strict=True))
    return np.linalg.norm(offset, axis=-1) < occluder.radius_px * (1 + waves)


def picture_xy(occluder: Occluder, xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """Return the pixel of its own picture that it shows at a place: a point fixed to it keeps this."""
    h, w = occluder.picture.shape[:2]
    return xy - np.asarray(occluder.center_xy) + (w / 2, h / 2)


def draw_over(rgb: UInt8[np.ndarray, "h w 3"], occluder: Occluder) -> UInt8[np.ndarray, "h w 3"]:
    """Draw it over a picture, edges smoothed."""
    rgb = rgb.copy()
    reach = occluder.radius_px * (1 + sum(height for height, _ in occluder.lobes)) + 1
    x, y = occluder.center_xy
    h, w = rgb.shape[:2]
    rows = slice(max(0, int(y - reach)), max(0, min(h, int(y + reach) + 1)))
    cols = slice(max(0, int(x - reach)), max(0, min(w, int(x + reach) + 1)))
    under, centers = rgb[rows, cols], pixel_centers((h, w))[rows, cols]
    if under.size == 0:
        return rgb
    steps = (np.arange(_SIDE) + 0.5) / _SIDE - 0.5
    share = np.mean([covers(occluder, centers + (x, y)) for x in steps for y in steps], axis=0)[..., None]
    place = picture_xy(occluder, centers) / occluder.picture.shape[1::-1]
    color = 255 * bilinear(occluder.picture, place.reshape(-1, 2), ("mirror", "mirror")).reshape(under.shape)
    rgb[rows, cols] = np.clip(np.rint(share * color + (1 - share) * under), 0, 255)
    return rgb
