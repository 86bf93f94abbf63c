"""Multiview equivariance: does the feature of one 3D point find itself in another view?

A plan (which points, where they truly are) is made once for an object; any number of feature variants are
scored against it, one row for each ordered pair of views.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..data.ambiguity import AmbiguityMap
from ..data.correspond import correspond_in, sample_points, tracks_of
from ..errors import bad_input
from ..matching.localise import Localise
from ..matching.match import match_regions
from ..matching.nearest import token_mask
from ..matching.refine import Refined, box_of_matches, refine_map
from ..metrics.equivariance import (
    ANGLE_BINS_DEG,
    FINE_NAMES,
    METRIC_NAMES,
    all_metrics,
    error_px,
    object_values,
    view_values,
)
from ..models.extractor import MapSource
from ..records import Metric, PairRow, PairScores, ProtocolRecord, RunRecord, Settings, Summary
from ..sampling import descriptors, grid_error_px
from ..stats import bootstrap_ci95, mean_with_ci
from ..types import Correspondences, FeatureMap, Matches, View


@dataclass(frozen=True)
class MeasureConfig:
    """The protocol of a measurement.

    Attributes:
        points: Surface points sampled in each view (at most; the mask may be smaller).
        min_overlap: A pair counts from this share of visible points (0-1).
        subtoken: Localise between tokens (default), or at token centres.
        seed: Which points are sampled.
        refine: Look again, closer, at the part of each picture that holds the matches, see `matching.refine`.
    """

    points: int = 1000
    min_overlap: float = 0.1
    subtoken: bool = True
    seed: int = 0
    refine: bool = False

    def record(self) -> Settings:
        """Return it as runs record it; those of before there was a second look are what they were."""
        return {key: value for key, value in asdict(self).items() if key != "refine" or value}

    @property
    def localise(self) -> Localise:
        """How the best token becomes a place."""
        return Localise("parabola" if self.subtoken else "token")


@dataclass(frozen=True)
class ObjectPlan:
    """The truth for one object: sampled points, and every ordered pair of views that overlaps.

    Attributes:
        name: The object.
        views: Its views.
        xy: Sampled pixels, one array a view.
        pairs: Correspondences by (source view, target view).
        ambiguous: True for sampled points that cannot be told apart, one array a view; None where the surface is not
            known well enough to say (sparse tracks).
        ambiguous_share: Share (0-1) of the surface that is ambiguous, or None.
    """

    name: str
    views: Sequence[View]
    xy: list[Float[np.ndarray, "n 2"]]
    pairs: dict[tuple[int, int], Correspondences]
    ambiguous: list[Bool[np.ndarray, "n"]] | None
    ambiguous_share: float | None


def plan_object(name: str, views: Sequence[View], config: MeasureConfig) -> ObjectPlan:
    """Sample points and find the overlapping pairs of one object.

    Raises:
        EquiviewError: Fewer than two views, or no pair overlaps enough.
    """
    if len(views) < 2:
        raise bad_input(f"object {name!r}", "two views or more", str(len(views)), "Ask for more views.")
    sparse = tracks_of(views) is not None
    # Rendered views are all looked at for every pair: they are held. Tracks need no picture.
    views = views if sparse else list(views)
    samples = [sample_points(views, i, config.points, _point_seed(config.seed, i)) for i in range(len(views))]
    pairs = {}
    for i, j in itertools.permutations(range(len(views)), 2):
        truth = correspond_in(views, (i, j), samples[i])
        if truth.overlap >= config.min_overlap and len(truth):
            pairs[i, j] = truth
    if not pairs:
        raise bad_input(
            f"object {name!r}",
            f"a pair of views that share {config.min_overlap:.0%} of the surface",
            f"none among {len(views)} views",
            "Use views that lie closer together.",
        )
    xy = [sample.xy for sample in samples]
    if sparse:
        return ObjectPlan(name, views, xy, pairs, None, None)
    ambiguity = AmbiguityMap(views, config.seed)
    flags = [ambiguity.is_ambiguous(sample.points_in_world) for sample in samples]
    return ObjectPlan(name, views, xy, pairs, flags, ambiguity.share)


def _point_seed(seed: int, view: int) -> int:
    return int(np.random.SeedSequence([seed, view]).generate_state(1)[0])


def score_object(
    plan: ObjectPlan,
    maps: Sequence[FeatureMap],
    config: MeasureConfig,
    variant: str = "",
    source: MapSource | None = None,
) -> list[PairRow]:
    """Match every planned pair with one set of feature maps and return a row for each.

    Args:
        plan: The truth.
        maps: Of its views.
        config: The protocol.
        variant: Named in the rows.
        source: What made the maps; needed to refine.

    Memory: similarities of one pair at a time, on tokens only; of maps, those of all views.
    """
    looks = _second_looks(source, plan, maps, config) if config.refine and source is not None else None
    rows: list[PairRow] = []
    for i, j, queries in _pairs_with_queries(plan, maps):
        pair = PairLook(queries, maps[j])
        if looks is not None:
            pair = replace(pair, near=(looks[i].descriptors(_points(plan, (i, j))), looks[j]))
        row = _score_pair(plan, (i, j), pair, config)
        rows.append({"variant": variant, **row} if variant else row)
    return rows


@dataclass(frozen=True)
class PairLook:
    """What one pair of views is matched with.

    Attributes:
        queries: Descriptors of the visible points of the source.
        target: The whole target.
        near: The same descriptors and the target of a second look, where there was one.
    """

    queries: Float[torch.Tensor, "n c"]
    target: FeatureMap
    near: tuple[Float[torch.Tensor, "n c2"], Refined] | None = None

    @property
    def grids(self) -> list[FeatureMap]:
        """Maps whose tokens may win."""
        return [self.target] if self.near is None else [self.target, self.near[1].fmap]


def _pairs_with_queries(
    plan: ObjectPlan, maps: Sequence[FeatureMap]
) -> Iterator[tuple[int, int, Float[torch.Tensor, "n c"]]]:
    """Yield every pair with the descriptors of its visible points; points of a view are sampled once."""
    for i in range(len(plan.views)):
        targets = [j for j in range(len(plan.views)) if (i, j) in plan.pairs]
        if not targets:
            continue
        queries = descriptors(maps[i], torch.from_numpy(plan.xy[i]).float())
        for j in targets:
            yield i, j, queries[torch.from_numpy(plan.pairs[i, j].index).to(queries.device)]


def _points(plan: ObjectPlan, pair: tuple[int, int]) -> Float[torch.Tensor, "n 2"]:
    return torch.from_numpy(plan.xy[pair[0]][plan.pairs[pair].index]).float()


def _second_looks(
    source: MapSource, plan: ObjectPlan, maps: Sequence[FeatureMap], config: MeasureConfig
) -> list[Refined]:
    """Look again at every view, where matches from the others lie; where its own points lie says nothing here."""
    matches: dict[int, list[Matches]] = {j: [] for j in range(len(plan.views))}
    for _, j, queries in _pairs_with_queries(plan, maps):
        matches[j] += match_regions(queries, maps[j], [None], config.localise)
    return [refine_map(source, plan.views[j], maps[j], box_of_matches(found, maps[j])) for j, found in matches.items()]


def _score_pair(plan: ObjectPlan, pair: tuple[int, int], look: PairLook, config: MeasureConfig) -> PairRow:
    truth, visible, target = plan.pairs[pair], look.queries, look.target
    if not bool(torch.isfinite(visible).all()) or not bool(torch.isfinite(target.tokens).all()):
        raise bad_input(
            f"features of {plan.name!r}", "finite numbers", "NaN or infinity", "Use fp32, or check the adapter."
        )
    view = plan.views[pair[1]]
    # Errors are pixels of the target, whose size may differ from the source's in a capture.
    image_hw = view.camera.hw
    inside = token_mask(target, torch.from_numpy(view.mask))
    # An object smaller than a token is counted by its status, and left out of the in-mask averages only.
    regions = [None, inside] if bool(inside.any()) else [None]
    matched = match_regions(visible, target, regions, config.localise)
    if look.near is not None:
        queries, near = look.near
        masks = [None, token_mask(near.fmap, torch.from_numpy(view.mask))]
        matched = [near.place(queries, one, mask, config.localise) for one, mask in zip(matched, masks, strict=False)]
    errors = [error_px(matches.xy1.cpu().double().numpy(), truth.xy1) for matches in matched]
    n_ambiguous, unambiguous = _unambiguous(plan, pair, errors[0], image_hw)
    return {
        "object": plan.name,
        "pair": list(pair),
        "angle_deg": round(truth.angle_deg, 4),
        "overlap": round(truth.overlap, 6),
        "n": len(truth),
        "status": "ok" if len(errors) > 1 else "no token in mask",
        **all_metrics(errors[0], image_hw),
        "n_ambiguous": n_ambiguous,
        "unambiguous": unambiguous,
        "in_mask": all_metrics(errors[1], image_hw) if len(errors) > 1 else None,
        "ceiling": all_metrics(np.minimum.reduce([grid_error_px(grid, truth.xy1) for grid in look.grids]), image_hw),
    }


def _unambiguous(
    plan: ObjectPlan, pair: tuple[int, int], errors: Float[np.ndarray, "n"], image_hw: tuple[int, int]
) -> tuple[int | None, PairScores | None]:
    """Count the ambiguous points and score the others, where it is known which these are."""
    if plan.ambiguous is None:
        return None, None
    ambiguous = plan.ambiguous[pair[0]][plan.pairs[pair].index]
    scores = None if ambiguous.all() else all_metrics(errors[~ambiguous], image_hw)
    return int(ambiguous.sum()), scores


def measure(
    source: MapSource,
    objects: Mapping[str, Sequence[View]],
    config: MeasureConfig | None = None,
    *,
    on_object: Callable[[str, list[PairRow]], None] | None = None,
) -> list[PairRow]:
    """Measure the equivariance of features over every overlapping ordered pair of every object.

    Args:
        source: Where features come from.
        objects: Views by object name; one object is in memory at a time when the sequences are lazy.
        config: The protocol.
        on_object: Called with each object's rows as soon as they exist (to save them, to show progress).

    Returns:
        One row a pair: object, pair, angle_deg, overlap (0-1), n, ape, pcdp@* (percent), and the same scores
        without ambiguous points and with the search inside the target's mask.
    """
    config = config or MeasureConfig()
    rows: list[PairRow] = []
    for name, views in objects.items():
        plan = plan_object(name, views, config)
        with torch.no_grad():
            new = score_object(plan, list(source.maps(plan.views)), config, source=source)
        rows += new
        if on_object is not None:
            on_object(name, new)
    return rows


def protocol_of(source: MapSource, config: MeasureConfig, **more: Unpack[RunRecord]) -> ProtocolRecord:
    """Return what must be known to repeat a measurement."""
    localisation = "token + parabola in 3x3" if config.subtoken else "token centre"
    localisation += ", refined on the part that holds the matches" if config.refine else ""
    return {
        "features": source.describe(),
        "measure": config.record() | {"localisation": localisation, "search": "whole target image"},
        "units": "percent; ape = mean pixel error / shortest image edge; pcdp@t = share with error < t x that edge",
        "averages": "pair = mean over visible points, object = mean over pairs, value = mean over objects",
        "ci95": "percentile bootstrap over objects, 10,000 draws; null under 5 objects",
        "ci95_views": "of a single object: the same over its source views",
        **more,
    }


def summarize(rows: Iterable[Mapping[str, Any]], protocol: ProtocolRecord, search: str | None = None) -> Summary:
    """Average rows into the summary every command writes.

    Args:
        rows: Rows of ONE variant (seeds and training objects may be mixed: they are averaged within an object).
        protocol: Stored beside the numbers.
        search: None for the whole image; "in_mask" or "unambiguous" for the scores of that name.

    Returns:
        {"metrics": {name: {"value", "ci95", "n", "by_angle": {"0-45": {...}, ...}}}, "protocol": ...}
    """
    rows = list(rows)
    # Rows that were made before there were fine thresholds lack them.
    fine = [name for name in FINE_NAMES if all(name in row for row in rows)] if rows else []
    metrics = {name: _summarize_metric(rows, name, search) for name in (*METRIC_NAMES, *fine)}
    return {"metrics": metrics, "protocol": protocol}


def _summarize_metric(rows: Sequence[Mapping[str, Any]], name: str, search: str | None) -> Metric:
    by_angle = {f"{bin_[0]}-{bin_[1]}": _averaged(rows, name, search, bin_) for bin_ in ANGLE_BINS_DEG}
    metric: Metric = {**_averaged(rows, name, search), "by_angle": by_angle}
    if search is None and rows and all("ceiling" in row for row in rows):
        metric["ceiling"] = float(np.mean(list(object_values(rows, name, "ceiling").values())))
    return metric


def _averaged(
    rows: Sequence[Mapping[str, Any]], name: str, search: str | None, angles_deg: tuple[int, int] | None = None
) -> Metric:
    """Return the mean over objects with its interval; of a single object, the interval over its source views too."""
    values = object_values(rows, name, search, angles_deg)
    result = mean_with_ci(list(values.values()))
    if len({row["object"] for row in rows}) == 1:
        result["ci95_views"] = bootstrap_ci95(list(view_values(rows, name, search, angles_deg).values()))
    return result
