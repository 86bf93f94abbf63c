"""Measure one backbone, with or without an adapter, on any objects, into a resumable run folder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ..draw.live.make import RUN_OBJECTS, save_object
from ..io import file_name
from ..models.adapters.folder import versions
from ..models.extractor import Extractor, MapSource
from ..records import PairRow, RunRecord, Summary
from ..tasks.equivariance import MeasureConfig, plan_object, protocol_of, score_object, summarize
from ..types import View
from .run_folder import (
    Progress,
    ambiguous_shares,
    check_names,
    check_sources,
    claim_folder,
    device_name,
    object_name,
    open_objects,
    summarize_run,
)
from .scoring import WorkItem, finish_items, rows_path


@dataclass(frozen=True)
class MeasureRun:
    """What is measured, apart from the features.

    Attributes:
        objects: Meshes, `builtin:NAME`, `procedural:SEED`, `household:SEED`, or folders of rendered views.
        views: Views of each object.
        measure: The protocol.
    """

    objects: tuple[str, ...]
    views: int = 12
    measure: MeasureConfig = MeasureConfig()


def measure_objects(source: MapSource, run: MeasureRun, out: Path, progress: Progress | None = None) -> Summary:
    """Measure and write summary.json, summary_in_mask.json, summary_unambiguous.json, rows.jsonl, live/.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        run: The objects and the protocol.
        out: The run folder; an interrupted run goes on where it stopped.
        progress: Called with (stage, done, total); stages are render, score.

    Returns:
        The content of summary.json (see docs/protocols.md).

    Raises:
        EquiviewError: Bad input, or a folder that holds another run.
    """
    out = Path(out)
    report = progress or (lambda stage, done, total: None)
    check_names(run.objects, "objects")
    check_sources(run.objects)
    record = asdict(run) | {"measure": run.measure.record()}
    claim_folder(out, record | {"features": source.describe()})
    objects = open_objects(run.objects, run.views, run.measure.seed, out / "views", report)
    items = [
        WorkItem(rows_path(out, name), partial(_measure_object, source, run, out, name, objects[name], number))
        for number, name in enumerate(objects)
    ]
    finish_items(items, partial(report, "score"))
    device = device_name(str(source.device)) if isinstance(source, Extractor) else "cpu"
    names = [object_name(source) for source in run.objects]
    more: RunRecord = {"run": record, "versions": versions(), "device": device}
    more["ambiguous_share"] = ambiguous_shares(out, names)
    protocol = protocol_of(source, run.measure, **more)
    return summarize_run(out, names, lambda rows, search: summarize(rows, protocol, search))


def _measure_object(
    source: MapSource, run: MeasureRun, out: Path, name: str, views: Sequence[View], number: int
) -> list[PairRow]:
    """Score one object, and keep what the page of the first few needs."""
    plan = plan_object(name, views, run.measure)
    maps = list(source.maps(plan.views))
    rows = score_object(plan, maps, run.measure, source=source)
    if number < RUN_OBJECTS:
        save_object(out / "live" / f"{file_name(name)}.npz", plan, {"measured": maps}, run.measure.seed)
    return [{**row, "ambiguous_share": plan.ambiguous_share} for row in rows]
