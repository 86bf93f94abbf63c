"""`equiview measure`."""

from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    short_help="Measure how well features agree between views.",
    epilog=examples(
        "equiview measure --backbone facebook/dinov2-base --objects mug.glb drill.glb --out runs/dinov2",
        "equiview measure --backbone facebook/dinov2-base --adapter runs/mug --objects cup.glb --out runs/cup",
        "equiview measure --backbone facebook/dinov2-base --objects mug.glb --refine --out runs/refined",
        "equiview measure --backbone equiview/tiny --blocks 4,6,8,10 --objects builtin:mug --out runs/blocks",
        "equiview measure --backbone facebook/dinov2-base --objects objaverse/10k.txt --engine process:8 --dry-run \\",
        "    --out runs/objaverse",
    ),
)
@command
@with_features("norm", "stride", "position")
def measure(
    features: FeatureOptions,
    objects: Annotated[list[str], typer.Option("--objects", metavar="X...", help=options.LISTS_HELP)],
    out: options.Out,
    views: options.Views = 12,
    points: options.Points = 1000,
    engine: options.Engine = "local",
    shard: options.Shard = None,
    dry_run: options.DryRun = False,
    seed: options.Seed = 0,
    refine: options.Refine = False,
    json: options.Json = False,
) -> None:
    """Measure how well features agree between views, on any objects."""
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features
    from ..jobs.measure import MeasureRun, measure_objects
    from ..report import read_run, summarize_run, summary_tables, write_report
    from ..tasks.equivariance import MeasureConfig

    run = MeasureRun(tuple(objects), views, MeasureConfig(points=points, seed=seed, refine=refine))
    where = parse_engine(engine, shard)
    if dry_run:
        from ..jobs.measure import plan_measure
        from ..jobs.plan import plan_words

        plan = plan_measure(open_features(features), run, out, where)
        finish({"command": "measure", "plan": plan}, [out / "rows"], json, plan_words(plan))
        return
    with StageProgress({"render": 0.5, "score": 0.5} if where.inside else {"score": 1.0}) as progress:
        summary = measure_objects(open_features(features), run, out, progress, where)
    page = write_report(out)
    result = {"command": "measure", "summary": summary}
    words = " ".join(summarize_run(read_run(out)).sentences)
    finish(result, [page, out / "summary.json", out / "rows.jsonl"], json, *summary_tables(summary), words)
