"""Measure one backbone, with or without an adapter, on any objects, into a resumable run folder."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..draw.live.make import RUN_OBJECTS, save_object
from ..models.adapters.folder import versions
from ..models.extractor import Extractor, MapSource
from ..tasks.equivariance import MeasureConfig, plan_object, protocol_of, score_object, summarize
from .run_folder import (
    Progress,
    ambiguous_shares,
    check_names,
    check_sources,
    claim_folder,
    device_name,
    object_name,
    open_objects,
    rows_path,
    summarize_run,
    write_rows,
)


@dataclass(frozen=True)
class MeasureRun:
    """What is measured, apart from the features.

    Attributes:
        objects: Meshes, `builtin:NAME`, `procedural:SEED`, or folders of rendered views.
        views: Views of each object.
        measure: The protocol.
    """

    objects: tuple[str, ...]
    views: int = 12
    measure: MeasureConfig = MeasureConfig()


def measure_objects(source: MapSource, run: MeasureRun, out: Path, progress: Progress | None = None) -> dict[str, Any]:
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
    claim_folder(out, asdict(run) | {"features": source.describe()})
    objects = open_objects(run.objects, run.views, run.measure.seed, out / "views", report)
    for number, (name, views) in enumerate(objects.items()):
        report("score", number, len(objects))
        if not rows_path(out, name).exists():
            plan = plan_object(name, views, run.measure)
            maps = list(source.maps(plan.views))
            rows = score_object(plan, maps, run.measure)
            if number < RUN_OBJECTS:
                save_object(out / "live" / f"{name}.npz", plan, {"measured": maps}, run.measure.seed)
            write_rows(rows_path(out, name), [row | {"ambiguous_share": plan.ambiguous_share} for row in rows])
    report("score", len(objects), len(objects))
    device = device_name(str(source.device)) if isinstance(source, Extractor) else "cpu"
    names = [object_name(source) for source in run.objects]
    shares = {"ambiguous_share": ambiguous_shares(out, names)}
    protocol = protocol_of(source, run.measure, run=asdict(run), versions=versions(), device=device) | shares
    return summarize_run(out, names, lambda rows, search: summarize(rows, protocol, search))
