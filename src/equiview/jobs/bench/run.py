"""Run the bench into a folder: rows by data set, a summary, and pictures of what went well and what did not."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import bad_input
from ...formats.omniprobe import TASKS as OMNIPROBE
from ...formats.omniprobe import write_results
from ...io import file_name, read_json, write_json
from ...models.adapters.folder import versions
from ...models.extractor import Extractor
from ...records import BenchProtocol, BenchSummary, DataSetResult, Metrics, MissingSet, ProtocolRecord, PublishedScores
from ..engine import LOCAL, Engine
from ..run_folder import Progress, as_json, claim_folder, device_name
from ..scoring import UNITS_LOG, WorkItem, finish_items, rows_path, write_rows
from .examples import save_examples
from .published import backbone_name, protocols_of, published, source_of, with_protocol
from .real import missing_set, real_sets, try_open
from .scoring import score, source_for
from .settings import BenchConfig, Found
from .synthetic import synthetic_sets


def bench(
    source: Any,
    out: str | Path,
    config: BenchConfig | None = None,
    progress: Progress | None = None,
    engine: Engine = LOCAL,
) -> BenchSummary:
    """Measure features on every data set of a suite.

    Writes rows/TASK/DATASET.jsonl, results/TASK/DATASET.json and pictures/TASK/DATASET/ as soon as a data set is
    finished, and the rows of an unfinished one sample by sample, so that the same call goes on where it stopped; and
    summary.json at the end.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        out: The folder.
        config: Suite, tasks, sizes.
        progress: Called with (stage, done, total); the stage "bench" counts data sets, others what the tasks do.
        engine: Where data sets are worked on.

    Returns:
        The content of summary.json: {"tasks": {task: {data set: {metric: {"value", "ci95", "n"}}}}, "failed": {task:
        {data set: {reason: samples}}}, "protocol": ..., "missing": [{"dataset", "task", "problem", "where",
        "layout"}]}.

    Raises:
        EquiviewError: Bad input, no real data set at all, or a folder that holds another run.
    """
    config = config or BenchConfig()
    out = Path(out)
    report = progress or (lambda stage, done, total: None)
    found, missing = (synthetic_sets(config), []) if config.suite == "synthetic" else real_sets(config)
    claim_folder(out, {"bench": asdict(config), "features": source.describe()})
    work = partial(_measure, source, out, config, progress if engine.inside else None)
    items = [WorkItem(result_path(out, one), partial(work, one)) for one in found]
    finish_items(items, partial(report, "bench"), engine, log=out / UNITS_LOG)
    measured = [one for one in found if result_path(out, one).exists()]
    for one in found:
        if one not in measured:
            missing.append(missing_set(one.name, read_json(problem_path(out, one))["problem"]))
    for one in measured:
        partial_path(out, one).unlink(missing_ok=True)
    return _summarize(source, out, config, measured, missing)


def write_omniprobe(out: Path, summary: BenchSummary) -> Path:
    """Write omniprobe.jsonl, a line for each data set that OmniProbe has too.

    Raises:
        EquiviewError: There is none.
    """
    path = Path(out) / "omniprobe.jsonl"
    path.unlink(missing_ok=True)
    if not write_results(path, summary):
        found = ", ".join(name for sets in summary["tasks"].values() for name in sets) or "none"
        fix = "Leave --to out, or get one of them: equiview data how navi."
        raise bad_input("--to omniprobe", f"one of {', '.join(OMNIPROBE)}", found, fix)
    return path


def result_path(out: Path, one: Found) -> Path:
    """Return where a data set's scores are; it is written last: when it is there, the data set is finished."""
    return out / "results" / one.task / f"{file_name(one.name)}.json"


def partial_path(out: Path, one: Found) -> Path:
    """Return where the rows of a data set are while it is measured."""
    return rows_path(out, one.task, f"{one.name}.partial")


def problem_path(out: Path, one: Found) -> Path:
    """Return where it is kept what is wrong with a data set that cannot be read."""
    return out / "problems" / one.task / f"{file_name(one.name)}.json"


def _measure(
    source: Any, out: Path, config: BenchConfig, progress: Progress | None, one: Found
) -> DataSetResult | None:
    """Measure one data set; note what is wrong with a real one that cannot be read."""
    # Only what comes from outside may be broken; a failure of the rendered sets is a failure of the run.
    opened, problem = try_open(one) if config.suite == "real" else (one.open(), "")
    if opened is None:
        write_json(problem_path(out, one), {"problem": problem})
        return None
    problem_path(out, one).unlink(missing_ok=True)
    if config.protocol is not None:
        source, opened = with_protocol(source, opened, protocols_of(config.protocol)[one.name])
    features = source_for(source, opened, config.long_side)
    stage = f"{one.task} {one.name}"
    show = None if progress is None else (lambda _, done, total: progress(stage, done, total))
    scored = score(features, opened, partial_path(out, one), show)
    save_examples(out / "pictures" / one.task / file_name(one.name), features, opened, scored.rows)
    write_rows(rows_path(out, one.task, one.name), scored.rows)
    return {"metrics": scored.metrics, "failed": scored.failed, "protocol": scored.protocol}


def _summarize(
    source: Any, out: Path, config: BenchConfig, measured: Sequence[Found], missing: list[MissingSet]
) -> BenchSummary:
    tasks: dict[str, dict[str, Metrics]] = {task: {} for task in config.tasks}
    failed: dict[str, dict[str, dict[str, int]]] = {task: {} for task in config.tasks}
    protocols: dict[str, dict[str, ProtocolRecord]] = {task: {} for task in config.tasks}
    for data_set in measured:
        result: DataSetResult = read_json(result_path(out, data_set))
        tasks[data_set.task][data_set.name] = result["metrics"]
        failed[data_set.task][data_set.name] = result["failed"]
        protocols[data_set.task][data_set.name] = result["protocol"]
    device = device_name(str(source.device)) if isinstance(source, Extractor) else "cpu"
    protocol: BenchProtocol = {
        "bench": asdict(config),
        "features": source.describe(),
        "versions": versions(),
        "device": device,
        "datasets": protocols,
    }
    summary: BenchSummary = as_json({"tasks": tasks, "failed": failed, "protocol": protocol, "missing": missing})
    if config.protocol is not None:
        summary["published"] = _published(source, config.protocol, measured)
    write_json(out / "summary.json", summary)
    return summary


def _published(source: Any, protocol: str, measured: Sequence[Found]) -> PublishedScores:
    """Return what the authors of a protocol report of this backbone as it is; nothing where they did not measure it."""
    features = source.describe()
    plain = not features.get("adapter") and not features.get("head")
    name = backbone_name(str(features.get("backbone"))) if plain else None
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for one in measured:
        found = published(protocol, one.name).get(name or "")
        if found is not None:
            scores.setdefault(one.task, {})[one.name] = dict(found)
    return {"protocol": protocol, "backbone": name, "source": source_of(protocol), "scores": scores}
