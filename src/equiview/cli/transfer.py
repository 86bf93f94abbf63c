"""`equiview transfer`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import bad_input
from ..records import Metric, TransferSummary
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress

PAIRS_HELP = (
    "Score a data set, NAME:PATH. NAME is pf-willow, pf-pascal, pf-pascal-same, spair, spair-val, ap10k, "
    "ap10k-cross-species, ap10k-cross-family, tss or json (your own pairs, PATH is the file)."
)


@app.command(
    short_help="Find key points of one picture in another, or score that on a data set.",
    epilog=examples(
        "equiview transfer mug_a.jpg mug_b.jpg --points 120,80 200,91 --backbone facebook/dinov2-base --out runs/mug",
        "equiview transfer --pairs pf-willow:PF-dataset-WILLOW --backbone equiview/tiny --blocks 4,6,8,10 \\",
        "    --out runs/willow",
        "equiview transfer --pairs json:my_pairs.json --backbone facebook/dinov2-base --adapter runs/mug --out runs/my",
        "equiview transfer --pairs pf-pascal:PF-dataset-PASCAL --localisation paper --backbone facebook/dinov2-base \\",
        "    --out runs/paper",
    ),
)
@command
@with_features()
def transfer(
    features: FeatureOptions,
    out: options.Out,
    images: Annotated[list[Path] | None, typer.Argument(metavar="[A B]", help="Two pictures, with --points.")] = None,
    points: Annotated[
        list[str] | None, typer.Option("--points", metavar="X,Y...", help="Pixels of A, from its corner.")
    ] = None,
    pairs: Annotated[str | None, typer.Option(metavar="NAME:PATH", help=PAIRS_HELP)] = None,
    localisation: Annotated[
        Literal["argmax", "window", "paper"],
        typer.Option(help="argmax with a sub-token fit, window soft-argmax, or the paper's protocol."),
    ] = "argmax",
    flips: Annotated[bool, typer.Option("--flips", help="Try the mirrored source too, keep the better one.")] = False,
    threshold: Annotated[
        Literal["image", "box", "extent"] | None,
        typer.Option(help="Length that PCK is a share of; the data set's own if left out."),
    ] = None,
    engine: options.Engine = "local",
    shard: options.Shard = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Find key points of one picture in another one, or score that on a data set."""
    given = parse_points(points)
    _check_mode(images or [], given, pairs)
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features
    from ..jobs.transfer import protocol_for
    from ..matching.localise import Localise

    where = parse_engine(engine, shard, many=pairs is not None)
    prepared = protocol_for(open_features(features, "coarse"), Localise(localisation), flips)
    if pairs is None:
        assert images is not None
        _two_pictures(prepared, (images[0], images[1]), given, out, json)
    else:
        _data_set(prepared, pairs, threshold, out, where, json)


def _check_mode(images: list[Path], points: list[tuple[float, float]], pairs: str | None) -> None:
    fix = "Give A.jpg B.jpg --points X,Y, or --pairs NAME:PATH."
    if pairs is not None and (images or points):
        raise bad_input("--pairs", "no pictures or points beside it", f"{len(images)} and {len(points)}", fix)
    if pairs is None and (len(images) != 2 or not points):
        raise bad_input("transfer", "two pictures and --points", f"{len(images)} and {len(points)} points", fix)


def parse_points(texts: list[str] | None) -> list[tuple[float, float]]:
    """Read `x,y` pixels; one text may hold several with spaces between.

    Raises:
        EquiviewError: One is not two numbers.
    """
    found = []
    for text in (part for item in texts or [] for part in item.split()):
        x, _, y = text.partition(",")
        try:
            found.append((float(x), float(y)))
        except ValueError:
            fix = "Put the pictures before --points, and write 120,80 200,91."
            raise bad_input("--points", "pixels as x,y", repr(text), fix) from None
    return found


def _two_pictures(
    prepared: Any, images: tuple[Path, Path], points: list[tuple[float, float]], out: Path, json: bool
) -> None:
    import numpy as np

    from ..jobs.transfer import transfer_points

    source, config = prepared
    result = transfer_points(source, images, np.array(points, np.float64), config, out)
    lines = [
        f"{x0:g},{y0:g} -> {x1:.1f},{y1:.1f}   similarity {score:.3f}"
        for (x0, y0), (x1, y1), score in zip(result["xy0"], result["xy1"], result["similarity"], strict=True)
    ]
    finish({"command": "transfer", **result}, [out / "points.png", out / "points.json"], json, "\n".join(lines))


def _data_set(prepared: Any, pairs: str, threshold: Any, out: Path, engine: Any, json: bool) -> None:
    from dataclasses import replace

    from ..jobs.transfer import TransferRun, score_transfer
    from ..metrics.pck import SCORINGS

    source, config = prepared
    usual = SCORINGS.get(pairs.partition(":")[0])
    scoring = replace(usual, threshold=threshold) if usual and threshold else None
    with StageProgress({"transfer": 1.0}) as progress:
        summary = score_transfer(source, TransferRun(pairs, config, scoring), out, progress, engine)
    files = [out / "summary.json", out / "rows.jsonl"]
    finish({"command": "transfer", "summary": summary}, files, json, _words(summary))


def _words(summary: "TransferSummary") -> str:
    lines = [f"{name}  {_score(metric)}" for name, metric in summary["metrics"].items()]
    if "without_self_pairs" in summary:
        lines.append("without pairs of a picture with itself:")
        lines += [f"{name}  {_score(metric)}" for name, metric in summary["without_self_pairs"].items()]
    lines += [f"{count} pairs not scored: {reason}" for reason, count in summary["failed"].items()]
    return "\n".join(lines)


def _score(metric: "Metric") -> str:
    if metric["value"] is None:
        return "no pair scored"
    interval = "" if metric["ci95"] is None else "  [{:.1f}, {:.1f}]".format(*metric["ci95"])
    return f"{metric['value']:.1f} %{interval}  {metric['n']} pairs"
