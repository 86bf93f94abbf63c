"""Paint for procedural objects: evaluated in 3D at every texel, so that there are no seams and no stretching."""

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import map_coordinates

Rect = tuple[int, int, int, int]


def paint(
    rng: np.random.Generator,
    grids: Sequence[Float[np.ndarray, "r c 3"]],
    normals: Sequence[Float[np.ndarray, "r c 3"]],
    rects: Sequence[Rect],
    size: int,
) -> UInt8[np.ndarray, "s s 4"]:
    """Return the texture.

    Args:
        rng: Decides everything.
        grids: Surface points of each part; the whole object about 1 in size.
        normals: Unit normals at these points.
        rects: Texel rectangle (x0, y0, x1, y1) of each part.
        size: Side of the texture in texels.
    """
    points = [_at_texels(grid, rect) for grid, rect in zip(grids, rects, strict=True)]
    directions = [_at_texels(normal, rect) for normal, rect in zip(normals, rects, strict=True)]
    all_points = np.concatenate([p.reshape(-1, 3) for p in points])
    all_normals = np.concatenate([d.reshape(-1, 3) for d in directions])
    part_of = np.concatenate([np.full(p.shape[0] * p.shape[1], i) for i, p in enumerate(points)])
    colors = _base(rng, all_points, part_of, len(grids))
    _patches(rng, all_points, colors)
    _labels(rng, all_points, all_normals, part_of, colors)
    _marks(rng, all_points, all_normals, colors)
    colors *= 1 + 0.10 * _noise(rng, all_points, 24)[:, None] + 0.06 * _noise(rng, all_points, 70)[:, None]
    texture = np.full((size, size, 4), 255, np.uint8)
    start = 0
    for x0, y0, x1, y1 in rects:
        count = (x1 - x0) * (y1 - y0)
        block = np.clip(np.rint(colors[start : start + count] * 255), 0, 255)
        texture[y0:y1, x0:x1, :3] = block.reshape(y1 - y0, x1 - x0, 3)
        start += count
    return texture


def _at_texels(grid: Float[np.ndarray, "r c k"], rect: Rect) -> Float[np.ndarray, "h w k"]:
    """The grid's value at each texel centre of the rectangle (first and last texel centres are the grid's ends)."""
    x0, y0, x1, y1 = rect
    rows = np.linspace(0, grid.shape[0] - 1, y1 - y0)
    columns = np.linspace(0, grid.shape[1] - 1, x1 - x0)
    where = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    return np.stack([map_coordinates(grid[..., k], where, order=1) for k in range(grid.shape[2])], -1)


def _noise(rng: np.random.Generator, points: Float[np.ndarray, "n 3"], cells: int) -> Float[np.ndarray, "n"]:
    """Smooth random values about -1 to 1 with `cells` lattice cells per object size. Never repeats on the object."""
    low, high = points.min(0), points.max(0)
    scale = cells / (high - low).max()
    lattice = rng.uniform(-1, 1, tuple(np.ceil((high - low) * scale).astype(int) + 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] if cells < 8 else np.eye(3)
    middle = (low + high) / 2
    where = (points - middle) @ turn.T + middle
    return map_coordinates(lattice, ((where - low) * scale + 1).T, order=1, mode="nearest") * 1.3


def _color(rng: np.random.Generator, hue: float, light: tuple[float, float]) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.25, 0.9), rng.uniform(*light)))


def _base(rng: np.random.Generator, points: np.ndarray, part_of: np.ndarray, n_parts: int) -> np.ndarray:
    """Two or three large areas of related colours with irregular borders, and another colour for each part."""
    hue = rng.random()
    palette = [_color(rng, hue + shift, (0.45, 0.95)) for shift in (0, rng.uniform(0.05, 0.2), rng.uniform(0.3, 0.7))]
    field = points @ _unit(rng) * 2.5 + 0.7 * _noise(rng, points, 4) + 0.25 * _noise(rng, points, 11)
    cuts = np.quantile(field, np.sort(rng.uniform(0.2, 0.8, 2)))
    colors = np.array(palette)[np.digitize(field, cuts)]
    for part in range(1, n_parts):
        if rng.random() < 0.7:
            own = part_of == part
            pair = np.array([_color(rng, rng.random(), (0.3, 1.0)), _color(rng, rng.random(), (0.3, 1.0))])
            stripe = points[own] @ _unit(rng) * 3 + 0.6 * _noise(rng, points[own], 5)
            colors[own] = pair[(stripe > np.median(stripe) + rng.uniform(-0.2, 0.2)).astype(int)]
    return colors


def _patches(rng: np.random.Generator, points: np.ndarray, colors: np.ndarray) -> None:
    """Spots and stains of many sizes, each with its own colour and a ragged outline."""
    ragged = 0.25 * _noise(rng, points, 9) + 0.15 * _noise(rng, points, 22)
    for _ in range(int(rng.integers(25, 50))):
        center = points[int(rng.integers(len(points)))]
        radius = 0.02 * 6 ** rng.random()
        stretch = np.eye(3) + rng.uniform(-0.5, 0.5, (3, 3))
        distance = np.linalg.norm((points - center) @ stretch, axis=1) / radius
        inside = distance + ragged < 1
        strength = rng.uniform(0.5, 1.0)
        colors[inside] += strength * (_color(rng, rng.random(), (0.1, 1.0)) - colors[inside])


def _labels(
    rng: np.random.Generator, points: np.ndarray, normals: np.ndarray, part_of: np.ndarray, colors: np.ndarray
) -> None:
    """One to three labels with rows of signs, as on a bought object."""
    body = np.flatnonzero(part_of == 0)
    for _ in range(int(rng.integers(1, 4))):
        center = body[int(rng.integers(len(body)))]
        width, height = rng.uniform(0.18, 0.4), rng.uniform(0.14, 0.3)
        rows, columns = int(rng.integers(2, 5)), int(rng.integers(3, 7))
        inside, xy = _projected(rng, points, normals, center, width, height)
        ground = _color(rng, rng.random(), (0.6, 1.0)) if rng.random() < 0.5 else np.full(3, rng.uniform(0.85, 1))
        ink = _color(rng, rng.random(), (0.0, 0.45))
        colors[inside] = ground
        cell = np.floor(xy * (columns, rows)).astype(int)
        for row in range(rows):
            for column in range(columns):
                here = (cell == (column, row)).all(1)
                local = (xy[here] * (columns, rows)) % 1
                inked = _sign(rng, local, 0.16)
                colors[inside[here][inked]] = ink


def _marks(rng: np.random.Generator, points: np.ndarray, normals: np.ndarray, colors: np.ndarray) -> None:
    """Single signs of all sizes, anywhere."""
    for _ in range(int(rng.integers(30, 55))):
        side = 0.035 * 4 ** rng.random()
        inside, xy = _projected(rng, points, normals, int(rng.integers(len(points))), side, side)
        dark = colors[inside].mean() > 0.5 if len(inside) else True
        ink = _color(rng, rng.random(), (0.0, 0.4) if dark else (0.7, 1.0))
        colors[inside[_sign(rng, xy, rng.uniform(0.1, 0.2))]] = ink


def _projected(
    rng: np.random.Generator, points: np.ndarray, normals: np.ndarray, center: int, width: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Texels under a rectangle laid on the surface at texel `center`, and their place (0 to 1) in it."""
    normal = normals[center]
    right = np.cross(normal, _unit(rng))
    right /= np.linalg.norm(right)
    offset = points - points[center]
    x, y, z = offset @ right / width, offset @ np.cross(normal, right) / height, offset @ normal
    inside = (np.abs(x) < 0.5) & (np.abs(y) < 0.5) & (np.abs(z) < max(width, height) / 2) & (normals @ normal > 0.3)
    return np.flatnonzero(inside), np.stack([x, y], 1)[inside] + 0.5


def _sign(rng: np.random.Generator, xy: Float[np.ndarray, "n 2"], thickness: float) -> np.ndarray:
    """True where a letter-like figure has ink: three to five strokes between points of a 3x3 lattice."""
    inked = np.zeros(len(xy), bool)
    corners = rng.permutation(9)[: int(rng.integers(4, 7))]
    knots = np.stack([corners % 3, corners // 3], 1) * 0.3 + 0.2
    for a, b in zip(knots[:-1], knots[1:], strict=True):
        along = b - a
        t = np.clip((xy - a) @ along / (along @ along), 0, 1)
        inked |= np.linalg.norm(xy - a - t[:, None] * along, axis=1) < thickness / 2
    return inked


def _unit(rng: np.random.Generator) -> np.ndarray:
    direction = rng.normal(size=3)
    return direction / np.linalg.norm(direction)
