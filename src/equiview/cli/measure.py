"""`equiview measure`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, parse_blocks, quiet_transformers, resolve_device
from .progress import StageProgress

if TYPE_CHECKING:
    from ..features import Extractor


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
    views: options.Views = 12,
    points: Annotated[int, typer.Option(min=1, help="Surface points sampled in each view.")] = 1000,
    blocks: options.Blocks = None,
    norm: Annotated[bool | None, typer.Option("--norm/--no-norm", help="The final LayerNorm on every block.")] = None,
    long_side: options.LongSide = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Patch stride; the patch size if left out.")] = None,
    position: Annotated[options.Position | None, typer.Option(help="How positions are resized.")] = None,
    random_weights: options.RandomWeights = False,
    dtype: options.WeightsDtype = options.Dtype.FLOAT32,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure how well features agree between views, on any objects."""
    features: dict[str, Any] = {"blocks": parse_blocks(blocks), "norm": norm, "long_side": long_side, "stride": stride}
    features |= {"position": None if position is None else position.value}
    from ..measuring import MeasureRun, measure_objects
    from ..report import read_run, summarize_run, summary_tables, write_report
    from ..tasks.equivariance import MeasureConfig

    quiet_transformers()
    where = {"device": resolve_device(device), "dtype": dtype.value}
    source = open_features(backbone, adapter, features, seed if random_weights else None, **where)
    run = MeasureRun(tuple(objects), views, MeasureConfig(points=points, seed=seed))
    with StageProgress({"render": 0.5, "score": 0.5}) as progress:
        summary = measure_objects(source, run, out, progress)
    page = write_report(out)
    result = {"command": "measure", "summary": summary}
    words = " ".join(summarize_run(read_run(out)).sentences)
    finish(result, [page, out / "summary.json", out / "rows.jsonl"], json, *summary_tables(summary), words)


def open_features(
    backbone: str, adapter: Path | None, features: dict[str, Any], random_seed: int | None, *, device: str, dtype: str
) -> "Extractor":
    """Load what is measured.

    Args:
        backbone: Its name.
        adapter: Its folder, if there is one.
        features: Settings of `FeatureConfig`; those that are None were not given.
        random_seed: Of random weights; None for the backbone's own.
        device: Where it runs.
        dtype: Of the weights.

    Raises:
        EquiviewError: It cannot be loaded, or an adapter is asked for on random weights.
    """
    import torch

    from ..backbones import load_backbone
    from ..errors import bad_input
    from ..features import Extractor, FeatureConfig
    from ..loading import load

    kind = getattr(torch, dtype)
    features = {name: value for name, value in features.items() if value is not None}
    if random_seed is None:
        return load(backbone, adapter=adapter, device=device, dtype=kind, **features)
    if adapter is not None:
        raise bad_input("--random-weights", "no --adapter beside it", str(adapter), "Leave one of the two out.")
    model = load_backbone(backbone, device=device, dtype=kind, random_weights_seed=random_seed)
    return Extractor(model, FeatureConfig(**features)).eval()
