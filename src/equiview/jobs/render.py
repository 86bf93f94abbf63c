"""The job behind `equiview render`: views of an object with the exact 3D point behind every pixel."""

from pathlib import Path
from typing import Literal

import numpy as np

from ..data.meshes import open_mesh
from ..io import write_image
from ..render import RenderConfig, ViewStore, random_rig, render_view, render_views, ring
from ..render.rigs import paper_subset
from ..render.store import Draw
from ..types import Camera
from .run_folder import Progress

Rig = Literal["paper42", "ring", "random"]
Renderer = Literal["embree", "gl"]


def render_object(
    source: str,
    out: Path,
    config: RenderConfig,
    *,
    rig: Rig = "paper42",
    views: int = 42,
    renderer: Renderer = "embree",
    progress: Progress | None = None,
) -> tuple[ViewStore, list[str]]:
    """Render into a folder; views that are already there are kept.

    Returns:
        The views, and what a user should know about the mesh.

    Raises:
        EquiviewError: A broken mesh, a folder that holds other views, or the `gl` extra is not there.
    """
    mesh = open_mesh(source)
    draw = draw_with(renderer)
    report = None if progress is None else (lambda done, total: progress("render", done, total))
    store = render_views(mesh, cameras_of(rig, views, config.hw, config.seed), config, out, report, draw)
    return store, list(mesh.notes)


def write_pictures(views: ViewStore, out: Path) -> list[Path]:
    """Write `pictures/NNNN.png` and `masks/NNNN.png` of every view, for what reads pictures; return the two folders."""
    pictures, masks = out / "pictures", out / "masks"
    for index, view in enumerate(views):
        write_image(pictures / f"{index:04d}.png", view.rgb)
        write_image(masks / f"{index:04d}.png", np.repeat(255 * view.mask[..., None].astype(np.uint8), 3, axis=2))
    return [pictures, masks]


def cameras_of(rig: Rig, n: int, hw: tuple[int, int], seed: int) -> list[Camera]:
    """Return the cameras of a rig."""
    if rig == "paper42":
        return paper_subset(n, hw, seed)
    return ring(n, hw=hw) if rig == "ring" else random_rig(n, seed, hw=hw)


def draw_with(renderer: Renderer) -> Draw:
    """Return the function that draws one view.

    Raises:
        EquiviewError: The `gl` extra is not installed, or there is no context to draw in.
    """
    if renderer == "embree":
        return render_view
    from ..render.gl import render_view as render_view_gl

    return render_view_gl
