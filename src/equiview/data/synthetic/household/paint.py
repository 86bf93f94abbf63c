"""The texture of a household object: plain materials, prints, a little dirt, and the shade of its own shape."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import map_coordinates

from ..grid_mesh import Rect, grid_normals
from ..procedural_paint import Noise, at_texels
from . import prints
from .pieces import Piece

_PIXELS = 420
"""Of the longer side of a printed picture."""


def paint_pieces(
    rng: np.random.Generator, pieces: Sequence[Piece], rects: Sequence[Rect], size: int
) -> UInt8[np.ndarray, "s s 4"]:
    """Return the texture.

    Args:
        rng: Decides everything.
        pieces: The object's pieces.
        rects: Texel rectangle of each.
        size: Side of the texture, texels.
    """
    texture = np.full((size, size, 4), 255, np.uint8)
    everything = np.concatenate([one.placed.reshape(-1, 3) for one in pieces])
    low, high = everything.min(0), everything.max(0)
    middle, extent = (low + high) / 2, float((high - low).max())
    dirt = rng.uniform(0, 0.12) * (rng.random() < 0.6)
    for one, rect in zip(pieces, rects, strict=True):
        x0, y0, x1, y1 = rect
        local = at_texels(one.grid, rect).reshape(-1, 3)
        normals = at_texels(grid_normals(one.grid), rect).reshape(-1, 3)
        placed = (local @ one.rotation.T + one.at - middle) / extent
        colors = _plain(rng, one, local, placed)
        _print(rng, one, local, normals, colors)
        facing = normals @ one.rotation.T
        colors *= _shade(placed, facing)[:, None]
        if dirt:
            noise = Noise(placed)
            colors *= 1 - dirt * np.clip(noise(rng, 7) + 0.6 * noise(rng, 30), 0, 1)[:, None]
        block = np.clip(np.rint(255 * colors), 0, 255).astype(np.uint8)
        texture[y0:y1, x0:x1, :3] = block.reshape(y1 - y0, x1 - x0, 3)
    return texture


def _heights(local: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Return where between its lowest and highest point each point is, 0 to 1."""
    z = local[:, 2]
    return (z - z.min()) / max(float(np.ptp(z)), 1e-9)


def _plain(
    rng: np.random.Generator, one: Piece, local: Float[np.ndarray, "n 3"], placed: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Return the colours without a print: one, or two, that change slowly."""
    finish = one.finish
    colors = np.broadcast_to(np.array(finish.color), local.shape).copy()
    if finish.second is not None:
        colors[_heights(local) > finish.second_from] = finish.second
    noise = Noise(placed)
    slow = noise(rng, 4)
    tint = slow[:, None] * rng.uniform(-0.5, 0.5, 3)
    return colors * (1 + finish.mottled * (tint + (slow + 0.5 * noise(rng, 20))[:, None]))


def _shade(placed: Float[np.ndarray, "n 3"], facing: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Return how much of the light from all around arrives: less where the surface faces the object's own middle."""
    outwards = placed / np.maximum(np.linalg.norm(placed, axis=1, keepdims=True), 1e-9)
    inner = np.clip(-(outwards * facing).sum(1), 0, 1)
    return (1 - 0.3 * inner) * (0.94 + 0.06 * facing[:, 2])


def _print(
    rng: np.random.Generator,
    one: Piece,
    local: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    colors: Float[np.ndarray, "n 3"],
) -> None:
    """Lay printed pictures on a piece, changing its colours."""
    if one.finish.mapping == "faces":
        _print_faces(rng, one, local, normals, colors)
    elif one.finish.mapping != "none":
        heights, (low, high) = _heights(local), one.finish.band
        radius = float(np.median(np.hypot(local[:, 0], local[:, 1])))
        long, tall = 2 * np.pi * radius, (high - low) * float(np.ptp(local[:, 2]))
        u = (np.arctan2(local[:, 1], local[:, 0]) / (2 * np.pi)) % 1
        v = (high - heights) / (high - low)
        if one.finish.mapping == "along":
            u, v, long, tall = 1 - v, u, tall, long
        inside = (v >= 0) & (v <= 1) & (u >= 0) & (u <= 1) & (np.abs(normals[:, 2]) < 0.9)
        picture = prints.around(rng, _size(tall, long), _ground(rng, one))
        colors[inside] = _looked_up(picture, u[inside], v[inside])


def _print_faces(
    rng: np.random.Generator,
    one: Piece,
    local: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    colors: Float[np.ndarray, "n 3"],
) -> None:
    """A box has a front on its two largest upright faces (one of them the back), sides, and a lid."""
    low, high = local.min(0), local.max(0)
    extent = np.maximum(high - low, 1e-9)
    axis = np.abs(normals).argmax(1)
    ground = _ground(rng, one)
    widest = int(extent[1] > extent[0])  # Faces across x are as wide as y, and the other way round.
    for number in range(3):
        for sign in (-1, 1):
            face = (axis == number) & (np.sign(normals[:, number]) == sign)
            right, up = (1, 2) if number == 0 else (0, 2) if number == 1 else (0, 1)
            u, v = (local[face] - low)[:, right] / extent[right], (high - local[face])[:, up] / extent[up]
            # From outside, x goes to the left on the +y face, y on the -x face, x on the lid's underside.
            u = 1 - u if (number, sign) in ((1, 1), (0, -1), (2, -1)) else u
            upright = number == 1 - widest
            draw = prints.side if not upright else prints.front if sign == -1 or rng.random() < 0.4 else prints.back
            picture = draw(rng, _size(extent[up], extent[right]), ground)
            colors[face] = _looked_up(picture, u, v)


def _ground(rng: np.random.Generator, one: Piece) -> tuple[float, ...]:
    """Return the colour of the paper: the piece's own, mostly, or white."""
    return one.finish.color if rng.random() < 0.7 else (0.92, 0.92, 0.9)


def _size(tall: float, wide: float) -> tuple[int, int]:
    scale = _PIXELS / max(tall, wide)
    return max(24, int(tall * scale)), max(24, int(wide * scale))


def _looked_up(
    picture: UInt8[np.ndarray, "h w 3"], u: Float[np.ndarray, "n"], v: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n 3"]:
    """Return the picture's colours at places (0 to 1) of it."""
    where = np.stack([v * (picture.shape[0] - 1), u * (picture.shape[1] - 1)])
    return np.stack([map_coordinates(picture[..., k] / 255.0, where, order=1, mode="nearest") for k in range(3)], 1)
