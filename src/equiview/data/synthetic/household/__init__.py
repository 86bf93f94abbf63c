"""Household objects from a seed: packages with prints, tools, tableware, toys. They teach what scanned objects teach.

Large areas are plain, parts have materials of their own, and most shapes are nearly symmetric, so that only where a
place is on the object tells it from others.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ....errors import bad_input
from ....render.mesh import Mesh
from ..grid_mesh import Rect, grid_mesh, grid_normals
from ..procedural import KEPT_MESHES
from . import packages, things, tools
from .paint import paint_pieces
from .pieces import Piece

_TEXTURE = 768
_BODY_ROWS = 528
"""Of the texture, for the first piece; the others lie in columns below."""
KINDS: Sequence[Callable[[np.random.Generator], list[Piece]]] = (
    packages.carton,
    tools.pen,
    things.cup,
    tools.hammer,
    packages.bottle,
    things.fruit,
    tools.screwdriver,
    things.bowl,
    packages.squeeze_tube,
    tools.cutlery,
    things.remote,
    packages.can,
    tools.scissors,
    things.soap,
    tools.power_tool,
    packages.milk_carton,
    things.stapler,
    packages.spray,
    things.toy,
    things.bricks,
)
"""In turn: so many objects with seeds in a row hold every kind equally often."""


@lru_cache(maxsize=KEPT_MESHES)
def household_mesh(seed: int) -> Mesh:
    """Make a household object.

    Args:
        seed: At least 0; the same seed gives the same object. Seeds in a row give different kinds of things.

    Returns:
        A normalised mesh with one 768 px texture, upright or lying; the last ones made are kept and shared.

    Raises:
        EquiviewError: The seed is negative.
    """
    if seed < 0:
        raise bad_input("seed", "0 or more", str(seed), "Choose another seed.")
    rng = np.random.default_rng((seed, 0x40053))
    pieces = _posed(rng, KINDS[seed % len(KINDS)](rng))
    rects = _atlas(len(pieces))
    texture = paint_pieces(rng, pieces, rects, _TEXTURE)
    normals = [grid_normals(one.grid) @ one.rotation.T for one in pieces]
    return grid_mesh([one.placed for one in pieces], normals, rects, texture, f"household-{seed}")


def _posed(rng: np.random.Generator, pieces: Sequence[Piece]) -> list[Piece]:
    """Turn an object about the vertical; half of them are laid down first, some upside down."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    pose = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    kind = rng.random()
    if kind < 0.4:
        pose = pose @ np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    elif kind < 0.5:
        pose = pose @ np.diag([1.0, -1, -1])
    return [one.moved(pose, np.zeros(3)) for one in pieces]


def _atlas(n_pieces: int) -> list[Rect]:
    """Return texel rectangles (x0, y0, x1, y1): the first piece on top, the others in columns below."""
    if n_pieces == 1:
        return [(0, 0, _TEXTURE, _TEXTURE)]
    edges = np.linspace(0, _TEXTURE, n_pieces, dtype=int)
    below = [(int(a), _BODY_ROWS, int(b), _TEXTURE) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return [(0, 0, _TEXTURE, _BODY_ROWS), *below]
