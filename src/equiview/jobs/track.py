"""The jobs behind `equiview track`: follow given points through a video, or score a set of clips, resumable."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..data.clips.frames import open_frames
from ..data.clips.video import open_video
from ..draw.tracks import write_overlay
from ..errors import bad_input
from ..formats.tracks import WRITERS, To, TrackedClip
from ..io import read_jsonl, write_json
from ..matching.tracking import Queries, Tracks
from ..models.adapters.folder import versions
from ..models.extractor import Extractor
from ..records import ProtocolRecord, RunRecord, TrackingSummary, TrackRecord, TracksRecord
from ..tasks.tracking import TrackingConfig, follow, protocol_of, run, summarize
from ..types import Clip
from .engine import LOCAL, Engine
from .run_folder import Progress, claim_folder
from .scoring import UNITS_LOG, WorkItem, finish_items, rows_path, write_rows


def open_clip(source: Path) -> Clip:
    """Open a video file or a folder of frames.

    Raises:
        EquiviewError: It is missing or broken.
    """
    return open_frames(source) if source.is_dir() else open_video(source)


def parse_points(texts: Sequence[str], clip: Clip) -> Queries:
    """Read `x,y` and `x,y,frame`.

    Raises:
        EquiviewError: No points, text that is none, or one outside the clip.
    """
    xy, frames = [], []
    for text in texts:
        try:
            x, y, *rest = (float(part) for part in text.split(","))
            frame = int(rest[0]) if rest else 0
        except (ValueError, OverflowError):
            x, y, rest, frame = float("nan"), float("nan"), [], 0
        if len(rest) > 1 or not np.isfinite([x, y]).all() or (rest and rest[0] != frame):
            raise bad_input("--points", "x,y or x,y,frame", repr(text), "For instance --points 320,240 100.5,80,12.")
        xy.append((x, y))
        frames.append(frame)
    queries = Queries(np.array(xy, float).reshape(-1, 2), np.array(frames, int))
    queries.check(clip.hw, len(clip.frames))
    return queries


def track_points(
    model: Extractor,
    clip: Clip,
    queries: Queries,
    config: TrackingConfig,
    out: Path,
    progress: Progress | None = None,
    to: To | None = None,
) -> tuple[Tracks, list[Path]]:
    """Track given points and write tracks.json and the video with the tracks over it.

    Args:
        model: Features.
        clip: The video.
        queries: Its points.
        config: How they are tracked.
        out: The folder.
        progress: Called with ("track", done, total).
        to: Another form that the tracks are written in too, see `formats.tracks`.

    Returns:
        The tracks, and what was written: JSON, video (or the folder of frames where no video can be written), and that
        other form.
    """
    tracks = follow(model, clip, queries, config, None if progress is None else partial(progress, "track"))
    write_json(out / "tracks.json", {**tracks_as_json(clip, queries, tracks), "protocol": protocol_of(model, config)})
    wrote = [out / "tracks.json", write_overlay(out, clip.frames, tracks)]
    if to is not None:
        name, write = WRITERS[to]
        write(out / name, TrackedClip(clip.name, clip.hw, frame_names(clip), queries, tracks))
        wrote.append(out / name)
    return tracks, wrote


def frame_names(clip: Clip) -> list[str]:
    """Return the names of a clip's frames: their files', or for a video those that CVAT gives them."""
    paths = getattr(clip.frames, "paths", None)
    return [f"frame_{i:06d}.PNG" for i in range(len(clip.frames))] if paths is None else [one.name for one in paths]


def tracks_as_json(clip: Clip, queries: Queries, tracks: Tracks) -> TracksRecord:
    """Return tracks as JSON: a list of points, each with its positions, visibility and scores by frame."""
    points: list[TrackRecord] = []
    for number in range(len(queries)):
        x, y = queries.xy[number].tolist()
        points.append(
            {
                "query": {"x": x, "y": y, "frame": int(queries.frame[number])},
                "xy": tracks.xy[number].round(3).tolist(),
                "visible": tracks.visible[number].tolist(),
                "score": tracks.score[number].round(4).tolist(),
                "cycle_px": tracks.cycle_px[number].round(3).tolist(),
            }
        )
    return {"clip": clip.name, "hw": list(clip.hw), "frames": len(clip.frames), "points": points}


def score_tracking(
    model: Extractor,
    clips: Sequence[Clip],
    config: TrackingConfig,
    out: Path,
    progress: Progress | None = None,
    engine: Engine = LOCAL,
) -> TrackingSummary:
    """Track every clip whose rows are not there yet, and write rows.jsonl and summary.json.

    Returns:
        The content of summary.json.

    Raises:
        EquiviewError: Two clips of one name, or a folder that holds another run.
    """
    names = [clip.name for clip in clips]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_input("clips", "every clip under a name of its own", f"{', '.join(twice)} twice", "Rename one.")
    mine = engine.share(clips, "clips")
    what = {"tracking": config.record(), "clips": names, "features": model.describe()}
    claim_folder(out, what | engine.record("track", names))
    frames = progress if engine.inside else None
    items = [WorkItem(rows_path(out, one.name), partial(run, model, [one], config, frames)) for one in mine]
    finish_items(items, None if progress is None else partial(progress, "clips"), engine, log=out / UNITS_LOG)
    more: RunRecord = {"versions": versions(), "clips": names, **engine.words}
    return end_tracking(out, [one.name for one in mine], protocol_of(model, config, **more))


def end_tracking(out: Path, names: Sequence[str], protocol: ProtocolRecord) -> TrackingSummary:
    """Write rows.jsonl and summary.json of finished clips."""
    rows = [row for name in names for row in read_jsonl(rows_path(out, name))]
    write_rows(out / "rows.jsonl", rows)
    summary = summarize(rows, protocol)
    write_json(out / "summary.json", summary)
    return summary
