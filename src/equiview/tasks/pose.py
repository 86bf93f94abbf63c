"""One-shot object pose: how many queries are located, and how well."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Unpack, cast

import numpy as np

from ..errors import EquiviewError, bad_input
from ..matching.pose import Attempt, LocateConfig, Observations, Template, TemplateConfig
from ..matching.pose.paper import grid_points, paper_descriptors, paper_pose
from ..matching.pose.references import picture_of, unit_map
from ..metrics.pose import (
    VSD_TAUS,
    add_error,
    adds_error,
    bop_average_recalls,
    lateral_depth_error,
    mspd,
    mssd,
    recall_hits,
    rotation_error_deg,
    translation_error,
    vsd,
)
from ..models.extractor import MapSource
from ..records import Metric, PoseAttempt, PoseErrors, PoseRow, PoseSummary, ProtocolRecord, RunRecord
from ..render import Mesh, render_depth
from ..stats import DRAWS, MIN_SAMPLING_UNITS, mean_with_ci
from ..types import Camera, PosedImage, PoseScene, UnusableQuery

Progress = Callable[[str, int, int], None]
VSD_DELTA_CM = 1.5
MEDIANS = ("rotation_error_deg", "translation_error_cm", "lateral_error_cm", "depth_error_cm")


@dataclass(frozen=True)
class PoseConfig:
    """The protocol.

    Attributes:
        template: How templates are made.
        locate: How queries are located.
        protocol: `corrected` (default), or `paper`: the published one (see `pose.paper`; needs OpenCV), which takes the
            template's points as given and ignores `locate`.
        box: Lowest and highest corner of the object, used on the references only; None where unknown.
    """

    template: TemplateConfig = field(default_factory=TemplateConfig)
    locate: LocateConfig = field(default_factory=LocateConfig)
    protocol: Literal["corrected", "paper"] = "corrected"
    box: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None

    def __post_init__(self) -> None:
        if self.protocol not in ("corrected", "paper"):
            raise bad_input("pose protocol", "'corrected' or 'paper'", repr(self.protocol), "Choose one of them.")


@dataclass(frozen=True)
class ObjectModel:
    """What the BOP errors need to know of an object, beside the scene's `model_points`.

    Attributes:
        diameter: Largest distance between two of its points, world units.
        symmetries: Transforms that leave it as it is, the identity among them (see `symmetry_transforms`).
        mesh: In world units, for VSD; that needs depth of the queries and the scene's scale too.
    """

    diameter: float
    symmetries: Sequence[np.ndarray] = (np.eye(4),)
    mesh: Mesh | None = None


def run(
    source: MapSource,
    scenes: Iterable[PoseScene],
    config: PoseConfig | None = None,
    progress: Progress | None = None,
    *,
    observations: Mapping[str, Sequence[Observations]] | None = None,
    models: Mapping[str, ObjectModel] | None = None,
) -> list[PoseRow]:
    """Locate every query of every scene.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        scenes: Objects; those of one name are one object.
        config: The protocol.
        progress: Called with (scene, queries done, queries in all).
        observations: By scene, what structure from motion knows of its references.
        models: By scene; with one there are the BOP errors, and ADD within a tenth of the diameter.

    Returns:
        A row a query: its errors, or `failed` with the reason. A query that cannot be read or used is such a row too;
        broken references raise, since nothing can be measured without a template.
    """
    rows = samples(source, scenes, config, progress, observations=observations, models=models)
    return [row for (row,) in rows]


def samples(
    source: MapSource,
    scenes: Iterable[PoseScene],
    config: PoseConfig | None = None,
    progress: Progress | None = None,
    start: int = 0,
    *,
    observations: Mapping[str, Sequence[Observations]] | None = None,
    models: Mapping[str, ObjectModel] | None = None,
) -> Iterator[list[PoseRow]]:
    """Yield what `run` returns query by query, without the first `start`; no template is made where none is left."""
    config = config or PoseConfig()
    for scene in scenes:
        if not scene.queries:
            raise bad_input(f"scene {scene.name!r}", "at least one query", "none", "Give pictures with known cameras.")
        done = min(start, len(scene.queries))
        start -= done
        if done == len(scene.queries):
            continue
        box = None if config.box is None else np.asarray(config.box)
        known = None if observations is None else observations.get(scene.name)
        template = Template.from_views(source, scene.references, observations=known, box=box, config=config.template)
        for number, query in enumerate(scene.queries[done:], done + 1):
            model = None if models is None else models.get(scene.name)
            row: PoseRow = {"object": scene.name, "query": query.name, "world_unit_cm": scene.world_unit_cm}
            if model is not None:
                row["diameter"] = model.diameter
            if isinstance(query, UnusableQuery):
                yield [{**row, "failed": query.reason}]
            else:
                if model is not None:
                    row["image_width"] = query.camera.hw[1]
                attempt, errors = _located(template, query, scene, config, model)
                yield [{**row, **attempt, **errors}]
            if progress is not None:
                progress(scene.name, number, len(scene.queries))


def _located(
    template: Template, query: PosedImage, scene: PoseScene, config: PoseConfig, model: ObjectModel | None
) -> tuple[PoseAttempt, PoseErrors]:
    try:
        if config.protocol == "paper":
            pose, attempt = _paper(template, query, scene)
        else:
            pose, attempt = _corrected(template.attempt(query, query.camera.intrinsics, config=config.locate))
    except EquiviewError as error:
        if config.protocol == "paper" and "OpenCV" in str(error):
            raise
        return {"failed": str(error)}, {}
    if pose is None:
        return attempt, {}
    attempt["cam_from_world"] = pose.tolist()
    errors = errors_of(pose, query, scene)
    return attempt, errors if model is None else {**errors, **bop_errors(pose, query, scene, model)}


def _corrected(attempt: Attempt) -> tuple[np.ndarray | None, PoseAttempt]:
    record: PoseAttempt = {"n_matches": attempt.n_matches, "roll": attempt.roll}
    estimate = attempt.estimate
    if estimate is None:
        record["failed"] = attempt.reason
        return None, record
    record["n_inliers"] = estimate.n_inliers
    record["residual_px"] = round(estimate.residual_px, 4)
    record["rotation_sd_deg"] = estimate.rotation_sd_deg
    return estimate.cam_from_world, record


def _paper(template: Template, query: PosedImage, scene: PoseScene) -> tuple[np.ndarray | None, PoseAttempt]:
    """Locate a query as published; the template's points are scaled to metres and back."""
    fmap = unit_map(template.source, picture_of(query), query.name)
    grid = grid_points(query.camera.hw)
    to_metres = 1.0 if scene.world_unit_cm is None else scene.world_unit_cm / 100
    intrinsics = query.camera.intrinsics - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    points = template.points_in_world * to_metres
    estimate = paper_pose(paper_descriptors(fmap, grid), grid, template.descriptors, points, intrinsics)
    record: PoseAttempt = {"n_matches": len(estimate.query_index), "n_inliers": len(estimate.inliers)}
    if estimate.cam_from_world is None:
        record["failed"] = "fewer than 4 matches or at most 5 inliers"
        return None, record
    pose = estimate.cam_from_world.copy()
    pose[:3, 3] /= to_metres
    return pose, record


def errors_of(cam_from_world: np.ndarray, query: PosedImage, scene: PoseScene) -> PoseErrors:
    """Return the errors of one located query: degrees, world units, and centimetres where the scale is known."""
    true = query.camera.cam_from_world
    lateral, depth = lateral_depth_error(cam_from_world, true)
    errors = {"translation_error": translation_error(cam_from_world, true)}
    errors |= {"lateral_error": lateral, "depth_error": depth}
    if scene.model_points is not None:
        errors["add"] = add_error(cam_from_world, true, scene.model_points)
        errors["add_s"] = adds_error(cam_from_world, true, scene.model_points)
    if scene.world_unit_cm is not None:
        errors |= {f"{name}_cm": value * scene.world_unit_cm for name, value in errors.items()}
    return cast(PoseErrors, {"rotation_error_deg": rotation_error_deg(cam_from_world, true)} | errors)


def bop_errors(cam_from_world: np.ndarray, query: PosedImage, scene: PoseScene, model: ObjectModel) -> PoseErrors:
    """Return the errors of the BOP challenge that can be computed: MSSD, MSPD (with model points), VSD (with depth)."""
    errors: PoseErrors = {}
    if scene.model_points is not None:
        points, symmetries = scene.model_points, model.symmetries
        errors["mssd"] = mssd(cam_from_world, query.camera.cam_from_world, points, symmetries)
        errors["mspd"] = mspd(cam_from_world, query.camera, points, symmetries)
    if model.mesh is not None and query.depth is not None and scene.world_unit_cm is not None:
        found = Camera(query.camera.intrinsics, cam_from_world, query.camera.hw)
        depth, true_depth = (render_depth(model.mesh, camera) for camera in (found, query.camera))
        delta = VSD_DELTA_CM / scene.world_unit_cm
        seen = np.nan_to_num(query.depth)
        matrix = query.camera.intrinsics
        errors["vsd"] = vsd(depth, true_depth, seen, matrix, delta=delta, diameter=model.diameter)
    return errors


def protocol_of(source: MapSource, config: PoseConfig, **more: Unpack[RunRecord]) -> ProtocolRecord:
    """Return what must be known to repeat a measurement."""
    return {
        "features": source.describe(),
        "pose": asdict(config),
        "units": "recalls in percent of all queries, strict <; a failed query is never under a threshold",
        "averages": "object = mean over queries, value = mean over objects; medians over queries, failures infinite",
        "ci95": "percentile bootstrap, 10,000 draws: over queries of one object, over objects from 5; else null",
        **more,
    }


def summarize(rows: Sequence[Mapping[str, Any]], protocol: ProtocolRecord) -> PoseSummary:
    """Average rows into {"metrics": {name: {"value", "ci95", "n"}}, "by_object": ..., "protocol": ...}.

    Recalls in centimetres exist where every row of an object has a scale. `located` is the share of queries with a
    pose, whatever it is worth.

    Raises:
        EquiviewError: There are no rows.
    """
    if not rows:
        raise bad_input("pose rows", "at least one query", "none", "Check the scenes.")
    objects: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        objects.setdefault(row["object"], []).append(row)
    hits = {name: _hits(located) for name, located in objects.items()}
    shared_by_all = [name for name in next(iter(hits.values())) if all(name in scores for scores in hits.values())]
    metrics = {name: _mean(name, list(hits.values())) for name in shared_by_all}
    metrics |= {f"{name}_median": _median([row.get(name, np.inf) for row in rows]) for name in _medians(rows)}
    by_object = {
        name: {metric: float(np.mean(values)) for metric, values in scores.items()} | {"n": len(objects[name])}
        for name, scores in hits.items()
    }
    return {"metrics": metrics, "by_object": by_object, "protocol": protocol}


def _hits(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return for each score of one object the value (0 or 100) of each query."""
    turn = np.array([row.get("rotation_error_deg", np.inf) for row in rows])
    shift = np.array([row.get("translation_error_cm", np.inf) for row in rows]) if _scaled(rows) else None
    hits = {"located": np.isfinite(turn)} | recall_hits(turn, shift)
    return {name: [100.0 * bool(hit) for hit in values] for name, values in hits.items()} | _bop_scores(rows)


_WORST: Mapping[str, Any] = {"mssd": np.inf, "mspd": np.inf, "vsd": [1.0] * len(VSD_TAUS)}


def _bop_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return each query's part in the average recalls of BOP, and ADD(-S) under a tenth of the diameter, percent."""
    scores: dict[str, list[float]] = {}
    kinds = [kind for kind in _WORST if any(kind in row for row in rows)]
    if kinds and all("diameter" in row for row in rows):
        for row in rows:
            # Without a width nothing was located: its errors are infinite at any.
            errors = {kind: [row.get(kind, _WORST[kind])] for kind in kinds}
            for name, value in bop_average_recalls(errors, row["diameter"], row.get("image_width", 1)).items():
                scores.setdefault(name, []).append(value)
    for kind in ("add", "add_s"):
        if all("diameter" in row for row in rows) and any(kind in row for row in rows):
            near = [100.0 * (row.get(kind, np.inf) < 0.1 * row["diameter"]) for row in rows]
            scores[f"{kind}@0.1d"] = near
    return scores


def _scaled(rows: Sequence[Mapping[str, Any]]) -> bool:
    return all(row["world_unit_cm"] is not None for row in rows)


def _medians(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in MEDIANS if name == MEDIANS[0] or _scaled(rows)]


def _mean(name: str, objects: Sequence[Mapping[str, list[float]]]) -> Metric:
    if len(objects) == 1:
        return mean_with_ci(objects[0][name])
    return mean_with_ci([float(np.mean(scores[name])) for scores in objects])


def _median(values: Sequence[float]) -> Metric:
    """Return the median over queries with its bootstrap interval; None where it is infinite (too many failures)."""
    sample = np.asarray(values, np.float64)
    draws = np.random.default_rng(0).integers(len(sample), size=(DRAWS, len(sample)))
    # With an even count the mean of a number and infinity is infinity, which is what it should be.
    limits = np.quantile(np.median(sample[draws], axis=1), [0.025, 0.975], method="inverted_cdf")
    finite = len(sample) >= MIN_SAMPLING_UNITS and np.isfinite(limits).all()
    middle = float(np.median(sample))
    value = middle if np.isfinite(middle) else None
    return {"value": value, "ci95": [float(x) for x in limits] if finite else None, "n": len(sample)}


def seeded(config: PoseConfig, seed: int) -> PoseConfig:
    """Return the same protocol with another seed in all its parts."""
    return replace(config, template=replace(config.template, seed=seed), locate=replace(config.locate, seed=seed))
