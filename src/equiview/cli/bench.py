"""`equiview bench`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, parse_blocks
from .feature_options import open_features
from .progress import StageProgress


class Suite(StrEnum):
    """Which data sets."""

    SYNTHETIC = "synthetic"
    REAL = "real"


class Size(StrEnum):
    """How much of the synthetic suite."""

    SMALL = "small"
    FULL = "full"


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
def bench(
    backbone: options.Backbone,
    out: options.Out,
    adapter: options.Adapter = None,
    strength: options.Strength = None,
    blocks: options.Blocks = None,
    average: Annotated[bool, typer.Option("--average", help="Mean of 3x3 tokens, where there is no adapter.")] = False,
    tasks: Annotated[str, typer.Option(help="Some of pose,track,transfer.")] = "pose,track,transfer",
    suite: Annotated[
        Suite, typer.Option(help="synthetic: rendered, no download. real: what lies under --root.")
    ] = Suite.SYNTHETIC,
    root: Annotated[Path | None, typer.Option(help="Folder of real data sets, looked into three levels deep.")] = None,
    size: Annotated[Size, typer.Option(help="Of the synthetic suite.")] = Size.SMALL,
    long_side: Annotated[
        int | None, typer.Option(min=16, help="Pictures are resized to this; 640 (real videos 854) if left out.")
    ] = None,
    thorough: options.Thorough = False,
    random_weights: options.RandomWeights = False,
    dtype: options.WeightsDtype = options.Dtype.FLOAT32,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure one-shot pose, point tracking and semantic transfer with one backbone, on many data sets."""
    from ..errors import bad_input
    from ..jobs.bench import SIZES, BenchConfig
    from ..jobs.bench import bench as run_bench
    from ..report.bench import bench_table, missing_words, write_bench_report

    names: Any = tuple(part.strip() for part in tasks.split(","))
    where = None if root is None else str(root)
    config = BenchConfig(suite.value, names, where, SIZES[size.value], seed, long_side)  # type: ignore[arg-type]
    if root is not None and not root.is_dir():
        raise bad_input(str(root), "the folder that holds the data sets", "nothing there", "Check --root.")
    if average and adapter is not None:
        raise bad_input("--average", "no --adapter beside it", str(adapter), "An adapter brings its own head.")
    features: dict[str, Any] = {"blocks": parse_blocks(blocks), "thorough": thorough}
    random_seed = seed if random_weights else None
    source = open_features(backbone, adapter, strength, features, random_seed, device=device, dtype=dtype.value)
    if average:
        from ..models.heads import AverageHead

        source.head = AverageHead()
    with StageProgress({"bench": 1.0}) as progress:
        summary = run_bench(source, out, config, progress)
    page = write_bench_report(out)
    result = {"command": "bench", "summary": summary}
    finish(result, [page, out / "summary.json"], json, bench_table(summary), missing_words(summary) or None)
