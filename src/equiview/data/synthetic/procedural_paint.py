"""Paint for procedural objects: evaluated in 3D at every texel, so that there are no seams and no stretching."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

Rect = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class _Canvas:
    """All texels of all parts in one list.

    Attributes:
        points: Where they are.
        normals: Which way they face.
        part_of: The part's number.
        colors: sRGB from 0 to 1, changed in place.
        tree: Finds texels near a place.
        ragged: How far outlines of patches are pushed in or out, in patch radii.
    """

    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    part_of: Int[np.ndarray, "n"]
    colors: Float[np.ndarray, "n 3"]
    tree: cKDTree
    ragged: Float[np.ndarray, "n"]

    def near(self, center: Float[np.ndarray, "3"], radius: float) -> Int[np.ndarray, "m"]:
        return np.sort(np.array(self.tree.query_ball_point(center, radius), np.int64))


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
    canvas, noise = _canvas(grids, normals, rects)
    palette = _palette(rng)
    canvas.colors[:] = _base(rng, palette, noise, canvas.points, canvas.part_of)
    canvas = _weathered(rng, canvas, noise, 1.0)
    _patches(rng, palette, canvas, int(rng.integers(25, 50)), (0.02, 0.12))
    _patches(rng, palette, canvas, int(rng.integers(250, 400)), (0.008, 0.035))
    for _ in range(int(rng.integers(1, 4))):
        _label(rng, palette[[1, 5, 5, 3]], palette[[2, 6, 6]], canvas, 0)
    _marks(rng, canvas, int(rng.integers(30, 55)))
    canvas.colors[:] *= 1 + 0.10 * noise(rng, 24)[:, None] + 0.06 * noise(rng, 70)[:, None]
    return _texture(canvas, rects, size)


@dataclass(frozen=True)
class Style:
    """How an object of a known kind is painted.

    Attributes:
        colors: sRGB (0 to 1) of each part.
        accents: Colours of patches, labels and bands; the last is the ink.
        patches: Number of stains and of specks.
        labels: Part under each printed label.
        marks: Number of single signs.
        drift: Strength of the slow drifts of colour, 1 as on random objects.
    """

    colors: tuple[tuple[float, float, float], ...]
    accents: tuple[tuple[float, float, float], ...]
    patches: tuple[int, int] = (10, 120)
    labels: tuple[int, ...] = (0, 0)
    marks: int = 16
    drift: float = 0.6


def paint_in_style(
    rng: np.random.Generator,
    style: Style,
    grids: Sequence[Float[np.ndarray, "r c 3"]],
    normals: Sequence[Float[np.ndarray, "r c 3"]],
    rects: Sequence[Rect],
    size: int,
) -> UInt8[np.ndarray, "s s 4"]:
    """Return a texture like that of `paint` in given colours: wear, specks, labels and signs, nothing repeated."""
    canvas, noise = _canvas(grids, normals, rects)
    canvas.colors[:] = np.array(style.colors)[canvas.part_of]
    canvas = _weathered(rng, canvas, noise, style.drift)
    accents = np.array(style.accents)
    _patches(rng, accents, canvas, style.patches[0], (0.02, 0.09))
    _patches(rng, accents, canvas, style.patches[1], (0.006, 0.022))
    for part in style.labels:
        _label(rng, accents[:-1], accents[-1:], canvas, part)
    _marks(rng, canvas, style.marks)
    canvas.colors[:] *= 1 + 0.10 * noise(rng, 24)[:, None] + 0.06 * noise(rng, 70)[:, None]
    return _texture(canvas, rects, size)


def _canvas(
    grids: Sequence[np.ndarray], normals: Sequence[np.ndarray], rects: Sequence[Rect]
) -> "tuple[_Canvas, Noise]":
    """Return all texels, still black, and noise on them."""
    points = np.concatenate([at_texels(grid, rect).reshape(-1, 3) for grid, rect in zip(grids, rects, strict=True)])
    facing = np.concatenate(
        [at_texels(normal, rect).reshape(-1, 3) for normal, rect in zip(normals, rects, strict=True)]
    )
    part_of = np.repeat(np.arange(len(rects)), [_texels(rect) for rect in rects])
    tree = cKDTree(points, leafsize=64, balanced_tree=False)
    return _Canvas(points, facing, part_of, np.zeros_like(points), tree, np.zeros(len(points))), Noise(points)


def _weathered(rng: np.random.Generator, canvas: _Canvas, noise: "Noise", strength: float) -> _Canvas:
    """Add slow drifts of colour, as on hand-painted or weathered things: they make distant places of one area differ.

    The outlines of patches to come are drawn too.
    """
    for cells, share in ((4, 0.2), (9, 0.16), (18, 0.12)):
        canvas.colors[:] += strength * share * np.stack([noise(rng, cells) for _ in range(3)], 1)
    np.clip(canvas.colors, 0.03, 1, out=canvas.colors)
    return replace(canvas, ragged=0.25 * noise(rng, 9) + 0.15 * noise(rng, 22))


def _texels(rect: Rect) -> int:
    x0, y0, x1, y1 = rect
    return (x1 - x0) * (y1 - y0)


def _texture(canvas: _Canvas, rects: Sequence[Rect], size: int) -> UInt8[np.ndarray, "s s 4"]:
    """Lay the texels' colours into a square picture."""
    texture = np.full((size, size, 4), 255, np.uint8)
    start = 0
    for rect in rects:
        x0, y0, x1, y1 = rect
        block = np.clip(np.rint(canvas.colors[start : start + _texels(rect)] * 255), 0, 255)
        texture[y0:y1, x0:x1, :3] = block.reshape(y1 - y0, x1 - x0, 3)
        start += _texels(rect)
    return texture


def at_texels(grid: Float[np.ndarray, "r c k"], rect: Rect) -> Float[np.ndarray, "h w k"]:
    """The grid's value at each texel centre of the rectangle (first and last texel centres are the grid's ends)."""
    x0, y0, x1, y1 = rect
    rows = np.linspace(0, grid.shape[0] - 1, y1 - y0)
    columns = np.linspace(0, grid.shape[1] - 1, x1 - x0)
    where = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    return np.stack([map_coordinates(grid[..., k], where, order=1) for k in range(grid.shape[2])], -1)


class Noise:
    """Smooth random values about -1 to 1 at fixed points. Never repeats on the object."""

    def __init__(self, points: Float[np.ndarray, "n 3"]) -> None:
        low, high = points.min(0), points.max(0)
        self._size = high - low
        self._from_middle = np.ascontiguousarray((points - (low + high) / 2).T)

    def __call__(self, rng: np.random.Generator, cells: int) -> Float[np.ndarray, "n"]:
        """Return new values with `cells` lattice cells over the longest side."""
        scale = cells / self._size.max()
        shape = np.ceil(self._size * scale).astype(int) + 3
        # A coarse lattice is turned, so that its axes do not show.
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] if cells < 8 else np.eye(3)
        where = (scale * turn) @ self._from_middle
        where += (shape[:, None] - 1) / 2
        lattice = rng.uniform(-1, 1, tuple(shape))
        return map_coordinates(lattice, where, order=1, mode="nearest") * 1.3


def color_of(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _palette(rng: np.random.Generator) -> np.ndarray:
    """Eight colours that go together: two related hues in light and dark, an accent, and near-greys."""
    hue = rng.random()
    accent = rng.random()
    near = hue + rng.uniform(-0.12, 0.12)
    return np.array(
        [
            color_of(hue, rng.uniform(0.35, 0.75), rng.uniform(0.55, 0.9)),
            color_of(near, rng.uniform(0.15, 0.5), rng.uniform(0.75, 0.98)),
            color_of(hue, rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.45)),
            color_of(accent, rng.uniform(0.5, 0.85), rng.uniform(0.6, 0.95)),
            color_of(near, rng.uniform(0.1, 0.3), rng.uniform(0.4, 0.7)),
            color_of(rng.random(), rng.uniform(0.0, 0.12), rng.uniform(0.82, 0.97)),
            color_of(rng.random(), rng.uniform(0.0, 0.3), rng.uniform(0.08, 0.25)),
            color_of(accent + 0.5, rng.uniform(0.3, 0.6), rng.uniform(0.5, 0.9)),
        ]
    )


def _base(
    rng: np.random.Generator, palette: np.ndarray, noise: Noise, points: np.ndarray, part_of: np.ndarray
) -> np.ndarray:
    """Three large areas with irregular borders, and other colours for each part."""
    field = points @ _unit(rng) * 2.5 + 0.7 * noise(rng, 4) + 0.25 * noise(rng, 11)
    cuts = np.quantile(field, np.sort(rng.uniform(0.2, 0.8, 2)))
    colors = palette[[0, 1, int(rng.integers(2, 6))]][np.digitize(field, cuts)]
    for part in range(1, int(part_of.max()) + 1):
        own = part_of == part
        pair = palette[rng.permutation(len(palette))[:2]]
        stripe = points[own] @ _unit(rng) * 3 + 0.6 * Noise(points[own])(rng, 5)
        colors[own] = pair[(stripe > np.median(stripe) + rng.uniform(-0.2, 0.2)).astype(int)]
    return colors


def _patches(
    rng: np.random.Generator, palette: np.ndarray, canvas: _Canvas, count: int, radii: tuple[float, float]
) -> None:
    """Spots and stains of many sizes with ragged outlines, each in a variation of a palette colour."""
    for _ in range(count):
        center = canvas.points[int(rng.integers(len(canvas.points)))]
        radius = radii[0] * (radii[1] / radii[0]) ** rng.random()
        stretch = np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
        near = canvas.near(center, 3 * radius)
        distance = np.linalg.norm((canvas.points[near] - center) @ stretch, axis=1) / radius
        inside = near[distance + canvas.ragged[near] < 1]
        color = palette[int(rng.integers(len(palette)))] * rng.uniform(0.75, 1.1) + rng.uniform(-0.08, 0.08, 3)
        canvas.colors[inside] += rng.uniform(0.6, 1.0) * (np.clip(color, 0, 1) - canvas.colors[inside])


def _label(rng: np.random.Generator, grounds: np.ndarray, inks: np.ndarray, canvas: _Canvas, part: int) -> None:
    """A label with rows of signs, as on a bought object, in one of the colours of each kind."""
    body = np.flatnonzero(canvas.part_of == part)
    center = body[int(rng.integers(len(body)))]
    rows = int(rng.integers(2, 5))
    columns = int(rng.integers(3, 7))
    inside, xy = _projected(rng, canvas, center, rng.uniform(0.18, 0.4), rng.uniform(0.14, 0.3))
    canvas.colors[inside] = grounds[int(rng.choice(len(grounds)))]
    ink = inks[int(rng.choice(len(inks)))] * 0.8
    cell = np.floor(xy * (columns, rows)).astype(int)
    for row in range(rows):
        for column in range(columns):
            here = (cell == (column, row)).all(1)
            inked = _sign(rng, (xy[here] * (columns, rows)) % 1, 0.16)
            canvas.colors[inside[here][inked]] = ink


def _marks(rng: np.random.Generator, canvas: _Canvas, count: int) -> None:
    """Single signs of all sizes, anywhere, dark on light and light on dark."""
    for _ in range(count):
        side = 0.035 * 4 ** rng.random()
        inside, xy = _projected(rng, canvas, int(rng.integers(len(canvas.points))), side, side)
        light_ground = bool(len(inside)) and canvas.colors[inside].mean() > 0.5
        ink = color_of(
            rng.random(), rng.uniform(0.2, 0.8), rng.uniform(0.0, 0.4) if light_ground else rng.uniform(0.75, 1)
        )
        canvas.colors[inside[_sign(rng, xy, rng.uniform(0.1, 0.2))]] = ink


def _projected(
    rng: np.random.Generator, canvas: _Canvas, center: int, width: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Texels under a rectangle laid on the surface at texel `center`, and their place (0 to 1) in it."""
    normal = canvas.normals[center]
    right = np.cross(normal, _unit(rng))
    right /= np.linalg.norm(right)
    near = canvas.near(canvas.points[center], 0.5 * float(np.hypot(width, height)))
    offset = canvas.points[near] - canvas.points[center]
    x, y = offset @ right / width, offset @ np.cross(normal, right) / height
    inside = (np.abs(x) < 0.5) & (np.abs(y) < 0.5) & (canvas.normals[near] @ normal > 0.3)
    return near[inside], np.stack([x, y], 1)[inside] + 0.5


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
