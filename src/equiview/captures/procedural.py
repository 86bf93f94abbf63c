"""Textured objects from a seed, so that nobody needs a download to start."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import bad_input
from ..render.mesh import Material, Mesh, Part, merge_parts, normalize
from . import procedural_paint as paint
from . import procedural_shapes as shapes

_TEXTURE = 512
_BODY_ROWS = 384  # the body's share of the texture; the other parts lie side by side below it


def procedural_mesh(seed: int) -> Mesh:
    """Make an object: a body (bottle, box-like, blob) with parts, painted with non-repeating patches, labels and marks.

    Correspondence on it is meant to be well posed: no shape or texture element is symmetric or periodic.

    Args:
        seed: At least 0; the same seed gives the same object.

    Returns:
        A normalised mesh of 5,000 to 20,000 triangles with one 512 px texture.

    Raises:
        EquiviewError: The seed is negative.
    """
    if seed < 0:
        raise bad_input("seed", "0 or more", str(seed), "Choose another seed.")
    rng = np.random.default_rng((seed, 0x0B1EC7))
    grids = [shapes.body(rng)]
    for _ in range(int(rng.integers(1, 5))):
        grids.append(shapes.attachment(rng, grids[0]))
    return painted_mesh(grids, lambda *canvas: paint.paint(rng, *canvas), f"procedural-{seed}")


def painted_mesh(
    grids: Sequence[Float[np.ndarray, "r c 3"]], painter: Callable[..., UInt8[np.ndarray, "s s 4"]], name: str
) -> Mesh:
    """Join parts to one normalised mesh with one texture.

    Args:
        grids: Surfaces as `procedural_shapes` makes them; the first has most of the texture.
        painter: Given (grids, normals, texel rectangles, side of the texture) it returns the texture. It sees the
            object at its final size, so that marks are equally large on every object.
        name: Of the mesh.
    """
    rects = _atlas(len(grids))
    everything = np.concatenate([grid.reshape(-1, 3) for grid in grids])
    size = np.ptp(everything, axis=0).max()
    normals = [_normals(grid) for grid in grids]
    texture = painter([grid / size for grid in grids], normals, rects, _TEXTURE)
    material = Material(texture=texture, color=(1.0, 1.0, 1.0, 1.0), double_sided=True, wrap=("clamp", "clamp"))
    parts = [_part(grid, normal, rect) for grid, normal, rect in zip(grids, normals, rects, strict=True)]
    one = Part(
        vertices=np.concatenate([p[0] for p in parts]),
        faces=np.concatenate([p[1] + s for p, s in zip(parts, _starts(parts), strict=True)]),
        material=material,
        uv=np.concatenate([p[2] for p in parts]),
        normals=np.concatenate([p[3] for p in parts]),
    )
    return normalize(merge_parts([one], name))


def _atlas(n_parts: int) -> list[tuple[int, int, int, int]]:
    """Texel rectangles (x0, y0, x1, y1): the body on top, the others in columns below."""
    rects = [(0, 0, _TEXTURE, _BODY_ROWS)]
    edges = np.linspace(0, _TEXTURE, n_parts, dtype=int)
    rects += [(int(a), _BODY_ROWS, int(b), _TEXTURE) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return rects


def _part(
    grid: Float[np.ndarray, "r c 3"], normals: Float[np.ndarray, "r c 3"], rect: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = grid.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    x0, y0, x1, y1 = rect
    # Half a texel inside, so that bilinear lookups never reach the neighbouring rectangle.
    x, y = x0 + 0.5 + u * (x1 - x0 - 1), y0 + 0.5 + v * (y1 - y0 - 1)
    uv = np.stack([x, y], -1).reshape(-1, 2) / _TEXTURE
    return grid.reshape(-1, 3), _grid_faces(rows, columns), uv, normals.reshape(-1, 3)


def _grid_faces(rows: int, columns: int) -> Int[np.ndarray, "f 3"]:
    """Two triangles per cell, one at the poles; counter-clockwise from outside."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (r * columns + c).ravel()
    b, below = a + 1, a + columns
    first = np.stack([a, below, below + 1], 1)[r.ravel() < rows - 2]
    second = np.stack([a, below + 1, b], 1)[r.ravel() > 0]
    return np.concatenate([first, second])


def _normals(grid: Float[np.ndarray, "r c 3"]) -> Float[np.ndarray, "r c 3"]:
    """Area-weighted vertex normals; the seam's two columns and the poles' rows share theirs."""
    rows, columns = grid.shape[:2]
    faces = _grid_faces(rows, columns)
    points = grid.reshape(-1, 3)
    a, b, c = (points[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, faces[:, corner], cross)
    total = total.reshape(grid.shape)
    total[:, 0] += total[:, -1]
    total[:, -1] = total[:, 0]
    total[0], total[-1] = total[0].sum(0), total[-1].sum(0)
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)


def _starts(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> list[int]:
    return [0, *np.cumsum([len(p[0]) for p in parts])[:-1].tolist()]
