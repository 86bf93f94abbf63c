"""`equiview retain`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress

WEIGHTS = {"drift": 0.15, "equivariance": 0.35, "transfer": 0.2, "tracking": 0.3}

Adapter = Annotated[Path, typer.Option("--adapter", help=options.ADAPTER_HELP)]
STRENGTHS_HELP = "0 to 1, and 0 in any case; 0 0.25 0.5 0.75 1 and the one it was saved at if left out."
Strengths = Annotated[
    list[float] | None,
    typer.Option("--strengths", metavar="S...", help=STRENGTHS_HELP),
]
Tolerance = Annotated[
    float, typer.Option(min=0, help="Points of PCK@0.10 that may be lost at the recommended strength.")
]
Photos = Annotated[Path | None, typer.Option(help="Folder of unlabeled images for the drift; drawn if left out.")]
OBJECTS_HELP = f"{options.OBJECT_HELP} The built-in ones it was not trained on if left out."
Objects = Annotated[list[str] | None, typer.Option("--objects", metavar="X...", help=OBJECTS_HELP)]
PAIRS_HELP = (
    "Pairs for semantic transfer, such as pf-willow:FOLDER (see transfer); rendered if left out, which recommends no "
    "strength for adapters of default, thorough and lora-and-head: they trained on such pictures."
)
Pairs = Annotated[str | None, typer.Option(metavar="NAME:PATH", help=PAIRS_HELP)]
Clips = Annotated[str | None, typer.Option(help="badja:FOLDER or tapvid:FILE for tracking; rendered if left out.")]


@app.command(
    short_help="What an adapter costs elsewhere, and how strongly to apply it.",
    epilog=examples(
        "equiview retain --backbone equiview/tiny --adapter runs/tiny-mug --out runs/tiny-retain",
        "equiview retain --backbone facebook/dinov2-base --adapter runs/mug --photos PHOTOS \\",
        "    --pairs pf-willow:PF-dataset-WILLOW --clips badja:BADJA --out runs/mug-retain",
        "equiview retain --backbone equiview/tiny --adapter runs/tiny-mug --strengths 1 --tolerance 2 --out runs/two",
    ),
)
@command
def retain(
    backbone: options.Backbone,
    adapter: Adapter,
    out: options.Out,
    strengths: Strengths = None,
    tolerance: Tolerance = 1.0,
    photos: Photos = None,
    objects: Objects = None,
    pairs: Pairs = None,
    clips: Clips = None,
    views: options.Views = 6,
    points: options.Points = 300,
    long_side: options.LongSide = None,
    dtype: options.WeightsDtype = "float32",
    device: options.Device = "auto",
    engine: options.Engine = "local",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure what an adapter costs elsewhere, at several strengths between the base features and the adapted ones.

    Drift on unlabeled images, equivariance on objects it was not trained on, semantic transfer and tracking, each with
    the change from strength 0; a page with the trade-off, and the strength that keeps what was asked to be kept.
    """
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import quiet_transformers, resolve_device
    from ..jobs.retention import STRENGTHS, RetentionConfig, measure_retention
    from ..report.retention import retention_table, write_retention_page

    quiet_transformers()
    config = RetentionConfig(
        strengths=tuple(strengths) if strengths else STRENGTHS,
        tolerance=tolerance,
        photos=None if photos is None else str(photos),
        objects=tuple(objects or ()),
        pairs=pairs,
        clips=clips,
        views=views,
        points=points,
        seed=seed,
    )
    spread = parse_engine(engine)
    where = {"device": resolve_device(device), "dtype": dtype}
    with StageProgress(WEIGHTS) as progress:
        result = measure_retention(
            backbone, adapter, out, config, **where, long_side=long_side, progress=progress, engine=spread
        )
    page = write_retention_page(result, out / "retention.html")
    words = "\n".join(["", *result["reading"]["lead"]])
    finish({"command": "retain", **result}, [page, out / "retention.json"], json, retention_table(result), words)
