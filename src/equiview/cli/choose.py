"""`equiview choose`."""

from typing import Annotated, Literal

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    short_help="Choose the blocks of a backbone that match best.",
    epilog=examples(
        "equiview choose --backbone facebook/dinov2-base --out runs/choice",
        "equiview choose --backbone facebook/dinov2-base --objects mug.glb captures/fox --out runs/own",
        "equiview measure --backbone facebook/dinov2-base --features runs/choice --objects cup.glb --out runs/cup",
    ),
)
@command
@with_features("norm", "stride", "position", without=("adapter", "strength", "preset", "blocks", "thorough"))
def choose(
    features: FeatureOptions,
    out: options.Out,
    objects: Annotated[
        list[str] | None,
        typer.Option("--objects", metavar="X...", help=f"Yours, in place of made ones. {options.OBJECT_HELP}"),
    ] = None,
    goal: Annotated[
        Literal["matching", "position", "transfer"],
        typer.Option("--for", help="What they are to be best at: matching views, fine position, semantic transfer."),
    ] = "matching",
    views: Annotated[
        int | None,
        typer.Option(
            "--views", min=2, max=options.MAX_VIEWS, help="Of each object; 4, of your own objects 12, if left out."
        ),
    ] = None,
    points: options.Points = 200,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Choose the blocks, and the fixed head on top, with which a backbone matches views best.

    No test data is looked at: candidates are compared on objects made at run time, or on yours. What comes out is a
    preset, choice.json, which other commands take as --features. Pictures are seen at 336 px for it; with --long-side
    the choice is made at that size, and the preset holds it.
    """
    from dataclasses import replace

    from ..jobs.choose import DEVELOPMENT_OBJECTS, LONG_SIDE, ChooseRun
    from ..jobs.choose import choose as run
    from ..jobs.feature_options import open_features
    from ..report.choice import choice_table, choice_words, write_block_picture

    settings = ChooseRun(
        objects=tuple(objects) if objects else DEVELOPMENT_OBJECTS,
        views=views or (12 if objects else ChooseRun.views),
        points=points,
        seed=seed,
    )
    source = open_features(replace(features, long_side=features.long_side or LONG_SIDE))
    with StageProgress({"objects": 0.8, "categories": 0.2}) as progress:
        found = run(source, settings, out, goal=goal, long_side=features.long_side, progress=progress)
    write_block_picture(found, out / "blocks.png")
    files = [out / "choice.json", out / "blocks.png"]
    finish({"command": "choose", "choice": found}, files, json, choice_table(found), choice_words(found))
