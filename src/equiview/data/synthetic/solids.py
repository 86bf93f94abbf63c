"""Parts of objects with given shapes, as grids of points (see procedural_shapes.py for the layout of a grid)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline

from .procedural_shapes import closed

Grid = Float[np.ndarray, "r c 3"]
Point = tuple[float, float, float]


def turned(profile: Sequence[tuple[float, float]], squash: float = 1.0, columns: int = 90) -> Grid:
    """Turn a profile around the z axis.

    Args:
        profile: Corners (radius, z) from the upper pole to the lower one, both with radius 0. It may go inwards, so
            that a cup has an inside.
        squash: Scale of y.
        columns: Points around.
    """
    line = finely(np.array(profile, np.float64), 0.02)
    angle = np.linspace(0, 2 * np.pi, columns)
    r, z = line[:, :1], np.broadcast_to(line[:, 1:], (len(line), columns))
    return closed(np.stack([r * np.cos(angle), squash * r * np.sin(angle), z], -1))


def block(size: Point, roundness: float = 0.25, taper: float = 0.0, rows: int = 50, columns: int = 70) -> Grid:
    """Return a box with rounded edges.

    Args:
        size: Along x, y, z.
        roundness: Near 0 is sharp, 1 an ellipsoid.
        taper: How much wider the top (+z) is than the middle, as a share; negative for narrower.
        rows: From pole to pole.
        columns: Around.
    """
    polar, angle = np.linspace(0, np.pi, rows)[:, None], np.linspace(0, 2 * np.pi, columns)[None]
    ball = np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar) + 0 * angle], -1)
    # Pushed out along the ray and not along each axis: points stay evenly spread, and so does the paint.
    cube = ball * (np.abs(ball) ** (2 / roundness)).sum(-1, keepdims=True) ** (-roundness / 2)
    grid = cube * (np.array(size) / 2)
    grid[..., :2] *= 1 + taper * cube[..., 2:]
    return closed(grid)


def tube(path: Sequence[Point], radii: Sequence[float], flat: float = 1.0, rows: int = 44, columns: int = 33) -> Grid:
    """Sweep an ellipse along a smooth curve, with rounded ends.

    Args:
        path: Points the curve goes through, two at least.
        radii: Radius at each of them.
        flat: Second half axis of the ellipse over the first.
        rows: Points along.
        columns: Points around.
    """
    points = np.array(path, np.float64)
    at = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    t = np.linspace(0, at[-1], rows)
    line = make_interp_spline(at, points, k=min(3, len(points) - 1))(t)
    full = np.interp(t, at, radii)
    from_end = np.minimum(np.minimum(t, t[::-1]) / (0.8 * full), 1)
    radius = full * np.sqrt(1 - (1 - from_end) ** 2)
    across, other = _frames(line)
    angle = np.linspace(0, 2 * np.pi, columns)
    # Columns run clockwise about the tangent here, because rows go along it: outside stays outside.
    ring = np.cos(angle)[None, :, None] * across[:, None] - flat * np.sin(angle)[None, :, None] * other[:, None]
    return closed(line[:, None] + radius[:, None, None] * ring)


def place(grid: Grid, at: Point = (0, 0, 0), axis: str = "z", turn_deg: float = 0.0) -> Grid:
    """Let the part's z axis point along +x, +y or +z, turn it about the world's z axis, and move it.

    Raises:
        KeyError: Another axis.
    """
    order = {"x": (2, 0, 1), "y": (1, 2, 0), "z": (0, 1, 2)}[axis]
    turned_ = grid[..., list(order)]
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    return turned_ @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + np.array(at)


def finely(corners: np.ndarray, step: float) -> np.ndarray:
    """Cut straight pieces into short ones, keeping the corners."""
    pieces = [
        np.linspace(a, b, max(2, int(np.ceil(np.linalg.norm(b - a) / step)) + 1))[:-1]
        for a, b in zip(corners[:-1], corners[1:], strict=True)
    ]
    return np.concatenate([*pieces, corners[-1:]])


def _frames(line: Float[np.ndarray, "r 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Carry one frame along the curve, so that the section does not turn suddenly."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.eye(3)[int(np.argmin(np.abs(tangent[0])))]
    across = np.empty_like(tangent)
    for i, along in enumerate(tangent):
        side = side - along * (side @ along)
        side = side / np.linalg.norm(side)
        across[i] = side
    return across, np.cross(tangent, across)
