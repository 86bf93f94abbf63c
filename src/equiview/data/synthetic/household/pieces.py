"""Pieces of household objects: a surface in its own axes, where it is put, and how it is finished."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..procedural_shapes import closed
from ..solids import Grid, Point, finely

Color = tuple[float, float, float]
Mapping = Literal["none", "faces", "wrap", "along"]


@dataclass(frozen=True)
class Finish:
    """What a piece's surface looks like.

    Attributes:
        color: sRGB, 0 to 1.
        mapping: How a printed picture lies on it: nowhere; on six faces, a picture each; wrapped around z; or wrapped
            so that words run along z.
        band: Part of the height (0 at the bottom, 1 on top) that is printed.
        mottled: Strength of slow changes of colour.
        second: Another colour for one end.
        second_from: Share of the height from which it is used.
    """

    color: Color
    mapping: Mapping = "none"
    band: tuple[float, float] = (0.0, 1.0)
    mottled: float = 0.04
    second: Color | None = None
    second_from: float = 0.7


@dataclass(frozen=True, eq=False)
class Piece:
    """A surface as `procedural_shapes` describes it, in its own axes, and the rigid motion to where it belongs."""

    grid: Grid
    finish: Finish
    rotation: Float[np.ndarray, "3 3"]
    at: Float[np.ndarray, "3"]

    @property
    def placed(self) -> Grid:
        return self.grid @ self.rotation.T + self.at

    def moved(self, rotation: Float[np.ndarray, "3 3"], at: Float[np.ndarray, "3"]) -> "Piece":
        """Return the piece after one more motion."""
        return replace(self, rotation=rotation @ self.rotation, at=rotation @ self.at + at)


def piece(grid: Grid, finish: Finish, at: Point = (0, 0, 0), axis: str = "z", turn_deg: float = 0.0) -> Piece:
    """Let the grid's z axis point along +x, +y or +z, turn it about the world's z axis, and move it."""
    order = {"x": (2, 0, 1), "y": (1, 2, 0), "z": (0, 1, 2)}[axis]
    return Piece(grid, finish, about_z(turn_deg) @ np.eye(3)[list(order)], np.array(at, float))


def about_z(angle_deg: float) -> Float[np.ndarray, "3 3"]:
    """Return the rotation about +z."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def swept(
    profile: Sequence[tuple[float, float]],
    section: Float[np.ndarray, "c 2"],
    squeeze: Callable[[np.ndarray], np.ndarray] | None = None,
    step: float = 0.03,
) -> Grid:
    """Sweep a closed section along z.

    Args:
        profile: Corners (scale of the section, z) from the upper pole to the lower one, both with scale 0.
        section: Counter-clockwise, first and last point alike.
        squeeze: From heights to the scale of y there; none for 1.
        step: Longest piece of the profile.
    """
    line = finely(np.array(profile, np.float64), step)
    grid = np.concatenate(
        [line[:, :1, None] * section[None], np.broadcast_to(line[:, 1:, None], (len(line), len(section), 1))], 2
    )
    if squeeze is not None:
        grid[..., 1] *= squeeze(line[:, 1])[:, None]
    return closed(grid)


def rectangle(width: float, depth: float, radius: float, per_side: int = 14) -> Float[np.ndarray, "c 2"]:
    """Return a rectangle with round corners, counter-clockwise from the corner +x+y, as a section to sweep."""
    angles = np.linspace(0, np.pi / 2, 4)
    arc = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    ring: list[np.ndarray] = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        corner = np.array([sx * (width / 2 - radius), sy * (depth / 2 - radius)])
        ring.append(corner + arc @ about_z(90.0 * quarter)[:2, :2].T)
    corners = np.concatenate([*ring, ring[0][:1]])
    sides = []
    for a, b in zip(corners[:-1], corners[1:], strict=True):
        count = per_side if np.linalg.norm(b - a) > 2 * radius else 1
        sides.append(a + np.linspace(0, 1, count, endpoint=False)[:, None] * (b - a))
    return np.concatenate([*sides, corners[:1]])


def ellipse(a: float, b: float, ripples: tuple[int, float] = (0, 0.0), columns: int = 73) -> Float[np.ndarray, "c 2"]:
    """Return an ellipse with a number of ripples of some depth, as a section to sweep."""
    angle = np.linspace(0, 2 * np.pi, columns)
    r = 1 + ripples[1] * np.cos(ripples[0] * angle)
    return np.stack([a * r * np.cos(angle), b * r * np.sin(angle)], 1)
