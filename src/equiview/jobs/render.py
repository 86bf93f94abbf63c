"""The job behind `equiview render`: views of an object with the exact 3D point behind every pixel."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..data.meshes import open_mesh
from ..data.names import distinct_names
from ..errors import EquiviewError, bad_input
from ..io import file_name, read_json, write_image, write_json
from ..render import RenderConfig, ViewStore, random_rig, render_view, render_views, ring
from ..render.rigs import paper_subset
from ..render.store import Draw
from ..types import Camera
from .engine import LOCAL, Engine, run_units
from .run_folder import Progress, broken_path, check_distinct

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


def render_objects(
    sources: Sequence[str],
    out: Path,
    config: RenderConfig,
    *,
    rig: Rig = "paper42",
    views: int = 42,
    renderer: Renderer = "embree",
    progress: Progress | None = None,
    engine: Engine = LOCAL,
) -> tuple[list[str], list[str]]:
    """Render many objects into OUT/NAME each; views that are there are kept, and broken objects are left out.

    Returns:
        The names of the objects that were rendered, and of the broken ones; what is wrong is in OUT/broken/NAME.json.

    Raises:
        EquiviewError: Two of one name, all broken, or the `gl` extra is not there.
    """
    out, names = Path(out), distinct_names(sources)
    check_distinct(names, "objects")
    draw_with(renderer)
    work = partial(_render_one, out, config, rig, views, renderer)
    broken = set()
    units = list(zip(names, sources, strict=True))
    for done, (number, problem) in enumerate(run_units(work, units, engine, lambda _, died: str(died)), 1):
        broken_path(out, names[number]).unlink(missing_ok=True)
        if problem is not None:
            broken.add(names[number])
            write_json(broken_path(out, names[number]), {"unit": names[number], "problem": problem})
        if progress is not None:
            progress("render", done, len(units))
    if len(broken) == len(names):
        problem = read_json(broken_path(out, names[0]))["problem"]
        raise bad_input("objects", "one or more that can be opened", f"{len(names)} broken: {problem}", "Check them.")
    return [name for name in names if name not in broken], [name for name in names if name in broken]


def _render_one(
    out: Path, config: RenderConfig, rig: Rig, views: int, renderer: Renderer, unit: tuple[str, str]
) -> str | None:
    """Render an object (name, source); return what is wrong with a broken one."""
    name, source = unit
    try:
        render_object(source, out / file_name(name), config, rig=rig, views=views, renderer=renderer)
    except EquiviewError as error:
        return str(error)
    return None


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
