"""Surfaces given as grids of points (rows from pole to pole, columns around) made into one textured mesh."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from ...render.mesh import Material, Mesh, Part, merge_parts, normalize

Rect = tuple[int, int, int, int]


def grid_mesh(
    grids: Sequence[Float[np.ndarray, "r c 3"]],
    normals: Sequence[Float[np.ndarray, "r c 3"]],
    rects: Sequence[Rect],
    texture: UInt8[np.ndarray, "s s 4"],
    name: str,
) -> Mesh:
    """Join grids that share one square texture into a normalised mesh.

    Args:
        grids: Surface points; the vertices of the mesh are these, grid by grid and row by row.
        normals: Unit normals at these points.
        rects: Texel rectangle (x0, y0, x1, y1) of each grid.
        texture: sRGB with alpha.
        name: Of the mesh.
    """
    material = Material(texture=texture, color=(1.0, 1.0, 1.0, 1.0), double_sided=True, wrap=("clamp", "clamp"))
    starts = [0, *np.cumsum([grid.shape[0] * grid.shape[1] for grid in grids])[:-1].tolist()]
    one = Part(
        vertices=np.concatenate([grid.reshape(-1, 3) for grid in grids]),
        faces=np.concatenate([grid_faces(*g.shape[:2]) + s for g, s in zip(grids, starts, strict=True)]),
        material=material,
        uv=np.concatenate(
            [_uv(g.shape[0], g.shape[1], rect, len(texture)) for g, rect in zip(grids, rects, strict=True)]
        ),
        normals=np.concatenate([normal.reshape(-1, 3) for normal in normals]),
    )
    return normalize(merge_parts([one], name))


def _uv(rows: int, columns: int, rect: Rect, size: int) -> Float[np.ndarray, "n 2"]:
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    x0, y0, x1, y1 = rect
    # Half a texel inside, so that bilinear lookups never reach the neighbouring rectangle.
    x, y = x0 + 0.5 + u * (x1 - x0 - 1), y0 + 0.5 + v * (y1 - y0 - 1)
    return np.stack([x, y], -1).reshape(-1, 2) / size


def grid_faces(rows: int, columns: int) -> Int[np.ndarray, "f 3"]:
    """Two triangles per cell, one at the poles; counter-clockwise from outside."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (r * columns + c).ravel()
    b, below = a + 1, a + columns
    first = np.stack([a, below, below + 1], 1)[r.ravel() < rows - 2]
    second = np.stack([a, below + 1, b], 1)[r.ravel() > 0]
    return np.concatenate([first, second])


def grid_normals(grid: Float[np.ndarray, "r c 3"]) -> Float[np.ndarray, "r c 3"]:
    """Area-weighted vertex normals; the seam's two columns and the poles' rows share theirs."""
    rows, columns = grid.shape[:2]
    faces = grid_faces(rows, columns)
    points = grid.reshape(-1, 3)
    a, b, c = (points[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, faces[:, corner], cross)
    total = total.reshape(grid.shape)
    total[:, 0] += total[:, -1]
    total[:, -1] = total[:, 0]
    for pole in (0, -1):
        total[pole] = total[pole].sum(0)
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)
