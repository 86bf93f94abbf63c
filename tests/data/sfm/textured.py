"""A small world with much texture and exact cameras: a painted box on a painted floor."""

from functools import lru_cache

import numpy as np

from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.render import Mesh, RenderConfig, render_view, ring
from equiview.render.mesh import Material, Part, merge_parts
from equiview.types import Capture, PosedImage, View

HW = (240, 320)
SIDE, FLOOR = 0.45, 1.3
_UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def _square(corners: np.ndarray, seed: int, px: int) -> Part:
    rgb = dead_leaves(seed, (px, px))
    texture = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    return Part(corners, _FACES, Material(texture=texture), uv=_UV)


@lru_cache(maxsize=1)
def box_on_floor() -> Mesh:
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    parts = [_square(np.column_stack([flat * FLOOR, np.full(4, -SIDE)]), 1, 640)]
    for axis in range(3):
        for side in (-1, 1):
            corners = np.insert(flat * SIDE, axis, side * SIDE, axis=1)
            parts.append(_square(corners, 2 + 2 * axis + (side > 0), 320))
    return merge_parts(parts, "box-on-floor")


@lru_cache(maxsize=4)
def views(n: int = 10, turn_deg: float = 220.0) -> tuple[View, ...]:
    """See the world from part of a circle."""
    full = ring(360, 32.0, hw=HW, radius=2.4)
    cameras = [full[round(i * turn_deg / n) % 360] for i in range(n)]
    config = RenderConfig(light="world", ambient=0.6)
    return tuple(render_view(box_on_floor(), camera, config, index=i) for i, camera in enumerate(cameras))


def capture(n: int = 10, *, masks: bool = False) -> Capture:
    images = [
        PosedImage(view.rgb, view.camera, f"view{i:02d}", view.mask if masks else None)
        for i, view in enumerate(views(n, 160.0))
    ]
    return Capture("box", images)


def distance_to_surface(points: np.ndarray) -> np.ndarray:
    """Return how far points are from the box or the floor."""
    outside = np.linalg.norm(np.maximum(np.abs(points) - SIDE, 0), axis=1)
    inside = np.abs(np.abs(points).max(1) - SIDE)
    box = np.where(np.abs(points).max(1) > SIDE, outside, inside)
    floor = np.hypot(points[:, 2] + SIDE, np.maximum(np.abs(points[:, :2]).max(1) - FLOOR, 0))
    return np.minimum(box, floor)
