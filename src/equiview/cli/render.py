"""`equiview render`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .. import limits
from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress

if TYPE_CHECKING:
    from ..render import RenderConfig


@app.command(
    short_help="Render views with the 3D point behind every pixel.",
    epilog=examples(
        "equiview render mug.glb --out views/mug",
        "equiview render mug.glb --out views/mug-ring --rig ring --views 24 --background white",
        "equiview render builtin:mug --views 6 --pictures --out mug",
        "equiview render objaverse/glbs --out views/objaverse --engine process:8",
    ),
)
@command
def render(
    source: Annotated[
        str,
        typer.Argument(
            help="Mesh file (glb, gltf, obj, ply), builtin:NAME, procedural:SEED or household:SEED; or a folder of "
            "meshes or a text file that lists some, each rendered into OUT/NAME."
        ),
    ],
    out: options.Out,
    rig: Annotated[
        Literal["paper42", "ring", "random"],
        typer.Option(help="paper42: the paper's icosphere; ring: one circle, 20 degrees up."),
    ] = "paper42",
    views: Annotated[
        int,
        typer.Option(
            min=1, max=limits.MAX_VIEWS, help="How many; fewer than 42 of paper42 are drawn from it by --seed."
        ),
    ] = 42,
    size: Annotated[int, typer.Option(min=16, max=limits.MAX_SIDE, help="Edge of the square pictures, pixels.")] = 512,
    up: Annotated[
        Literal["y", "z"] | None,
        typer.Option(help="The mesh's axis that points up; y for glTF and z for OBJ and PLY if left out."),
    ] = None,
    background: Annotated[str, typer.Option(help="black, white, random, or a picture file.")] = "black",
    light: Annotated[Literal["camera", "world"], typer.Option(help="What the light moves with.")] = "camera",
    renderer: Annotated[
        Literal["embree", "gl"], typer.Option(help="embree: CPU ray caster; gl: fast, extra `gl`.")
    ] = "embree",
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also write PNG files: each view to pictures/, its mask to masks/.")
    ] = False,
    engine: options.Engine = "local",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Render views of an object, with the exact 3D point behind every pixel.

    The folder can be given to the other commands in place of the mesh. Views that are already there are kept.
    """
    from ..data.meshes import axis_up
    from ..data.object_lists import expand
    from ..jobs.engine import parse_engine
    from ..jobs.render import render_object, write_pictures
    from ..render import RenderConfig

    axis = "" if up is None else f"@up={up}"  # The axis goes with each name, as in the other commands.
    config = RenderConfig(hw=(size, size), light=light, background=background, seed=seed)
    how: Any = {"rig": rig, "views": views, "renderer": renderer}
    found = expand([source])
    where = parse_engine(engine, many=bool(found.listed))
    if found.listed:
        _render_many([f"{one}{axis}" for one in found.sources], out, json, config, {**how, "engine": where})
        return
    source = f"{source}{axis}"
    with StageProgress() as progress:
        store, notes = render_object(source, out, config, **how, progress=progress)
    wrote = [out, *(write_pictures(store, out) if pictures else [])]
    result = {"command": "render", "object": store.name, "views": len(store), "up": axis_up(source), "notes": notes}
    finish(result, wrote, json, *(f"Note: {note}" for note in notes), f"{len(store)} views of {store.name}")


def _render_many(sources: list[str], out: Path, json: bool, config: "RenderConfig", how: Any) -> None:
    from ..jobs.render import render_objects

    with StageProgress() as progress:
        done, broken = render_objects(sources, out, config, **how, progress=progress)
    words = f"{len(done)} objects, {len(broken)} broken ones left out (see broken/)"
    finish({"command": "render", "objects": done, "broken": broken}, [out], json, words)
