"""Views that differ in more than the viewing direction: roll, distance, place in the picture, light, and background.

What is learned from them cannot lean on one rig, one light or black around the object.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from ...geometry import look_at
from ...render import Mesh, RenderConfig, ViewStore, render_view, render_views
from ...render.rigs import intrinsics, paper_subset
from ...types import Camera, View
from .dead_leaves import dead_leaves
from .pose import turn

ROLL_DEG = 45.0
DISTANCE = (0.75, 1.25)
"""Of the camera, in distances of the paper's rig."""
ASIDE = 0.15
"""How far from the object's centre the middle of the picture may be, in object sizes, along each axis."""


def varied_views(
    mesh: Mesh,
    n_views: int,
    seed: int = 0,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ViewStore:
    """Return views from the directions of the paper's rig, all else varied.

    Args:
        mesh: A normalised object.
        n_views: 1 to 42.
        seed: Decides everything together with the mesh: two objects share neither cameras nor backgrounds.
        folder: As `out_dir` of `render_views`.
        progress: Called with (views done, views in all).
    """
    own = int(np.random.default_rng([seed, int(mesh.sha256[:8], 16)]).integers(2**31))
    config = RenderConfig(seed=own)
    return render_views(mesh, varied_cameras(n_views, config.hw, own), config, folder, progress, draw=_draw)


def varied_cameras(n_views: int, hw: tuple[int, int], seed: int) -> list[Camera]:
    """Return cameras in the directions of the paper's rig, each rolled, nearer or farther, and aimed a little aside."""
    rng = np.random.default_rng([seed, 0xCA3])
    cameras = []
    for camera in paper_subset(n_views, hw, seed):
        eye = camera.center_in_world * rng.uniform(*DISTANCE)
        up = -camera.cam_from_world[1, :3]
        upright = look_at(eye, rng.uniform(-ASIDE, ASIDE, 3), up)
        rolled = turn(np.array([0, 0, 1.0]), rng.uniform(-ROLL_DEG, ROLL_DEG)) @ upright
        cameras.append(Camera(intrinsics(hw), rolled, hw))
    return cameras


def _draw(mesh: Mesh, camera: Camera, config: RenderConfig, *, index: int = 0) -> View:
    """Draw one view in a light and before a background of its own, both decided by the seed and the number."""
    rng = np.random.default_rng([config.seed, index, 0x11647])
    x, y, z = rng.normal(size=3)
    own = replace(config, light=(x, y, abs(z)), ambient=rng.uniform(0.2, 0.6))
    view = render_view(mesh, camera, own, index=index, behind=_background(rng, camera.hw))
    exposed = view.rgb * rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3)
    return replace(view, rgb=np.clip(np.rint(exposed), 0, 255).astype(np.uint8))


def _background(rng: np.random.Generator, hw: tuple[int, int]) -> Float[np.ndarray, "h w 3"]:
    """Return one colour, a gradient or a drawn picture, softened."""
    kind = rng.integers(3)
    if kind == 0:
        return np.broadcast_to(255 * rng.random(3), (*hw, 3)).astype(np.float32)
    if kind == 1:
        small = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    else:
        small = dead_leaves(int(rng.integers(2**31)), (hw[0] // 4, hw[1] // 4))
    return np.asarray(Image.fromarray(small).resize((hw[1], hw[0]), Image.Resampling.BICUBIC), np.float32)
