"""Textured objects from a seed, so that nobody needs a download to start."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from ...errors import bad_input
from ...render.mesh import Mesh
from . import procedural_paint as paint
from . import procedural_shapes as shapes
from .grid_mesh import grid_mesh, grid_normals

_TEXTURE = 512
# Painting takes about a second, and sets of one seed show the same objects several times; a mesh holds about 2 MiB.
KEPT_MESHES = 16
_BODY_ROWS = 384  # the body's share of the texture; the other parts lie side by side below it


@lru_cache(maxsize=KEPT_MESHES)
def procedural_mesh(seed: int) -> Mesh:
    """Make an object: a body (bottle, box-like, blob) with parts, painted with non-repeating patches, labels and marks.

    Correspondence on it is meant to be well posed: no shape or texture element is symmetric or periodic.

    Args:
        seed: At least 0; the same seed gives the same object.

    Returns:
        A normalised mesh of 5,000 to 20,000 triangles with one 512 px texture; the last ones made are kept and shared.

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
    normals = [grid_normals(grid) for grid in grids]
    texture = painter([grid / size for grid in grids], normals, rects, _TEXTURE)
    return grid_mesh(grids, normals, rects, texture, name)


def _atlas(n_parts: int) -> list[tuple[int, int, int, int]]:
    """Texel rectangles (x0, y0, x1, y1): the body on top, the others in columns below."""
    rects = [(0, 0, _TEXTURE, _BODY_ROWS)]
    edges = np.linspace(0, _TEXTURE, n_parts, dtype=int)
    rects += [(int(a), _BODY_ROWS, int(b), _TEXTURE) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return rects
