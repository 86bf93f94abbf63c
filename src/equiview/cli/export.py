"""`equiview export`."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import bad_input
from ..jobs.feature_options import FeatureOptions
from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress


@app.command(
    short_help="Write a folder for transformers, or timm, with the adapter merged.",
    epilog=examples(
        "equiview export --backbone facebook/dinov2-base --adapter runs/mug --out mug-model --remeasure cup.glb",
        "",
        "and then, without equiview:",
        "",
        'AutoModel.from_pretrained("mug-model", trust_remote_code=True)',
    ),
)
@command
def export(
    backbone: options.Backbone,
    adapter: Annotated[Path, typer.Option(help=options.ADAPTER_HELP)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; an older export there is replaced.")],
    strength: options.Strength = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="The merged backbone alone; refused when the gain is in the head.")
    ] = False,
    timm: Annotated[
        bool, typer.Option("--timm", help="The merged backbone alone, for timm; refused when the gain is in the head.")
    ] = False,
    remeasure: Annotated[
        list[str] | None,
        typer.Option(metavar="X...", help="Objects to measure before and after on; the scores must agree."),
    ] = None,
    views: options.Views = 6,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write a folder with the adapter merged, which loads with transformers, or with timm, without equiview."""
    from ..jobs.export import Form, Recheck, export_model

    if plain and timm:
        raise bad_input("--timm", "no --plain beside it", "both", "Leave one of the two out.")
    form: Form = "timm" if timm else "plain" if plain else "full"
    checked = Recheck(tuple(remeasure), views, seed) if remeasure else None
    with StageProgress() as progress:
        scores = export_model(
            FeatureOptions(backbone, adapter, strength, device=device),
            out,
            form=form,
            recheck=checked,
            progress=progress,
        )
    words = ", ".join(f"{name} {a:.2f} -> {b:.2f}" for name, (a, b) in scores.items())
    result = {"command": "export", "plain": plain, "timm": timm} | ({"remeasured": scores} if scores else {})
    finish(result, [out], json, f"Measured again after reloading: {words}" if scores else None)
