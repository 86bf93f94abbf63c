"""`equiview track`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, parse_blocks
from .feature_options import open_features
from .progress import StageProgress

if TYPE_CHECKING:
    from ..matching.tracking import Queries, Tracks
    from ..models.extractor import Extractor
    from ..tasks.tracking import TrackingConfig
    from ..types import Clip


class Protocol(StrEnum):
    """Which tracker."""

    DEFAULT = "default"
    PAPER = "paper"


class QueryMode(StrEnum):
    """Which points of TAP-Vid are followed, and which frames count."""

    FIRST = "first"
    STRIDED = "strided"


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
def track(
    backbone: options.Backbone,
    out: options.Out,
    source: Annotated[Path | None, typer.Argument(help="A video file, or a folder of frames.")] = None,
    points: Annotated[
        list[str] | None, typer.Option("--points", metavar="X,Y[,FRAME]...", help="Pixels, and a frame from 0.")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="badja:FOLDER or tapvid:FILE (or folder of shards), to score instead.")
    ] = None,
    adapter: options.Adapter = None,
    strength: options.Strength = None,
    blocks: options.Blocks = None,
    long_side: Annotated[int, typer.Option(min=16, help="Frames are resized to this.")] = 854,
    thorough: options.Thorough = False,
    stride: Annotated[int | None, typer.Option(min=1, help="Patch stride; the patch size if left out.")] = None,
    protocol: Annotated[Protocol, typer.Option(help="paper: the published tracker and its thresholds.")] = (
        Protocol.DEFAULT
    ),
    queries: Annotated[QueryMode, typer.Option(help="Of tapvid.")] = QueryMode.FIRST,
    search_px: Annotated[float | None, typer.Option(min=0, help="Search only this near the last position.")] = None,
    smoothing: Annotated[int, typer.Option(min=1, help="Frames of a running median, odd.")] = 1,
    dtype: options.WeightsDtype = options.Dtype.FLOAT32,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Follow points through a video: tracks.json, and the video with the tracks drawn over it.

    A point is believed hidden where its match does not lead back to it, judged by what is usual in this very video.
    """
    from ..errors import bad_input
    from ..matching.tracking import TrackConfig
    from ..tasks.tracking import TrackingConfig

    if (source is None) == (benchmark is None):
        raise bad_input("track", "a video or --benchmark", "both" if source else "neither", "Give one of the two.")
    if benchmark is not None and points:
        raise bad_input("--points", "none with --benchmark", ", ".join(points), "A benchmark has its own.")
    # The enums hold exactly the values the configuration allows.
    mode: Any = "first_annotated" if (benchmark or "").startswith("badja:") else queries.value
    tracker: Any = protocol.value
    config = TrackingConfig(mode, protocol=tracker, track=TrackConfig(search_px=search_px, smoothing=smoothing))
    # Everything cheap is checked before the backbone is loaded.
    clips = list(open_clips(source, benchmark))
    given = parse_points(points or [], clips[0]) if source is not None else None
    features: dict[str, Any] = {
        "long_side": long_side,
        "thorough": thorough,
        "stride": stride,
        "blocks": parse_blocks(blocks or None),
    }
    model = open_features(backbone, adapter, strength, features, device=device, dtype=dtype.value)
    if given is None:
        score_benchmark(model, clips, config, out, json)
    else:
        track_video(model, clips[0], given, config, out, json)


def open_clips(source: Path | None, benchmark: str | None) -> "list[Clip]":
    """Open what is tracked.

    Raises:
        EquiviewError: It is missing, broken, or a benchmark of another name.
    """
    from ..data.clips.badja import open_badja
    from ..data.clips.frames import open_frames
    from ..data.clips.tapvid import open_tapvid
    from ..data.clips.video import open_video
    from ..errors import bad_input

    if source is not None:
        return [open_frames(source) if source.is_dir() else open_video(source)]
    kind, _, where = (benchmark or "").partition(":")
    if kind == "badja" and where:
        return open_badja(Path(where))
    if kind == "tapvid" and where:
        return list(open_tapvid(Path(where)))
    raise bad_input("--benchmark", "badja:FOLDER or tapvid:FILE", repr(benchmark), "Check the spelling.")


def parse_points(texts: list[str], clip: "Clip") -> "Queries":
    """Read `x,y` and `x,y,frame`.

    Raises:
        EquiviewError: No points, text that is none, or one outside the clip.
    """
    import numpy as np

    from ..errors import bad_input
    from ..matching.tracking import Queries

    xy, frames = [], []
    for text in texts:
        try:
            x, y, *rest = (float(part) for part in text.split(","))
            frame = int(rest[0]) if rest else 0
        except ValueError:
            x, y, rest, frame = float("nan"), float("nan"), [], 0
        if len(rest) > 1 or not np.isfinite([x, y]).all() or (rest and rest[0] != frame):
            raise bad_input("--points", "x,y or x,y,frame", repr(text), "For instance --points 320,240 100.5,80,12.")
        xy.append((x, y))
        frames.append(frame)
    queries = Queries(np.array(xy, float).reshape(-1, 2), np.array(frames, int))
    queries.check(clip.hw, len(clip.frames))
    return queries


def track_video(
    model: "Extractor", clip: "Clip", queries: "Queries", config: "TrackingConfig", out: Path, as_json: bool
) -> None:
    """Track the given points and write tracks.json and the overlay."""
    from ..draw.tracks import write_overlay
    from ..io import write_json
    from ..tasks.tracking import follow, protocol_of

    with StageProgress() as progress:
        tracks = follow(model, clip, queries, config, lambda done, total: progress("track", done, total))
    result = tracks_as_json(clip, queries, tracks) | {"protocol": protocol_of(model, config)}
    write_json(out / "tracks.json", result)
    video = write_overlay(out, clip.frames, tracks)
    seen = f"{100 * float(tracks.visible.mean()):.0f} % of {tracks.visible.size} positions are believed visible."
    words = f"{len(queries)} points through {len(clip.frames)} frames of {clip.hw[1]}x{clip.hw[0]} pixels. {seen}"
    finish({"command": "track", "points": len(queries)}, [out / "tracks.json", video], as_json, words)


def tracks_as_json(clip: "Clip", queries: "Queries", tracks: "Tracks") -> dict[str, Any]:
    """Return tracks as JSON: a list of points, each with its positions, visibility and scores by frame."""
    points = []
    for number in range(len(queries)):
        x, y = queries.xy[number].tolist()
        point: dict[str, Any] = {"query": {"x": x, "y": y, "frame": int(queries.frame[number])}}
        point |= {"xy": tracks.xy[number].round(3).tolist(), "visible": tracks.visible[number].tolist()}
        point |= {
            "score": tracks.score[number].round(4).tolist(),
            "cycle_px": tracks.cycle_px[number].round(3).tolist(),
        }
        points.append(point)
    return {"clip": clip.name, "hw": list(clip.hw), "frames": len(clip.frames), "points": points}


def score_benchmark(
    model: "Extractor", clips: "list[Clip]", config: "TrackingConfig", out: Path, as_json: bool
) -> None:
    """Track every clip whose rows are not there yet, and write rows.jsonl and summary.json."""
    from dataclasses import asdict

    from ..io import read_jsonl, write_json
    from ..jobs.run_folder import claim_folder, rows_path, write_rows
    from ..models.adapters.folder import versions
    from ..tasks.tracking import protocol_of, run, summarize

    names = [clip.name for clip in clips]
    claim_folder(out, {"tracking": asdict(config), "clips": names, "features": model.describe()})
    with StageProgress() as progress:
        for clip in clips:
            if not rows_path(out, clip.name).exists():
                write_rows(rows_path(out, clip.name), run(model, [clip], config, progress))
    rows = [row for name in names for row in read_jsonl(rows_path(out, name))]
    write_rows(out / "rows.jsonl", rows)
    summary = summarize(rows, protocol_of(model, config, versions=versions(), clips=names))
    write_json(out / "summary.json", summary)
    finish(
        {"command": "track", "summary": summary}, [out / "summary.json", out / "rows.jsonl"], as_json, words_of(summary)
    )


def words_of(summary: dict[str, Any]) -> str:
    """Return the scores as lines of text."""
    lines = []
    for name, metric in summary["metrics"].items():
        if metric["value"] is not None:
            low_high = "" if metric["ci95"] is None else " (95 %: {:.3f} to {:.3f})".format(*metric["ci95"])
            lines.append(f"{name:20s} {metric['value']:8.3f}{low_high}  n = {metric['n']}")
    return "\n".join(lines)
