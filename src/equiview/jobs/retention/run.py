"""The retention report's job: one adapter at several strengths, on what it was not made for, in a resumable folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...finetune.recipe_records import stage_of
from ...io import write_json
from ...metrics.rows import failure_counts
from ...models.adapters import read_record
from ...models.adapters.folder import versions
from ...models.loading import load
from ...records import ProtocolRecord, RetentionResult, Settings, StrengthEntry
from ...tasks import equivariance
from ..bench import scoring
from ..engine import LOCAL, Engine
from ..run_folder import (
    Progress,
    as_json,
    check_names,
    check_sources,
    claim_folder,
    device_name,
)
from ..scoring import UNITS_LOG, Rows, WorkItem, all_rows, finish_items, rows_path
from .measurements import (
    Data,
    Measurement,
    Score,
    builtin_objects,
    clip_measurements,
    drift_measurement,
    given_clips,
    given_pairs,
    measure_config,
    object_measurements,
    open_data,
    photo_set,
    trained_among,
    transfer_measurements,
)
from .reading import read_retention
from .scoring import task_difference, task_metrics
from .settings import NEAR_WORDS, STRENGTHS, TASKS, RetentionConfig
from .strengths import AdjustableFeatures

Protocols = Mapping[str, ProtocolRecord]


def measure_retention(
    backbone: str,
    adapter: Path | str,
    out: Path,
    config: RetentionConfig | None = None,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    long_side: int | None = None,
    progress: Progress | None = None,
    engine: Engine = LOCAL,
) -> RetentionResult:
    """Measure what an adapter costs elsewhere, at several strengths, and write retention.json.

    Rows of every measurement (photos, object, block of pairs, clip) and strength are written as soon as they exist. The
    same call resumes an interrupted run, and a call with more strengths measures only the new ones.

    Args:
        backbone: Hub id, folder, or `equiview/tiny`.
        adapter: Its folder, the run folder that contains it, or its name on the hub.
        out: The folder: retention.json, rows/TASK/strength-S/NAME.jsonl, views/.
        config: What is measured. The usual strengths are joined by the one the adapter was saved at.
        device: Where it runs.
        dtype: Of the weights, `float32` or `bfloat16`.
        long_side: Pictures are resized to this; None is what the adapter was made for.
        progress: Called with (task, done, total).
        engine: Where photos, objects, blocks of pairs and clips are measured.

    Returns:
        The content of retention.json.

    Raises:
        EquiviewError: Bad input, an adapter that does not fit or has no strength, or a folder that holds another run.
    """
    out, report = Path(out), progress or (lambda stage, done, total: None)
    record = read_record(adapter)
    config = config or RetentionConfig()
    config = replace(config, objects=config.objects or builtin_objects(record))
    check_inputs(config)
    sizes: Settings = {} if long_side is None else {"long_side": long_side}
    sizes |= {"device": device, "dtype": getattr(torch, dtype)}
    adjustable = AdjustableFeatures(load(backbone, adapter=adapter, **sizes))
    saved = saved_strength(adjustable)
    if config.strengths == STRENGTHS and saved is not None:
        config = replace(config, strengths=tuple(sorted({*STRENGTHS, saved})))
    claim(out, config, adjustable)
    data = open_data(config)
    protocols = protocols_of(adjustable, config, data)
    entries = [*strength_entries(finished_items(adjustable, config, data, out, report, engine), protocols, data)]
    protocol = {
        **protocol_of(adjustable, config, data),
        "trained_on": trained_among(record, config.objects),
        "tasks": protocols,
        "device": device_name(device),
        "saved_strength": saved,
    }
    reading = read_retention(entries, config.tolerance, config.pairs is None and trained_on_categories(record))
    result: RetentionResult = as_json({"protocol": protocol, "strengths": entries, "reading": reading})
    write_json(out / "retention.json", result)
    return result


def saved_strength(adjustable: AdjustableFeatures) -> float | None:
    """Return the strength an adapter was saved at, before it is turned; None where its parts have different ones."""
    adapter = adjustable.adapted.describe().get("adapter")
    return None if adapter is None else adapter["strength"]


def trained_on_categories(record: Mapping[str, Any]) -> bool:
    """Say whether an adapter's recipe trained on instances of the rendered categories, as `default` does."""
    training = stage_of(record.get("recipe"), "head_training")
    return training is not None and bool(training.get("instances"))


def check_inputs(config: RetentionConfig) -> None:
    """Open what is cheap to open of everything that is given, before anything is loaded or rendered.

    Raises:
        EquiviewError: Something is missing, broken, or named twice.
    """
    check_names(config.objects, "objects")
    check_sources(config.objects)
    photo_set(config)
    if config.pairs is not None:
        given_pairs(config.pairs)
    if config.clips is not None:
        given_clips(config.clips)


def claim(out: Path, config: RetentionConfig, adjustable: AdjustableFeatures) -> None:
    """Claim the folder for this adapter and these data; strengths and tolerance may change when it is continued."""
    held = {key: value for key, value in asdict(config).items() if key not in ("strengths", "tolerance")}
    claim_folder(out, held | {"photo_names": photo_set(config)[0], "features": adjustable.at(1.0).describe()})


def measurements_of(config: RetentionConfig, data: Data, out: Path) -> dict[str, list[Measurement]]:
    """Return everything that is measured, by task."""
    return {
        "drift": [drift_measurement(config)],
        "equivariance": object_measurements(config, config.objects, out / "views"),
        "transfer": transfer_measurements(data.pairs),
        "tracking": clip_measurements(data.clips),
    }


def finished_items(
    adjustable: AdjustableFeatures,
    config: RetentionConfig,
    data: Data,
    out: Path,
    progress: Progress,
    engine: Engine = LOCAL,
) -> dict[str, dict[float, list[WorkItem]]]:
    """Do the work of every task that is not done yet, all strengths of a measurement in turn; return its items."""
    items = {
        task: work_items(measurements, adjustable, config.measured, out)
        for task, measurements in measurements_of(config, data, out).items()
    }
    for task in TASKS:
        in_turn = [item for at_strengths in zip(*items[task].values(), strict=True) for item in at_strengths]
        # One worker measures at all strengths: the backbone runs once a picture.
        together = len(config.measured)
        finish_items(in_turn, partial(progress, task), engine, log=out / UNITS_LOG, together=together)
    return items


def work_items(
    measurements: Sequence[Measurement], adjustable: AdjustableFeatures, strengths: Sequence[float], out: Path
) -> dict[float, list[WorkItem]]:
    """Return the work items at each strength; what a measurement needs at all strengths is prepared once."""

    def item(measurement: Measurement, strength: float) -> WorkItem:
        path = rows_path(out, measurement.task, f"strength-{strength!r}", measurement.name)
        return WorkItem(path, partial(_rows_at, latest, measurement, adjustable, strength))

    latest = _Latest()
    return {strength: [item(measurement, strength) for measurement in measurements] for strength in strengths}


class _Latest:
    """Keeps what was prepared for a measurement until another one is asked for."""

    def __init__(self) -> None:
        self.kept: tuple[Measurement, Score] | None = None

    def score(self, measurement: Measurement) -> Score:
        """Return what measures it, of any features."""
        if self.kept is None or self.kept[0] is not measurement:
            self.kept = None  # Two at a time would take twice the memory.
            self.kept = (measurement, measurement.prepare())
        return self.kept[1]


def _rows_at(latest: _Latest, measurement: Measurement, adjustable: AdjustableFeatures, strength: float) -> Any:
    return latest.score(measurement)(adjustable.at(strength))


def protocols_of(adjustable: AdjustableFeatures, config: RetentionConfig, data: Data) -> Protocols:
    """Return what must be known to repeat each task; the features stand beside them."""
    source: Any = adjustable.at(1.0)
    drift: Settings = {"queries": config.queries, "units": NEAR_WORDS}
    tasks: dict[str, Any] = {
        "drift": drift,
        "equivariance": equivariance.protocol_of(source, measure_config(config)),
        "transfer": scoring.protocol_of(source, data.pairs),
        "tracking": scoring.protocol_of(source, data.clips),
    }
    for protocol in tasks.values():
        protocol.pop("features", None)
    return tasks


def protocol_of(adjustable: AdjustableFeatures, config: RetentionConfig, data: Data) -> Settings:
    """Return what is the same for all tasks."""
    photos, _ = photo_set(config)
    names = {"photos": photos, "objects": list(config.objects), "pairs": data.pairs_name, "clips": data.clips_name}
    return {
        "features": adjustable.at(1.0).describe(),
        "retention": asdict(config),
        "data": names,
        "ci95": "percentile bootstrap, 10,000 draws of photos, objects, source pictures or clips; differences paired",
        "versions": versions(),
    }


def strength_entries(
    items: Mapping[str, Mapping[float, Sequence[WorkItem]]], protocols: Protocols, data: Data
) -> Iterator[StrengthEntry]:
    """Yield an entry for each strength, from the rows on disk; the first is what the others are compared with."""
    first: dict[str, Rows] = {}
    for strength in items["drift"]:
        rows = {task: all_rows(items[task][strength]) for task in TASKS}
        first = first or rows
        metrics = {task: task_metrics(task, rows[task], protocols[task], data) for task in TASKS}
        differences = {
            task: task_difference(task, first[task], rows[task], protocols[task], metrics[task])
            for task in TASKS
            if task != "drift"
        }
        failed = {task: failure_counts(rows[task]) for task in TASKS}
        yield {
            "strength": strength,
            "drift": metrics["drift"],
            "equivariance": metrics["equivariance"],
            "transfer": metrics["transfer"],
            "tracking": metrics["tracking"],
            "difference": differences,
            "failed": failed,
        }
