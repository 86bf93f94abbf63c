"""`equiview epipolar`."""

from typing import Annotated

import typer

from .. import limits
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    short_help="A quick look at a capture with poses and no points.",
    epilog=examples(
        "equiview epipolar scene_with_transforms_json/ --blocks 4,6,8,10 --out runs/quick",
        "equiview epipolar dinoSparseRing/ -b facebook/dinov2-base --out runs/dino",
    ),
)
@command
@with_features(backbone="equiview/tiny")
def epipolar(
    features: FeatureOptions,
    capture: Annotated[
        str, typer.Argument(metavar="CAPTURE", help="A folder with posed pictures, see docs/captures.md.")
    ],
    out: options.Out,
    max_angle: Annotated[float, typer.Option(min=1, max=180, help="Pairs of views at most this far apart.")] = 60.0,
    max_pairs: Annotated[
        int, typer.Option(min=1, max=limits.MAX_PAIRS, help="So many of those pairs are drawn.")
    ] = 500,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Share of mutual matches that lie near their epipolar line, against what chance gives: weaker than APE and PCDP.

    A match near its line may still be at the wrong place along it. Compare with --random-weights before believing it.
    """
    from ..jobs.epipolar import measure_epipolar
    from ..jobs.feature_options import open_features
    from ..report.terminal import epipolar_table
    from ..tasks.epipolar import EpipolarConfig

    config = EpipolarConfig(max_angle_deg=max_angle, max_pairs=max_pairs, seed=seed)
    with StageProgress({"epipolar": 1.0}) as progress:
        summary, notes = measure_epipolar(lambda: open_features(features), capture, config, out, progress)
    result = {"command": "epipolar", "summary": summary, "notes": notes}
    finish(result, [out / "summary.json", out / "rows.jsonl"], json, epipolar_table(summary), *notes)
