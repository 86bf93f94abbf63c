"""`equiview render`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress

if TYPE_CHECKING:
    from ..render.store import Draw
    from ..types import Camera


class Rig(StrEnum):
    """Where the cameras stand."""

    PAPER42 = "paper42"
    RING = "ring"
    RANDOM = "random"


class Light(StrEnum):
    """What the light is fixed to."""

    CAMERA = "camera"
    WORLD = "world"


class Up(StrEnum):
    """An axis of the mesh."""

    Y = "y"
    Z = "z"


class Renderer(StrEnum):
    """What draws."""

    EMBREE = "embree"
    GL = "gl"


@app.command(
    short_help="Render views with the 3D point behind every pixel.",
    epilog=examples(
        "equiview render mug.glb --out views/mug",
        "equiview render mug.glb --out views/mug-ring --rig ring --views 24 --background white",
    ),
)
@command
def render(
    source: Annotated[str, typer.Argument(help="Mesh file (glb, gltf, obj, ply), builtin:NAME or procedural:SEED.")],
    out: options.Out,
    rig: Annotated[
        Rig, typer.Option(help="paper42: the paper's icosphere; ring: one circle, 20 degrees up.")
    ] = Rig.PAPER42,
    views: Annotated[
        int, typer.Option(min=1, help="How many; fewer than 42 of paper42 are drawn from it by --seed.")
    ] = 42,
    size: Annotated[int, typer.Option(min=16, help="Edge of the square pictures, pixels.")] = 512,
    up: Annotated[
        Up | None,
        typer.Option(help="The mesh's axis that points up; y for glTF and z for OBJ and PLY if left out."),
    ] = None,
    background: Annotated[str, typer.Option(help="black, white, random, or a picture file.")] = "black",
    light: Annotated[Light, typer.Option(help="What the light moves with.")] = Light.CAMERA,
    renderer: Annotated[Renderer, typer.Option(help="embree: CPU ray caster; gl: fast, extra `gl`.")] = Renderer.EMBREE,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Render views of an object, with the exact 3D point behind every pixel.

    The folder can be given to the other commands in place of the mesh. Views that are already there are kept.
    """
    from ..data.meshes import axis_up, open_mesh
    from ..render import RenderConfig, render_views

    # The other commands take several objects, so there the axis goes with each name.
    source = source if up is None else f"{source}@up={up.value}"
    config = RenderConfig(hw=(size, size), light=light.value, background=background, seed=seed)
    mesh = open_mesh(source)
    cameras = cameras_of(rig, views, config.hw, seed)
    with StageProgress() as bars:
        store = render_views(mesh, cameras, config, out, lambda done, n: bars("render", done, n), draw_with(renderer))
    result = {"command": "render", "object": store.name, "views": len(store), "up": axis_up(source)}
    notes = [f"Note: {note}" for note in mesh.notes]
    finish({**result, "notes": list(mesh.notes)}, [out], json, *notes, f"{len(store)} views of {store.name}")


def cameras_of(rig: Rig, n: int, hw: tuple[int, int], seed: int) -> "list[Camera]":
    """Return the cameras of a rig."""
    from ..render import random_rig, ring
    from ..render.rigs import paper_subset

    if rig is Rig.PAPER42:
        return paper_subset(n, hw, seed)
    return ring(n, hw=hw) if rig is Rig.RING else random_rig(n, seed, hw=hw)


def draw_with(renderer: Renderer) -> "Draw":
    """Return the function that draws one view.

    Raises:
        EquiviewError: The `gl` extra is not installed, or there is no context to draw in.
    """
    if renderer is Renderer.EMBREE:
        from ..render import render_view

        return render_view
    from ..render.gl import render_view as render_view_gl

    return render_view_gl
