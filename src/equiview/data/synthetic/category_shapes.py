"""Simple surfaces with a direction that means something: column 0 of a grid is always on the side that was named.

Grids are as in `procedural_shapes`: rows from pole to pole, columns around, first and last column alike.
"""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from .procedural_shapes import Grid, closed

ROWS, COLUMNS = 25, 25  # of every grid, so that a quarter turn is 6 columns
X, Y, Z = np.eye(3)


def tube(
    path: Float[np.ndarray, "k 3"], radii: Float[np.ndarray, "k"], side: Float[np.ndarray, "3"], flat: float = 1.0
) -> Grid:
    """Sweep an ellipse along a smooth curve, with round ends.

    Args:
        path: Points the curve goes through; row 0 is the first, the last row the last.
        radii: Half width towards `side` at these points.
        side: Where column 0 is; nowhere parallel to the curve. Column 6 is towards cross(side, the curve's direction).
        flat: Half width across `side`, as a share of the other.
    """
    path, radii = np.asarray(path, float), np.asarray(radii, float)
    knots = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    # More rows near the ends, where the surface closes.
    arc = knots[-1] * (1 - np.cos(np.linspace(0, np.pi, ROWS))) / 2
    line, width = PchipInterpolator(knots, path), PchipInterpolator(knots, radii)
    center, radius, cap = line(arc), width(arc), 0.9 * width(arc) * min(flat, 1)
    tangent = line.derivative()(arc)
    tangent = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
    across = side - (tangent @ side)[:, None] * tangent
    across = across / np.linalg.norm(across, axis=1, keepdims=True)
    for from_end in (arc, knots[-1] - arc):
        reach = np.minimum(from_end / cap, 1)
        radius = radius * np.sqrt(np.maximum(1 - (1 - reach) ** 2, 0))
    angle = np.linspace(0, 2 * np.pi, COLUMNS)
    other = np.cross(tangent, across)
    ring = np.cos(angle)[None, :, None] * across[:, None] - flat * np.sin(angle)[None, :, None] * other[:, None]
    return closed(center[:, None] + radius[:, None, None] * ring)


def rounded(center: Float[np.ndarray, "3"], half: Float[np.ndarray, "3"], edge: float = 1.0) -> Grid:
    """Return an ellipsoid (edge 1) or a box with rounded edges (edge towards 0).

    Row 0 is the top; column 0 looks to +x, 6 to +y, 12 to -x, 18 to -y. A box has corners at rows 6 and 18 and at
    columns 3 (+x+y), 9 (-x+y), 15 (-x-y) and 21 (+x-y). Source: superquadrics, Barr 1981.
    """
    up, around = np.linspace(np.pi / 2, -np.pi / 2, ROWS)[:, None], np.linspace(0, 2 * np.pi, COLUMNS)[None]
    flat = _power(np.cos(up), edge)
    unit = np.stack(
        [
            flat * _power(np.cos(around), edge),
            flat * _power(np.sin(around), edge),
            _power(np.sin(up), edge) + 0 * around,
        ],
        -1,
    )
    return closed(np.asarray(center) + unit * np.asarray(half))


def lathe(radii: Float[np.ndarray, "k"], heights: Float[np.ndarray, "k"]) -> Grid:
    """Turn a profile, given from the top down, around the z axis; flat lids close it. Columns as in `rounded`.

    The outermost four rows at each end are the lids.
    """
    share = np.linspace(0, 1, ROWS - 8)
    heights, radii = np.asarray(heights, float), np.asarray(radii, float)
    down = (heights[0] - heights) / (heights[0] - heights[-1])
    lid = np.array([0, 0.4, 0.8, 0.97])
    radius = np.concatenate([radii[0] * lid, PchipInterpolator(down, radii)(share), radii[-1] * lid[::-1]])
    z = heights[0] + np.concatenate([np.zeros(4), share, np.ones(4)]) * (heights[-1] - heights[0])
    angle = np.linspace(0, 2 * np.pi, COLUMNS)
    grid = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    return closed(grid + z[:, None, None] * Z)


def _power(value: Float[np.ndarray, "r c"], edge: float) -> Float[np.ndarray, "r c"]:
    return np.sign(value) * np.abs(value) ** edge
