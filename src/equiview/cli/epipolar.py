"""`equiview epipolar`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, parse_blocks
from .feature_options import open_features
from .progress import StageProgress

if TYPE_CHECKING:
    from rich.table import Table


@app.command(
    short_help="A quick look at a capture with poses and no points.",
    epilog=examples(
        "equiview epipolar scene_with_transforms_json/ --blocks 4,6,8,10 --out runs/quick",
        "equiview epipolar dinoSparseRing/ -b facebook/dinov2-base --out runs/dino",
    ),
)
@command
def epipolar(
    capture: Annotated[
        str, typer.Argument(metavar="CAPTURE", help="A folder with posed pictures, see docs/captures.md.")
    ],
    out: options.Out,
    backbone: options.Backbone = "equiview/tiny",
    adapter: options.Adapter = None,
    strength: options.Strength = None,
    blocks: options.Blocks = None,
    long_side: options.LongSide = None,
    thorough: options.Thorough = False,
    max_angle: Annotated[float, typer.Option(min=1, max=180, help="Pairs of views at most this far apart.")] = 60.0,
    max_pairs: Annotated[int, typer.Option(min=1, help="So many of those pairs are drawn.")] = 500,
    random_weights: options.RandomWeights = False,
    dtype: options.WeightsDtype = options.Dtype.FLOAT32,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Share of mutual matches that lie near their epipolar line, against what chance gives: weaker than APE and PCDP.

    A match near its line may still be at the wrong place along it. Compare with --random-weights before believing it.
    """
    from ..data.captures.opening import open_capture
    from ..io import write_json
    from ..jobs.run_folder import write_rows
    from ..tasks.epipolar import EpipolarConfig, score_epipolar

    features = {"blocks": parse_blocks(blocks), "long_side": long_side, "thorough": thorough}
    opened = open_capture(capture)
    random_seed = seed if random_weights else None
    source = open_features(backbone, adapter, strength, features, random_seed, device=device, dtype=dtype.value)
    config = EpipolarConfig(max_angle_deg=max_angle, max_pairs=max_pairs, seed=seed)
    with StageProgress({"epipolar": 1.0}) as progress:
        rows, summary = score_epipolar(source, opened, config, progress)
    write_rows(out / "rows.jsonl", rows)
    write_json(out / "summary.json", summary)
    result = {"command": "epipolar", "summary": summary, "notes": list(opened.notes)}
    finish(result, [out / "summary.json", out / "rows.jsonl"], json, _table(summary), *opened.notes)


def _table(summary: dict[str, Any]) -> "Table":
    from rich.table import Table

    from ..report.numbers import interval, number

    table = Table(title="Mutual matches near their epipolar line, percent", title_justify="left")
    for title in ("within", "share", "chance", "above chance", "95 % over pairs", "pairs"):
        table.add_column(title, justify="right")
    for key, entry in summary["metrics"].items():
        name, _, within = key.partition("@")
        if name == "epipolar_inliers":
            chance, above = (summary["metrics"][f"epipolar_{kind}@{within}"] for kind in ("chance", "above_chance"))
            values = (number(one["value"], 1) for one in (entry, chance, above))
            table.add_row(within, *values, interval(above["ci95"], 1), str(entry["n"]))
    return table
