"""Point tracking: follow the query points of clips whose tracks are known, and score what comes back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal, TypedDict, Unpack, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ..errors import bad_input
from ..matching.tracking import LazyMaps, Queries, RefinedMaps, TrackConfig, Tracks, track, track_paper
from ..metrics.tapvid import (
    FINE_METRICS,
    RASTER,
    Mode,
    error_at_height_px,
    evaluated_frames,
    sample_queries,
    tapvid_metrics,
    to_raster,
)
from ..models.extractor import MapSource
from ..records import FeaturesRecord, Metric, Metrics, ProtocolRecord, RunRecord, Settings, TrackingRow, TrackingSummary
from ..sampling import nearest_centers
from ..stats import MIN_SAMPLING_UNITS, cluster_ci95, mean_with_ci
from ..types import Clip, FeatureMap

CLIP_METRICS = ("average_jaccard", "delta_avg", "occlusion_accuracy")
HIT_PX = 8
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrackingConfig:
    """The protocol of a measurement.

    Attributes:
        queries: `first` (each track's first visible frame, later frames count), `strided` (every fifth frame, all other
            frames count), or `first_annotated` (points visible in the first annotated frame, BADJA).
        query_stride: Frames between the queries of `strided`.
        protocol: `default`, or `paper` for the published tracker with its fixed thresholds.
        track: How points are followed (not used by `paper`).
        refine: Look again, closer, at the part of each frame that holds the points (not used by `paper`).
    """

    queries: Literal["first", "strided", "first_annotated"] = "first"
    query_stride: int = 5
    protocol: Literal["default", "paper"] = "default"
    track: TrackConfig = TrackConfig()
    refine: bool = False

    def record(self) -> Settings:
        """Return it as runs record it; those of before there was a second look are what they were."""
        return {key: value for key, value in asdict(self).items() if key != "refine" or value}


def queries_of(clip: Clip, config: TrackingConfig) -> tuple[Int[np.ndarray, "q"], Queries]:
    """Return which track each query follows, and the queries."""
    seen = clip.visible & clip.known
    if config.queries == "first_annotated":
        first = int(clip.known.any(0).argmax())
        points = np.flatnonzero(seen[:, first])
        frames = np.full(len(points), first)
    else:
        points, frames = sample_queries(seen, config.queries, config.query_stride)
    return points, Queries(clip.xy[points, frames], frames)


def counted_frames(
    clip: Clip, points: Int[np.ndarray, "q"], queries: Queries, config: TrackingConfig
) -> Bool[np.ndarray, "q t"]:
    """Return which (query, frame) pairs are scored: annotated ones, the query's own never."""
    mode: Mode = "strided" if config.queries == "strided" else "first"
    return evaluated_frames(queries.frame, clip.known.shape[1], mode) & clip.known[points]


def run(
    source: MapSource, clips: Iterable[Clip], config: TrackingConfig, progress: Progress | None = None
) -> list[TrackingRow]:
    """Track every clip and return its rows: one for the clip, one for every query point.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        clips: With true tracks.
        config: The protocol.
        progress: Called with ("track CLIP", frames done, frames).

    Returns:
        See `score_clip`; a clip without a query point is a row with `failed`.
    """
    return [row for rows in samples(source, clips, config, progress) for row in rows]


def samples(
    source: MapSource,
    clips: Iterable[Clip],
    config: TrackingConfig,
    progress: Progress | None = None,
    start: int = 0,
) -> Iterator[list[TrackingRow]]:
    """Yield what `run` returns clip by clip, without the first `start`."""
    for clip in islice(clips, start, None):
        points, queries = queries_of(clip, config)
        if len(queries) == 0:
            yield [{"kind": "clip", "clip": clip.name, "failed": "no visible point to start from"}]
            continue
        done = None if progress is None else _named(progress, f"track {clip.name}")
        remembered = GridOf(source)
        tracks = follow(remembered, clip, queries, config, done)
        rows = score_clip(clip, points, queries, tracks, config)
        if remembered.grid is not None:
            rows[0]["ceiling"] = grid_ceiling(clip, points, queries, remembered.grid, config)
        yield rows


class GridOf:
    """A source of features that remembers the grid of the map it gave last, without its features.

    Args:
        source: Where the features come from.
    """

    def __init__(self, source: MapSource) -> None:
        self.source = source
        self.grid: FeatureMap | None = None

    def maps(self, views: Iterable[Any], *, batch_size: int = 4) -> Iterator[FeatureMap]:
        """Yield the maps of the source."""
        for fmap in self.source.maps(views, batch_size=batch_size):
            self.grid = fmap.replace_tokens(fmap.tokens[:0].cpu().clone())
            yield fmap

    def describe(self) -> FeaturesRecord:
        """Return what names the features."""
        return self.source.describe()


def grid_ceiling(
    clip: Clip, points: Int[np.ndarray, "q"], queries: Queries, grid: FeatureMap, config: TrackingConfig
) -> dict[str, float | None]:
    """Return TAP-Vid's scores of the token centres nearest to the true places, visibility known."""
    xy, visible = np.where(clip.visible[points][..., None], clip.xy[points], 0.0), clip.visible[points]
    nearest = nearest_centers(grid, torch.from_numpy(xy.reshape(-1, 2))).numpy().reshape(xy.shape)
    counted = counted_frames(clip, points, queries, config)
    scores = tapvid_metrics(to_raster(xy, clip.hw), visible, to_raster(nearest, clip.hw), visible, counted)
    names = ("average_jaccard", "delta_avg", *FINE_METRICS.values())
    return {name: _none_for_nan(scores[name]) for name in names}


def follow(
    source: MapSource,
    clip: Clip,
    queries: Queries,
    config: TrackingConfig,
    on_frame: Callable[[int, int], None] | None = None,
) -> Tracks:
    """Track points through a clip by the protocol's tracker."""
    maps = LazyMaps(source, clip.frames)
    if config.protocol == "paper":
        return track_paper(maps, queries, on_frame=on_frame)
    seen = RefinedMaps(maps, queries, config.track) if config.refine else maps
    return track(seen, queries, config.track, on_frame)


def _named(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)


def score_clip(
    clip: Clip, points: Int[np.ndarray, "q"], queries: Queries, tracks: Tracks, config: TrackingConfig
) -> list[TrackingRow]:
    """Score the tracks of one clip.

    Returns:
        A row of kind `clip` (TAP-Vid scores in percent over all its queries, None where undefined; `n_hits` of `n`
        visible positions under 8 px at 256 high), then one of kind `point` for each query with its errors in px.
    """
    counted = counted_frames(clip, points, queries, config)
    xy, visible = clip.xy[points], clip.visible[points]
    filled = np.where(visible[..., None], xy, 0.0)
    scores = tapvid_metrics(to_raster(filled, clip.hw), visible, to_raster(tracks.xy, clip.hw), tracks.visible, counted)
    errors = error_at_height_px(tracks.xy, filled, clip.hw)
    seen = visible & counted
    head: TrackingRow = {"kind": "clip", "clip": clip.name, "queries": len(points)}
    # The scores are named by `CLIP_METRICS`.
    row = head | _hits(errors[seen]) | {name: _none_for_nan(value) for name, value in scores.items()}
    rows = [cast(TrackingRow, row)]
    for number, point in enumerate(points):
        frames = np.flatnonzero(seen[number])
        point_errors = errors[number, frames]
        hidden = counted[number] & ~visible[number]
        rows.append(
            {
                "kind": "point",
                "clip": clip.name,
                "point": int(point),
                "query_frame": int(queries.frame[number]),
                **_hits(point_errors),
                "frames": frames.tolist(),
                "errors_px": [round(float(error), 3) for error in point_errors],
                "n_seen_right": int(tracks.visible[number, frames].sum()),
                "n_hidden": int(hidden.sum()),
                "n_hidden_right": int((hidden & ~tracks.visible[number]).sum()),
            }
        )
    return rows


class _Hits(TypedDict):
    n: int
    n_hits: int


def _hits(errors: np.ndarray) -> _Hits:
    return {"n": len(errors), "n_hits": int((errors < HIT_PX).sum())}


def _none_for_nan(value: float) -> float | None:
    return None if np.isnan(value) else value


def summarize(rows: Iterable[Mapping[str, Any]], protocol: ProtocolRecord) -> TrackingSummary:
    """Average rows into the summary every command writes.

    Returns:
        {"metrics": {"average_jaccard", "delta_avg", "occlusion_accuracy": means over clips in percent;
        "share_under_8px": share (0-1) of all visible positions}, "failed": clips, "protocol": ...}. The interval of the
        share is over clips, or over query points with fewer than five clips; `unit` says which.
    """
    rows = list(rows)
    clips = [row for row in rows if row["kind"] == "clip" and "failed" not in row]
    metrics: Metrics = {name: _mean(clips, name) for name in CLIP_METRICS}
    if all(name in row for row in clips for name in FINE_METRICS.values()):
        metrics |= {name: _mean(clips, of_rows) for name, of_rows in FINE_METRICS.items()}
    unit = "clip" if len(clips) >= MIN_SAMPLING_UNITS else "point"
    metrics["share_under_8px"] = share_with_ci([row for row in rows if row["kind"] == unit and "failed" not in row])
    metrics["share_under_8px"]["unit"] = unit
    failed = [row["clip"] for row in rows if "failed" in row]
    return {"metrics": metrics, "failed": failed, "protocol": protocol}


def _mean(clips: Sequence[Mapping[str, Any]], name: str) -> Metric:
    """Return the mean over clips, and what the grid of tokens allows where it is known."""
    metric = mean_with_ci([row[name] for row in clips if row[name] is not None])
    most = [row.get("ceiling", {}).get(name) for row in clips]
    known = [value for value in most if value is not None]
    if known:
        metric["ceiling"] = float(np.mean(known))
    return metric


def share_with_ci(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> Metric:
    """Return the share (0-1) of hits among all positions of the rows, with a bootstrap over the rows."""
    hits, total = (np.array([row[key] for row in rows], np.float64) for key in ("n_hits", "n"))
    if total.sum() == 0:
        return {"value": None, "ci95": None, "n": 0}
    interval = cluster_ci95(np.stack([hits, total], 1), _shares, seed)
    return {"value": float(hits.sum() / total.sum()), "ci95": interval, "n": int(total.sum())}


def _shares(sums: Float[np.ndarray, "d 2"]) -> Float[np.ndarray, "e"]:
    """Return hits over positions, of the draws that have any."""
    return np.divide(*sums[sums[:, 1] > 0].T)


def protocol_of(source: Any, config: TrackingConfig, **more: Unpack[RunRecord]) -> ProtocolRecord:
    """Return what must be known to repeat a measurement."""
    return {
        "features": source.describe(),
        "tracking": config.record(),
        "units": f"percent at {RASTER}x{RASTER}; share_under_8px is a share (0-1) at {RASTER} px height, aspect kept",
        "averages": "clip = over all its queries and counted frames, value = mean over clips; shares are pooled",
        "ci95": "percentile bootstrap over clips (of shares over points with fewer than 5 clips), 10,000 draws",
        **more,
    }


def part_of(clip: Clip, frames: Int[np.ndarray, "m"]) -> Clip:
    """Return a clip of some of the frames, for trackers that look at each frame alone.

    Raises:
        EquiviewError: No frames.
    """
    if len(frames) == 0:
        raise bad_input(f"clip {clip.name!r}", "at least one frame", "none", "Choose frames that are annotated.")
    picked = _Picked(clip.frames, [int(frame) for frame in frames])
    return Clip(clip.name, picked, clip.hw, clip.xy[:, frames], clip.visible[:, frames], clip.known[:, frames])


class _Picked(Sequence[Any]):
    def __init__(self, frames: Sequence[Any], index: list[int]) -> None:
        self.frames = frames
        self.picked = index

    def __len__(self) -> int:
        return len(self.picked)

    def __getitem__(self, number: Any) -> Any:
        return self.frames[self.picked[number]]
