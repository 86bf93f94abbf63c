"""Viewpoint recall: surface points of one posed view matched with those of another, scored by how far apart they are.

The protocol of Probe3D (El Banani et al., CVPR 2024) and OmniProbe for NAVI and ScanNet, on anything whose surface is
known: depth, a mesh, or the sparse points of a capture.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack, cast

import numpy as np
import torch
from jaxtyping import Float

from ..cache import Cache
from ..data.captures.views import CaptureViews
from ..data.correspond import known_points
from ..errors import bad_input
from ..matching.ratio import ratio_matches
from ..metrics.pose import rotation_error_deg
from ..metrics.recall import bin_members, match_errors, recalls
from ..metrics.rows import failure_counts
from ..models.extractor import MapSource
from ..records import Metric, ProtocolRecord, RecallRow, RecallSummary, RunRecord
from ..sampling import descriptors
from ..stats import bootstrap_ci95, cluster_ci95
from ..types import Camera, FeatureMap, View, ViewPairs

Progress = Callable[[str, int, int], None]
FEWEST_POINTS = 2  # A ratio needs a second nearest point.


@dataclass(frozen=True)
class RecallConfig:
    """The protocol of viewpoint recall; the defaults are those of NAVI.

    Attributes:
        matches: Matches of a pair that are kept, those with the largest weight.
        ratio_test: The weight is 1 - d1 / d2; without it the nearest matches are kept.
        step_px: Points are pixel centres so far apart (all observed points of sparse captures).
        thresholds_cm: Of the distance in space.
        thresholds_px: Of the distance in the second picture.
        px_scale: Distances in the picture are multiplied by this (ScanNet counts pixels of a quarter of it).
        binned: The recall that is shown by rotation, such as "2cm" or "10px".
        bins_deg: Edges of the bins.
        max_angle_deg: Pairs to be drawn are rotated by no more than this.
        pairs_per_view: Partners that are drawn for each view, where a set brings no pairs.
        seed: Which pairs are drawn.
        cache_mb: Room for feature maps; it changes no number.
    """

    matches: int = 1000
    ratio_test: bool = True
    step_px: int = 4
    thresholds_cm: tuple[float, ...] = (1, 2, 5)
    thresholds_px: tuple[float, ...] = (5, 25, 50)
    px_scale: float = 1.0
    binned: str = "2cm"
    bins_deg: tuple[float, ...] = (0, 30, 60, 90, 120)
    max_angle_deg: float = 120.0
    pairs_per_view: int = 1
    seed: int = 0
    cache_mb: int = 512

    def __post_init__(self) -> None:
        for name in ("matches", "step_px", "pairs_per_view"):
            if getattr(self, name) < 1:
                raise bad_input(name, "1 or more", str(getattr(self, name)), "Leave it out for the default.")
        if min((*self.thresholds_cm, *self.thresholds_px), default=0) <= 0:
            found = f"{self.thresholds_cm} cm and {self.thresholds_px} px"
            raise bad_input("thresholds", "one or more, all positive", found, "1, 2 and 5 cm are the default.")
        known = [f"{one:g}cm" for one in self.thresholds_cm] + [f"{one:g}px" for one in self.thresholds_px]
        if self.binned not in known:
            raise bad_input("binned", f"one of {', '.join(known)}", repr(self.binned), "Name a threshold.")
        if list(self.bins_deg) != sorted(set(self.bins_deg)) or len(self.bins_deg) < 2:
            raise bad_input("bins_deg", "two or more rising angles", str(self.bins_deg), "Such as 0, 30, 60.")


@dataclass(frozen=True)
class PairMatches:
    """The matches of one pair that were kept.

    Attributes:
        xy0: Pixels in the first view.
        xy1: Pixels in the second view.
        error_cm: Distance of the surface points, centimetres.
        error_px: Distance in the second picture, times the protocol's `px_scale`.
    """

    xy0: Float[np.ndarray, "n 2"]
    xy1: Float[np.ndarray, "n 2"]
    error_cm: Float[np.ndarray, "n"]
    error_px: Float[np.ndarray, "n"]


def run(
    source: MapSource, sets: Iterable[ViewPairs], config: RecallConfig | None = None, progress: Progress | None = None
) -> list[RecallRow]:
    """Match every pair of every object or scene.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        sets: Objects or scenes.
        config: The protocol.
        progress: Called with (object, pairs done, pairs).

    Returns:
        A row a pair: its recalls in percent, or `failed` with the reason.

    Raises:
        EquiviewError: No two views that are rotated by little enough, a view that cannot be read, or features that are
            not finite.
    """
    return [row for (row,) in samples(source, sets, config, progress)]


def samples(
    source: MapSource,
    sets: Iterable[ViewPairs],
    config: RecallConfig | None = None,
    progress: Progress | None = None,
    start: int = 0,
) -> Iterator[list[RecallRow]]:
    """Yield what `run` returns pair by pair, without the first `start`."""
    config = config or RecallConfig()
    for one in sets:
        pairs = draw_pairs(one, config) if one.pairs is None else list(one.pairs)
        done = min(start, len(pairs))
        start -= done
        maps = feature_maps(source, one.views, config)
        for number, pair in enumerate(pairs[done:], done + 1):
            yield [_row(one, pair, maps, config)]
            if progress is not None:
                progress(one.name, number, len(pairs))


def draw_pairs(one: ViewPairs, config: RecallConfig) -> list[tuple[int, int]]:
    """Draw partners for each view among those rotated by more than 0 degrees and at most `max_angle_deg`.

    Raises:
        EquiviewError: There is no such pair.
    """
    pairs = []
    for i in range(0, len(one.cam_from_world), one.every):
        pose = one.cam_from_world[i]
        angles = [rotation_error_deg(other, pose) for other in one.cam_from_world]
        able = [j for j, angle in enumerate(angles) if j != i and 0 < angle <= config.max_angle_deg]
        drawn = np.random.default_rng((config.seed, i)).permutation(able)[: config.pairs_per_view]
        pairs += [(i, int(j)) for j in drawn]
    if not pairs:
        expected = f"two views rotated by at most {config.max_angle_deg:g} degrees"
        fix = "Raise the limit, or take pictures closer together."
        raise bad_input(f"views of {one.name!r}", expected, f"none among {len(one.views)}", fix)
    return pairs


def feature_maps(source: MapSource, views: Sequence[View], config: RecallConfig) -> Callable[[int], FeatureMap]:
    """Return what gives the feature map of a view by its number; the most recent ones are kept."""
    kept: Cache[FeatureMap] = Cache(config.cache_mb * 2**20)

    def made(index: int) -> FeatureMap:
        with torch.no_grad():
            return next(iter(source.maps([views[index]])))

    return lambda index: kept.get(index, lambda: made(index))


def _row(one: ViewPairs, pair: tuple[int, int], maps: Callable[[int], FeatureMap], config: RecallConfig) -> RecallRow:
    angle = rotation_error_deg(one.cam_from_world[pair[1]], one.cam_from_world[pair[0]])
    row: RecallRow = {"object": one.name, "pair": [_name(one, i) for i in pair], "angle_deg": round(angle, 4)}
    found = match_pair(one, pair, maps, config)
    if found is None:
        return {**row, "failed": "no surface to be seen in one of the views"}
    scores = recalls(found.error_cm, found.error_px, config.thresholds_cm, config.thresholds_px)
    # The recalls are keys too; the thresholds of the protocol name them.
    return cast(RecallRow, {**row, "n": len(found.xy0), **{name: round(value, 4) for name, value in scores.items()}})


def _name(one: ViewPairs, index: int) -> str:
    return one.views[index].name or str(index)


def match_pair(
    one: ViewPairs, pair: tuple[int, int], maps: Callable[[int], FeatureMap], config: RecallConfig
) -> PairMatches | None:
    """Match the known points of two views and say how far each match is off; None where a view has too few.

    Raises:
        EquiviewError: Features that are not finite.
    """
    points = [known_points(one.views, i, config.step_px) for i in pair]
    if min(len(sample.xy) for sample in points) < FEWEST_POINTS:
        return None
    found = [
        descriptors(maps(i), torch.from_numpy(sample.xy).float(), "bicubic")
        for i, sample in zip(pair, points, strict=True)
    ]
    if not all(bool(torch.isfinite(one_).all()) for one_ in found):
        fix = "Use fp32, or check the adapter."
        raise bad_input(f"features of {one.name!r}", "finite numbers", "NaN or infinity", fix)
    kept = ratio_matches(found[0], found[1], config.matches, ratio_test=config.ratio_test)
    index_0, index_1 = kept.index_0.cpu().numpy(), kept.index_1.cpu().numpy()
    world = points[0].points_in_world[index_0], points[1].points_in_world[index_1]
    error, error_px = match_errors(*world, _camera(one, pair[1]))
    return PairMatches(points[0].xy[index_0], points[1].xy[index_1], error * one.unit_cm, error_px * config.px_scale)


def _camera(one: ViewPairs, index: int) -> Camera:
    return one.views.cameras[index] if isinstance(one.views, CaptureViews) else one.views[index].camera


def protocol_of(source: MapSource, config: RecallConfig, **more: Unpack[RunRecord]) -> ProtocolRecord:
    """Return what must be known to repeat a measurement."""
    settings = {name: value for name, value in asdict(config).items() if name != "cache_mb"}
    return {
        "features": source.describe(),
        "recall": settings | {"matches_are": "nearest by cosine, bicubic between tokens, not mutual"},
        "units": "percent of a pair's kept matches, strict <; cm of the world, px of the second picture x px_scale",
        "averages": "value = mean over pairs; a bin holds low <= rotation < high",
        "ci95": "percentile bootstrap over objects (of one object over pairs), 10,000 draws; null under 5",
        **more,
    }


def summarize(rows: Iterable[Mapping[str, Any]], protocol: ProtocolRecord) -> RecallSummary:
    """Average rows into a summary.

    Returns:
        {"metrics": {"recall@2cm": {"value", "ci95", "n"}, ..., "recall@2cm@0-30deg": ...}, "failed": {reason: pairs},
        "protocol": ...}; n counts pairs.
    """
    rows = list(rows)
    scored = [row for row in rows if "failed" not in row]
    settings = protocol["recall"]
    names = [f"recall@{limit:g}cm" for limit in settings["thresholds_cm"]]
    names += [f"recall@{limit:g}px" for limit in settings["thresholds_px"]]
    metrics = {name: _metric(scored, name) for name in names}
    binned = f"recall@{settings['binned']}"
    for name, members in bin_members([row["angle_deg"] for row in scored], settings["bins_deg"]).items():
        metrics[f"{binned}@{name}"] = _metric([scored[i] for i in members], binned)
    return {"metrics": metrics, "failed": failure_counts(rows), "protocol": protocol}


def _metric(rows: Sequence[Mapping[str, Any]], name: str) -> Metric:
    """Return the mean over pairs, with an interval over objects, whose pairs are drawn together."""
    if not rows:
        return {"value": None, "ci95": None, "n": 0}
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["object"], []).append(row[name])
    if len(values) == 1:
        interval = bootstrap_ci95([row[name] for row in rows])
    else:
        totals = np.array([(sum(one), len(one)) for one in values.values()], np.float64)
        interval = cluster_ci95(totals, lambda sums: sums[:, 0] / sums[:, 1])
    return {"value": float(np.mean([row[name] for row in rows])), "ci95": interval, "n": len(rows)}
