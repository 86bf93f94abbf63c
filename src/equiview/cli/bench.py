"""`equiview bench`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import limits
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    short_help="Measure pose, tracking and transfer on many data sets.",
    epilog=examples(
        "equiview bench --backbone equiview/tiny --out runs/tiny",
        "equiview bench --backbone facebook/dinov2-base --adapter runs/mug --out runs/mug-bench",
        "equiview bench --backbone weights/deit-tiny --blocks 4,6,8,10 --average --suite real --root data \\",
        "    --out runs/real",
        "equiview compare runs/tiny runs/other",
    ),
)
@command
@with_features("average", without=("long_side",))
def bench(
    features: FeatureOptions,
    out: options.Out,
    tasks: Annotated[str, typer.Option(help="Some of pose,track,transfer.")] = "pose,track,transfer",
    suite: Annotated[
        Literal["synthetic", "real"],
        typer.Option(help="synthetic: rendered, no download. real: what lies under --root."),
    ] = "synthetic",
    root: Annotated[Path | None, typer.Option(help="Folder of real data sets, looked into three levels deep.")] = None,
    size: Annotated[Literal["small", "full"], typer.Option(help="Of the synthetic suite.")] = "small",
    long_side: Annotated[
        int | None,
        typer.Option(
            min=16, max=limits.MAX_SIDE, help="Pictures are resized to this; 640 (real videos 854) if left out."
        ),
    ] = None,
    engine: options.Engine = "local",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure one-shot pose, point tracking and semantic transfer with one backbone, on many data sets."""
    from ..errors import bad_input
    from ..jobs.bench import SIZES, BenchConfig
    from ..jobs.bench import bench as run_bench
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features
    from ..report.bench import bench_table, missing_words, write_bench_report

    names: Any = tuple(part.strip() for part in tasks.split(","))
    where = None if root is None else str(root)
    config = BenchConfig(suite, names, where, SIZES[size], seed, long_side)
    if root is not None and not root.is_dir():
        raise bad_input(str(root), "the folder that holds the data sets", "nothing there", "Check --root.")
    if features.average and features.adapter is not None:
        raise bad_input("--average", "no --adapter beside it", str(features.adapter), "An adapter brings its own head.")
    spread = parse_engine(engine)
    source = open_features(features)
    with StageProgress({"bench": 1.0}) as progress:
        summary = run_bench(source, out, config, progress, spread)
    page = write_bench_report(out)
    result = {"command": "bench", "summary": summary}
    finish(result, [page, out / "summary.json"], json, bench_table(summary), missing_words(summary) or None)
