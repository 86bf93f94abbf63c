"""`equiview export`."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import bad_input
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    short_help="Write a folder for transformers or timm with the adapter merged, or an ONNX file.",
    epilog=examples(
        "equiview export --backbone facebook/dinov2-base --adapter runs/mug --out mug-model --remeasure cup.glb",
        "equiview export --backbone facebook/dinov2-base --features auto --onnx --fp16 --out features.onnx",
        "",
        "and then, without equiview:",
        "",
        'AutoModel.from_pretrained("mug-model", trust_remote_code=True)',
    ),
)
@command
@with_features(without=("thorough", "random_weights", "dtype"))
def export(
    features: FeatureOptions,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write, or file.onnx; an older export there is replaced.")
    ],
    plain: Annotated[
        bool, typer.Option("--plain", help="The merged backbone alone; refused when the gain is in the head.")
    ] = False,
    timm: Annotated[
        bool, typer.Option("--timm", help="The merged backbone alone, for timm; refused when the gain is in the head.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="One ONNX file for pictures of any size of whole patches, head inside.")
    ] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="With --onnx: the network in float16.")] = False,
    remeasure: Annotated[
        list[str] | None,
        typer.Option(metavar="X...", help="Objects to measure before and after on; the scores must agree."),
    ] = None,
    views: options.Views = 6,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write a folder with the adapter merged, for transformers or timm without equiview, or an ONNX file."""
    from dataclasses import asdict

    from ..jobs.export import Form, Recheck, export_model, export_onnx_file

    if plain and timm:
        raise bad_input("--timm", "no --plain beside it", "both", "Leave one of the two out.")
    if onnx and (plain or timm):
        raise bad_input("--onnx", "no --plain or --timm beside it", "both", "Leave the others out.")
    if fp16 and not onnx:
        raise bad_input("--fp16", "--onnx beside it", "none", "Add --onnx, or leave it out.")
    form: Form = "timm" if timm else "plain" if plain else "full"
    checked = Recheck(tuple(remeasure), views, seed) if remeasure else None
    result: dict[str, object] = {"command": "export", "plain": plain, "timm": timm}
    said = None
    with StageProgress() as progress:
        if onnx:
            from ..models.onnx_export import check_words, record_path

            checks, scores = export_onnx_file(features, out, fp16=fp16, recheck=checked, progress=progress)
            result |= {"onnx": True, "checks": [asdict(one) for one in checks]}
            said, wrote = check_words(checks), [out, record_path(out)]
        else:
            scores, wrote = export_model(features, out, form=form, recheck=checked, progress=progress), [out]
    words = ", ".join(f"{name} {a:.2f} -> {b:.2f}" for name, (a, b) in scores.items())
    result |= {"remeasured": scores} if scores else {}
    finish(result, wrote, json, said, f"Measured again after reloading: {words}" if scores else None)
