"""`equiview measure`."""

from typing import Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, parse_blocks
from .feature_options import open_features
from .progress import StageProgress


@app.command(
    short_help="Measure how well features agree between views.",
    epilog=examples(
        "equiview measure --backbone facebook/dinov2-base --objects mug.glb drill.glb --out runs/dinov2",
        "equiview measure --backbone facebook/dinov2-base --adapter runs/mug --objects cup.glb --out runs/cup",
        "equiview measure --backbone equiview/tiny --blocks 4,6,8,10 --objects builtin:mug --out runs/blocks",
    ),
)
@command
def measure(
    backbone: options.Backbone,
    objects: Annotated[list[str], typer.Option("--objects", metavar="X...", help=options.OBJECT_HELP)],
    out: options.Out,
    adapter: options.Adapter = None,
    strength: options.Strength = None,
    views: options.Views = 12,
    points: Annotated[int, typer.Option(min=1, help="Surface points sampled in each view.")] = 1000,
    blocks: options.Blocks = None,
    norm: Annotated[bool | None, typer.Option("--norm/--no-norm", help="The final LayerNorm on every block.")] = None,
    long_side: options.LongSide = None,
    thorough: options.Thorough = False,
    stride: Annotated[int | None, typer.Option(min=1, help="Patch stride; the patch size if left out.")] = None,
    position: Annotated[options.Position | None, typer.Option(help="How positions are resized.")] = None,
    random_weights: options.RandomWeights = False,
    dtype: options.WeightsDtype = options.Dtype.FLOAT32,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure how well features agree between views, on any objects."""
    features: dict[str, Any] = {
        "blocks": parse_blocks(blocks),
        "norm": norm,
        "long_side": long_side,
        "thorough": thorough,
        "stride": stride,
    }
    features |= {"position": None if position is None else position.value}
    from ..jobs.measure import MeasureRun, measure_objects
    from ..report import read_run, summarize_run, summary_tables, write_report
    from ..tasks.equivariance import MeasureConfig

    random_seed = seed if random_weights else None
    source = open_features(backbone, adapter, strength, features, random_seed, device=device, dtype=dtype.value)
    run = MeasureRun(tuple(objects), views, MeasureConfig(points=points, seed=seed))
    with StageProgress({"render": 0.5, "score": 0.5}) as progress:
        summary = measure_objects(source, run, out, progress)
    page = write_report(out)
    result = {"command": "measure", "summary": summary}
    words = " ".join(summarize_run(read_run(out)).sentences)
    finish(result, [page, out / "summary.json", out / "rows.jsonl"], json, *summary_tables(summary), words)
