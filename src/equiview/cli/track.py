"""`equiview track`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import limits
from ..errors import bad_input
from ..records import TrackingSummary
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress


@app.command(
    short_help="Follow points through a video.",
    epilog=examples(
        "equiview track clip.mp4 --points 320,240 100.5,80,12 --backbone facebook/dinov2-base --out runs/clip",
        "equiview track frames/ --points 320,240 --backbone facebook/dinov2-base --adapter runs/mug --out runs/clip",
        "equiview track --benchmark badja:BADJA --backbone facebook/dinov2-base --out runs/badja",
        "equiview track --benchmark tapvid:tapvid_davis.pkl --queries strided -b facebook/dinov2-base --out runs/tap",
    ),
)
@command
@with_features("stride", without=("long_side", "random_weights"))
def track(
    features: FeatureOptions,
    out: options.Out,
    source: Annotated[Path | None, typer.Argument(help="A video file, or a folder of frames.")] = None,
    points: Annotated[
        list[str] | None, typer.Option("--points", metavar="X,Y[,FRAME]...", help="Pixels, and a frame from 0.")
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="badja:FOLDER (badja:FOLDER@annotated=1280x720 where its joints are pixels of another size than "
            "the data set's), tapvid:FILE (or folder of shards) or dinotracker:FOLDER, to score instead."
        ),
    ] = None,
    long_side: Annotated[int, typer.Option(min=16, max=limits.MAX_SIDE, help="Frames are resized to this.")] = 854,
    protocol: Annotated[
        Literal["default", "paper"], typer.Option(help="paper: the published tracker and its thresholds.")
    ] = "default",
    queries: Annotated[Literal["first", "strided"], typer.Option(help="Of tapvid.")] = "first",
    search_px: Annotated[float | None, typer.Option(min=0, help="Search only this near the last position.")] = None,
    smoothing: Annotated[int, typer.Option(min=1, max=limits.MAX_WINDOW, help="Frames of a running median, odd.")] = 1,
    refine: options.Refine = False,
    to: Annotated[
        Literal["tapvid", "cvat", "coco"] | None,
        typer.Option("--to", help="Write the tracks as TAP-Vid's npz, CVAT's XML or COCO's key points too."),
    ] = None,
    engine: options.Engine = "local",
    shard: options.Shard = None,
    json: options.Json = False,
) -> None:
    """Follow points through a video: tracks.json, and the video with the tracks drawn over it.

    A point is believed hidden where its match does not lead back to it, judged by what is usual in this very video.
    """
    from ..data.clips.loaders import OWN_QUERIES, open_clip_set
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features
    from ..jobs.track import open_clip, parse_points, score_tracking, track_points
    from ..matching.tracking import TrackConfig
    from ..report.terminal import tracks_words
    from ..tasks.tracking import TrackingConfig

    _check(source, benchmark, points, to)
    mode: Any = OWN_QUERIES.get((benchmark or "").partition(":")[0], queries)
    tracker = TrackConfig(search_px=search_px, smoothing=smoothing)
    config = TrackingConfig(mode, protocol=protocol, track=tracker, refine=refine)
    features, spread = replace(features, long_side=long_side), parse_engine(engine, shard, many=source is None)
    if source is None:  # Everything cheap is checked before the backbone is loaded.
        clips = open_clip_set(benchmark or "", "--benchmark")[1]
        model = open_features(features)
        with StageProgress() as progress:
            summary = score_tracking(model, clips, config, out, progress, spread)
        _finish_scored(summary, out, json)
    else:
        clip = open_clip(source)
        given = parse_points(points or [], clip)
        model = open_features(features)
        with StageProgress() as progress:
            tracks, files = track_points(model, clip, given, config, out, progress, to)
        finish({"command": "track", "points": len(given)}, files, json, tracks_words(tracks.visible, clip.hw))


def _finish_scored(summary: TrackingSummary, out: Path, json: bool) -> None:
    from ..report.terminal import scores_words

    wrote = [out / "summary.json", out / "rows.jsonl"]
    finish({"command": "track", "summary": summary}, wrote, json, scores_words(summary))


def _check(source: Path | None, benchmark: str | None, points: list[str] | None, to: str | None) -> None:
    """Refuse a video and a benchmark, and what only a video has beside a benchmark."""
    if (source is None) == (benchmark is None):
        raise bad_input("track", "a video or --benchmark", "both" if source else "neither", "Give one of the two.")
    if benchmark is not None and points:
        raise bad_input("--points", "none with --benchmark", ", ".join(points), "A benchmark has its own.")
    if benchmark is not None and to is not None:
        raise bad_input("--to", "none with --benchmark", to, "Track the points of one video to write them.")
