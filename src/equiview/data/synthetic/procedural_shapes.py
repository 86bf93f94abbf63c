"""Random surfaces as grids of points: rows from pole to pole, columns around, first and last column alike.

Seen from outside, rows go down and columns go counter-clockwise around the z axis.
"""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

Grid = Float[np.ndarray, "r c 3"]


def body(rng: np.random.Generator) -> Grid:
    """Return a random body about 1 in size, without any symmetry."""
    make = (_lathe, _box, _blob)[int(rng.integers(3))]
    grid = make(rng)
    grid = _bumps(rng, grid, n=int(rng.integers(2, 6)), height=0.05)
    return _bend(rng, grid)


def attachment(rng: np.random.Generator, body_grid: Grid) -> Grid:
    """Return a handle, a knob or a leg that sticks in the body."""
    return _handle(rng, body_grid) if rng.random() < 0.35 else _knob(rng, body_grid)


def _lathe(rng: np.random.Generator, rows: int = 66, columns: int = 90) -> Grid:
    """A bottle, jar or figure: a random profile turned around an axis, its section not quite round."""
    n = int(rng.integers(4, 8))
    knots = np.concatenate([[0], np.sort(rng.uniform(0.08, 0.92, n - 2)), [1]])
    knots = np.maximum.accumulate(knots + np.arange(n) * 1e-3)
    width = rng.uniform(0.12, 0.42, n)
    profile = PchipInterpolator(knots / knots[-1], width)
    height = rng.uniform(0.8, 1.2)
    # The rows at both ends close the surface with a flat or domed lid.
    t = np.linspace(0, 1, rows - 8)
    lid = np.array([0.0, 0.35, 0.7, 0.92])
    radius = np.concatenate([profile(0.0) * lid, profile(t), profile(1.0) * lid[::-1]])
    dome = rng.uniform(0, 0.12, 2)
    z = np.concatenate(
        [0.5 * height + dome[0] * (1 - lid**2), height * (0.5 - t), -0.5 * height - dome[1] * (1 - lid[::-1] ** 2)]
    )
    angle = np.linspace(0, 2 * np.pi, columns)
    lobes = sum(
        rng.uniform(0, 0.09) * np.cos(k * angle[None] + rng.uniform(0, 2 * np.pi) + rng.uniform(-1.5, 1.5) * z[:, None])
        for k in (1, 2, 3)
    )
    r = radius[:, None] * (1 + lobes)
    squash = rng.uniform(0.55, 1.0)
    grid = np.stack([r * np.cos(angle), squash * r * np.sin(angle), np.broadcast_to(z[:, None], r.shape)], -1)
    return closed(grid)


def _directions(rows: int, columns: int) -> Grid:
    polar, angle = np.linspace(0, np.pi, rows)[:, None], np.linspace(0, 2 * np.pi, columns)[None]
    return np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar) + 0 * angle], -1)


def _box(rng: np.random.Generator, rows: int = 66, columns: int = 90) -> Grid:
    """A superquadric between box and ellipsoid, tapered and twisted."""
    d = _directions(rows, columns)
    half = np.array([1.0, rng.uniform(0.45, 0.85), rng.uniform(0.35, 0.9)])[rng.permutation(3)] * 0.5
    e1, e2 = rng.uniform(0.25, 0.9, 2)
    x, y, z = np.moveaxis(np.abs(d) / half, -1, 0) + 1e-9
    r = ((x ** (2 / e2) + y ** (2 / e2)) ** (e2 / e1) + z ** (2 / e1)) ** (-e1 / 2)
    grid = d * r[..., None]
    along = grid[..., 2] / half[2]
    grid[..., :2] *= (1 + rng.uniform(-0.3, 0.3) * along)[..., None]
    twist = rng.uniform(-0.5, 0.5) * along
    cos, sin = np.cos(twist), np.sin(twist)
    gx, gy = grid[..., 0].copy(), grid[..., 1].copy()
    grid[..., 0] = cos * gx - sin * gy
    grid[..., 1] = sin * gx + cos * gy
    return closed(grid)


def _blob(rng: np.random.Generator, rows: int = 66, columns: int = 90) -> Grid:
    """A star-shaped body with broad limbs: a fruit, a toy, a stone."""
    d = _directions(rows, columns)
    r = np.full(d.shape[:2], rng.uniform(0.28, 0.36))
    for _ in range(int(rng.integers(4, 9))):
        towards = rng.normal(size=3)
        towards /= np.linalg.norm(towards)
        r = r + rng.uniform(-0.06, 0.2) * np.exp(rng.uniform(2.5, 9) * (d @ towards - 1))
    return closed(d * r[..., None] * rng.uniform(0.7, 1.0, 3))


def _bumps(rng: np.random.Generator, grid: Grid, n: int, height: float) -> Grid:
    """Push a few places in or out along the direction from the centre."""
    center = grid.mean((0, 1))
    out = grid.copy()
    for _ in range(n):
        at = grid[int(rng.integers(4, grid.shape[0] - 4)), int(rng.integers(grid.shape[1]))]
        width = rng.uniform(0.06, 0.16)
        weight = np.exp(-(((grid - at) ** 2).sum(-1)) / (2 * width**2)) * rng.uniform(-1, 1) * height
        outward = (grid - center) / np.maximum(np.linalg.norm(grid - center, axis=-1, keepdims=True), 1e-9)
        out += weight[..., None] * outward
    return closed(out)


def _bend(rng: np.random.Generator, grid: Grid) -> Grid:
    """Shift sections sideways by a parabola along z, then turn the object in a random direction."""
    z = grid[..., 2:] / max(np.abs(grid[..., 2]).max(), 1e-9)
    sideways = np.array([*rng.uniform(-0.12, 0.12, 2), 0.0])
    quaternion = rng.normal(size=4)
    a, b, c, d = quaternion / np.linalg.norm(quaternion)
    turn = np.array(
        [
            [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)],
        ]
    )
    return (grid + sideways * z**2) @ turn.T


def _surface_point(rng: np.random.Generator, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """A point of the surface and the direction away from the body's centre there."""
    row = int(rng.integers(grid.shape[0] // 8, grid.shape[0] * 7 // 8))
    point = grid[row, int(rng.integers(grid.shape[1]))]
    outward = point - grid.mean((0, 1))
    return point, outward / np.linalg.norm(outward)


def _handle(rng: np.random.Generator, body_grid: Grid) -> Grid:
    """A bent tube whose both ends are inside the body."""
    start, out_0 = _surface_point(rng, body_grid)
    candidates = [_surface_point(rng, body_grid) for _ in range(12)]
    wanted = rng.uniform(0.3, 0.5)
    end, out_1 = min(candidates, key=lambda c: abs(np.linalg.norm(c[0] - start) - wanted))
    reach = rng.uniform(0.25, 0.45)
    control = np.stack([start - 0.08 * out_0, start + reach * out_0, end + reach * out_1, end - 0.08 * out_1])
    thick = rng.uniform(0.03, 0.06)
    return _tube(rng, control, thick, thick * rng.uniform(0.7, 1.2))


def _knob(rng: np.random.Generator, body_grid: Grid) -> Grid:
    """A leg, horn or lid: a short tube that thickens or thins."""
    start, outward = _surface_point(rng, body_grid)
    side = rng.normal(size=3) * rng.uniform(0.05, 0.25)
    length = rng.uniform(0.15, 0.4)
    control = np.stack(
        [
            start - 0.12 * outward,
            start + 0.3 * length * outward,
            start + 0.7 * length * outward + 0.3 * length * side,
            start + length * (outward + side),
        ]
    )
    return _tube(rng, control, rng.uniform(0.05, 0.11), rng.uniform(0.035, 0.13))


def _tube(rng: np.random.Generator, control: np.ndarray, first: float, last: float) -> Grid:
    """Sweep a slightly elliptic section along a cubic Bezier curve, with round ends."""
    rows, columns = 36, 29
    t = np.linspace(0, 1, rows)[:, None]
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    path = sum(w * c for w, c in zip(weights, control, strict=True))
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    # Carry one frame along the curve, so that the section does not turn suddenly.
    across = np.empty_like(tangent)
    side = np.cross(tangent[0], rng.normal(size=3))
    for i in range(rows):
        side = side - tangent[i] * (side @ tangent[i])
        side = side / np.linalg.norm(side)
        across[i] = side
    other = np.cross(tangent, across)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    radius = first + (last - first) * t[:, 0]
    for from_end in (arc, arc[-1] - arc):
        reach = np.minimum(from_end / np.maximum(0.8 * radius, 1e-9), 1)
        radius = radius * np.sqrt(np.maximum(1 - (1 - reach) ** 2, 0))
    angle = np.linspace(0, 2 * np.pi, columns)
    flat = rng.uniform(0.6, 1.0)
    # Columns run clockwise about the tangent here, because rows go along it: outside stays outside.
    ring = np.cos(angle)[None, :, None] * across[:, None] - flat * np.sin(angle)[None, :, None] * other[:, None]
    return closed(path[:, None] + radius[:, None, None] * ring)


def closed(grid: Grid) -> Grid:
    """Make the last column equal the first and each pole one point, exactly."""
    grid = grid.copy()
    grid[:, -1] = grid[:, 0]
    for pole in (0, -1):
        grid[pole] = grid[pole, :-1].mean(0)
    return grid
