"""Texture lookups: bilinear in the picture pyramid level that fits the pixel's footprint."""

import numpy as np
from jaxtyping import Float, Int, UInt8

from .mesh import Material, Wrap

Pyramid = list[UInt8[np.ndarray, "h w 4"]]


def build_pyramid(material: Material) -> Pyramid:
    """Return the texture and its successive halvings, as bytes: large textures must fit in memory.

    Cut-out textures are premultiplied by alpha, so that the colour hidden under alpha 0 does not bleed in.
    """
    assert material.texture is not None
    level = material.texture.astype(np.float32)
    if material.alpha_cutoff is not None:
        level[..., :3] *= level[..., 3:] / 255
    pyramid = [np.rint(level).astype(np.uint8)]
    while max(level.shape[:2]) > 1:
        level = _halve(level)
        pyramid.append(np.rint(level).astype(np.uint8))
    return pyramid


def _halve(level: np.ndarray) -> np.ndarray:
    """Average 2x2 blocks; an odd last row or column is repeated."""
    h, w = level.shape[:2]
    if h > 1:
        level = np.concatenate([level, level[-1:]]) if h % 2 else level
        level = (level[::2] + level[1::2]) / 2
    if w > 1:
        level = np.concatenate([level, level[:, -1:]], 1) if w % 2 else level
        level = (level[:, ::2] + level[:, 1::2]) / 2
    return level


def sample_pyramid(
    pyramid: Pyramid, uv: Float[np.ndarray, "n 2"], level: Int[np.ndarray, "n"], wrap: tuple[Wrap, Wrap]
) -> Float[np.ndarray, "n 4"]:
    """Look up each uv (origin top left, texel centres at (i + 0.5) / size) bilinearly in its pyramid level."""
    level = np.clip(level, 0, len(pyramid) - 1)
    first = int(level.min()) if len(level) else 0
    if (level == first).all():
        return bilinear(pyramid[first], uv, wrap)
    out = np.empty((len(uv), 4), np.float32)
    for one in np.unique(level):
        where = np.flatnonzero(level == one)
        out[where] = bilinear(pyramid[one], uv[where], wrap)
    return out


def bilinear(
    picture: UInt8[np.ndarray, "h w 4"], uv: Float[np.ndarray, "n 2"], wrap: tuple[Wrap, Wrap]
) -> Float[np.ndarray, "n 4"]:
    """Interpolate between the four nearest texel centres; 0 to 1."""
    h, w = picture.shape[:2]
    x, y = uv[:, 0] * w - 0.5, uv[:, 1] * h - 0.5
    left, top = np.floor(x), np.floor(y)
    fx, fy = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
    x0, x1 = (_wrapped(left + step, w, wrap[0]) for step in (0, 1))
    y0, y1 = (_wrapped(top + step, h, wrap[1]) * w for step in (0, 1))
    texels = picture.reshape(-1, picture.shape[2])
    upper = texels[y0 + x0].astype(np.float32)
    upper += fx * (texels[y0 + x1] - upper)
    lower = texels[y1 + x0].astype(np.float32)
    lower += fx * (texels[y1 + x1] - lower)
    lower -= upper
    lower *= fy
    upper += lower
    upper *= 1 / 255
    return upper


def _wrapped(index: np.ndarray, size: int, wrap: Wrap) -> np.ndarray:
    index = index.astype(np.int64)
    if wrap == "clamp":
        return np.clip(index, 0, size - 1)
    if wrap == "mirror":
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    return index % size
