"""`equiview render`."""

from enum import StrEnum
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress


class Rig(StrEnum):
    """Where the cameras stand."""

    PAPER42 = "paper42"
    RING = "ring"
    RANDOM = "random"


class Background(StrEnum):
    """What is behind the object."""

    BLACK = "black"
    WHITE = "white"
    RANDOM = "random"


class Light(StrEnum):
    """What the light is fixed to."""

    CAMERA = "camera"
    WORLD = "world"


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
    source: Annotated[str, typer.Argument(help="Mesh file (glb, gltf, obj, ply) or procedural:SEED.")],
    out: options.Out,
    rig: Annotated[Rig, typer.Option(help="paper42: the paper's icosphere.")] = Rig.PAPER42,
    views: Annotated[int | None, typer.Option(min=1, help="How many views; all of paper42, 24 otherwise.")] = None,
    size: Annotated[int, typer.Option(min=16, help="Edge of the square pictures, pixels.")] = 512,
    background: Annotated[Background, typer.Option(help="Colour behind the object.")] = Background.BLACK,
    light: Annotated[Light, typer.Option(help="What the light moves with.")] = Light.CAMERA,
    renderer: Annotated[Renderer, typer.Option(help="embree: CPU ray caster; gl: extra `gl`.")] = Renderer.EMBREE,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Render views of an object, with the exact 3D point behind every pixel.

    The folder can be given to the other commands in place of the mesh. Views that are already there are kept.
    """
    from ..render import RenderConfig, render_object

    config = RenderConfig(background=background.value, light=light.value)
    with StageProgress() as progress:
        store = render_object(
            source,
            out,
            rig=rig.value,
            n_views=views,
            size=size,
            config=config,
            renderer=renderer.value,
            seed=seed,
            progress=progress,
        )
    finish({"command": "render", "object": store.name, "views": len(store)}, [out], json, f"{len(store)} views")
