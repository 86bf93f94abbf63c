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
    short_help="Measure pose, tracking, transfer and viewpoint recall on many data sets.",
    epilog=examples(
        "equiview bench --backbone equiview/tiny --out runs/tiny",
        "equiview bench --backbone facebook/dinov2-base --adapter runs/mug --out runs/mug-bench",
        "equiview bench --backbone weights/deit-tiny --blocks 4,6,8,10 --average --suite real --root data \\",
        "    --out runs/real",
        "equiview bench --backbone equiview/tiny --tasks recall --suite real --root captures --out runs/recall",
        "equiview compare runs/tiny runs/other",
    ),
)
@command
@with_features("average", without=("long_side",))
def bench(
    features: FeatureOptions,
    out: options.Out,
    tasks: Annotated[
        str | None,
        typer.Option(help="Some of pose,track,transfer,recall; the first three (or those of --protocol) if left out."),
    ] = None,
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
    protocol: Annotated[
        str | None,
        typer.Option(help="A published one (see equiview protocols), with the scores its authors report beside yours."),
    ] = None,
    to: Annotated[
        Literal["omniprobe"] | None,
        typer.Option(help="Also write the scores as OmniProbe's results (NAVI, ScanNet's pairs, TAP-Vid-DAVIS)."),
    ] = None,
    engine: options.Engine = "local",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure one-shot pose, point tracking, semantic transfer and viewpoint recall with one backbone.

    Recall is measured where --tasks names it: on rendered objects, NAVI, scannet_test_1500, and any captures.
    """
    from ..errors import bad_input
    from ..jobs.bench import SIZES, USUAL_TASKS, BenchConfig, tasks_of, write_omniprobe
    from ..jobs.bench import bench as run_bench
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features
    from ..report.bench import bench_table, missing_words, published_words, write_bench_report

    usual = USUAL_TASKS if protocol is None else tasks_of(protocol)
    names: Any = usual if tasks is None else tuple(part.strip() for part in tasks.split(","))
    where = None if root is None else str(root)
    config = BenchConfig(suite, names, where, SIZES[size], seed, long_side, protocol)
    if root is not None and not root.is_dir():
        raise bad_input(str(root), "the folder that holds the data sets", "nothing there", "Check --root.")
    if features.average and features.adapter is not None:
        raise bad_input("--average", "no --adapter beside it", str(features.adapter), "An adapter brings its own head.")
    spread = parse_engine(engine)
    source = open_features(features)
    with StageProgress({"bench": 1.0}) as progress:
        summary = run_bench(source, out, config, progress, spread)
    files = [write_bench_report(out), out / "summary.json"]
    files += [] if to is None else [write_omniprobe(out, summary)]
    result = {"command": "bench", "summary": summary}
    words = [published_words(summary) or None, missing_words(summary) or None]
    finish(result, files, json, bench_table(summary), *words)
