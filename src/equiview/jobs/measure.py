"""Measure one backbone, with or without an adapter, on any objects, into a resumable run folder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from ..data.names import distinct_names
from ..data.object_lists import expand
from ..draw.live.make import RUN_OBJECTS, save_object
from ..io import file_name
from ..models.adapters.folder import versions
from ..models.extractor import Extractor, MapSource
from ..records import PairRow, ProtocolRecord, RunRecord, Settings, Summary
from ..tasks.equivariance import MeasureConfig, plan_object, protocol_of, score_object, summarize
from .engine import LOCAL, Engine
from .plan import PlanRecord, plan_items
from .run_folder import (
    PARTS,
    Progress,
    ambiguous_shares,
    broken_path,
    check_names,
    check_sources,
    claim_folder,
    device_name,
    open_number,
    summarize_run,
    without_broken,
)
from .scoring import UNITS_LOG, WorkItem, finish_items, rows_path


@dataclass(frozen=True)
class MeasureRun:
    """What is measured, apart from the features.

    Attributes:
        objects: Meshes, `builtin:NAME`, `procedural:SEED`, `household:SEED`, folders of rendered views; folders of
            meshes, or text files that list them, of which broken ones are left out.
        views: Views of each object.
        measure: The protocol.
    """

    objects: tuple[str, ...]
    views: int = 12
    measure: MeasureConfig = MeasureConfig()


def measure_objects(
    source: MapSource, run: MeasureRun, out: Path, progress: Progress | None = None, engine: Engine = LOCAL
) -> Summary:
    """Measure and write summary.json, summary_in_mask.json, summary_unambiguous.json, rows.jsonl, live/.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        run: The objects and the protocol.
        out: The run folder; an interrupted run goes on where it stopped.
        progress: Called with (stage, done, total); stages are render, score.
        engine: Where objects are rendered and scored; of a shard the summary is that of its own objects.

    Returns:
        The content of summary.json (see docs/protocols.md).

    Raises:
        EquiviewError: Bad input, or a folder that holds another run.
    """
    out = Path(out)
    report = progress or (lambda stage, done, total: None)
    run, names, items = claimed_items(source, run, out, report, engine)
    finish_items(items, partial(report, "score"), engine, log=out / UNITS_LOG)
    device = device_name(str(source.device)) if isinstance(source, Extractor) else "cpu"
    more: RunRecord = {"run": record_of(run), "versions": versions(), "device": device, **engine.words}
    return end_measure(out, names, protocol_of(source, run.measure, **more))


def claimed_items(
    source: MapSource, run: MeasureRun, out: Path, report: Progress, engine: Engine
) -> tuple[MeasureRun, list[str], list[WorkItem]]:
    """Claim the folder, and return the run with its lists read, and the names and the work of this shard.

    Raises:
        EquiviewError: See `measure_objects`.
    """
    found = expand(run.objects)
    run = replace(run, objects=found.sources)
    check_names(run.objects, "objects")
    names = distinct_names(run.objects)
    mine = engine.share(names, "objects")
    # Of thousands of listed objects some are broken: they are counted when their turn comes.
    check_sources([one for one in engine.share(run.objects) if one not in found.listed])
    claim_folder(out, record_of(run) | {"features": source.describe()} | engine.record("measure", names))
    if engine.inside:
        report("render", 0, len(names) * PARTS)
    work = partial(_measure_object, source, run, out, progress=report if engine.inside else None)
    items = [
        WorkItem(
            rows_path(out, name), partial(work, number, name), broken_path(out, name) if one in found.listed else None
        )
        for number, (name, one) in enumerate(zip(names, run.objects, strict=True))
    ]
    return run, mine, engine.share(items)


def record_of(run: MeasureRun) -> Settings:
    """Return what run.json and the protocol say of a run."""
    return asdict(run) | {"measure": run.measure.record()}


def plan_measure(source: MapSource, run: MeasureRun, out: Path, engine: Engine = LOCAL) -> PlanRecord:
    """Measure a few of the objects, which the run will not have to do again, and say what the others will take.

    Raises:
        EquiviewError: See `measure_objects`, or nothing is left to do.
    """
    items = claimed_items(source, run, Path(out), lambda stage, done, total: None, engine)[2]
    return plan_items(items, Path(out), engine)


def end_measure(out: Path, names: Sequence[str], protocol: ProtocolRecord) -> Summary:
    """Write the summaries of finished objects."""
    whole, broken = without_broken(out, names)
    if broken:
        protocol["broken"] = broken
        protocol["notes"] = [f"{len(broken)} of {len(names)} objects could not be opened and are left out: see broken/"]
    protocol["ambiguous_share"] = ambiguous_shares(out, whole)
    return summarize_run(out, whole, lambda rows, search: summarize(rows, protocol, search))


def _measure_object(
    source: MapSource, run: MeasureRun, out: Path, number: int, name: str, *, progress: Progress | None
) -> list[PairRow]:
    """Render and score one object, and keep what the page of the first few needs."""
    views = open_number(run.objects, number, run.views, run.measure.seed, out / "views", progress)
    plan = plan_object(name, views, run.measure)
    maps = list(source.maps(plan.views))
    rows = score_object(plan, maps, run.measure, source=source)
    if number < RUN_OBJECTS:
        save_object(out / "live" / f"{file_name(name)}.npz", plan, {"measured": maps}, run.measure.seed)
    return [{**row, "ambiguous_share": plan.ambiguous_share} for row in rows]
