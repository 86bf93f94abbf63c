"""Two finished runs side by side: what changed, paired by what each row is about, with intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import bad_input
from ..io import read_json, read_jsonl, require_file
from ..metrics.paired import difference
from ..metrics.rows import Row, check_summary, identity, is_bench, of_kind, sampling_unit_key, scores
from ..records import BenchComparison, ComparedRun, Comparison, Difference, Differences, ProtocolRecord
from ..stats import MIN_SAMPLING_UNITS
from .scoring import rows_path

KINDS = ("measure", "transfer", "tracking", "track", "pose")
# Parts of a protocol that say which features were used, or describe the machine and the result: free to differ.
FREE = (
    *("features", "adapter", "notes", "versions", "device", "ambiguous_share", "out"),
    *("run.backbone", "run.adapter", "run.features", "run.recipe", "run.train_objects", "run.photos", "run.budget_s"),
    *("run.notes", "run.device", "run.out"),
)
# Of the features these are held all the same. Blocks, stride and positions of another backbone are other things.
HELD_FEATURES = ("long_side", "norm", "dtype")
HELD_OF_ONE_BACKBONE = (*HELD_FEATURES, "blocks", "stride", "position")


@dataclass(frozen=True)
class FinishedRun:
    """What is compared of a run.

    Attributes:
        folder: Where it is.
        kind: `measure`, `improve`, `transfer`, `tracking`, `pose` or `task`.
        protocol: How it was measured.
        rows: One a sample.
        metrics: Names of the summary's scores.
    """

    folder: Path
    kind: str
    protocol: ProtocolRecord
    rows: Sequence[Row]
    metrics: tuple[str, ...]


def read_finished(folder: Path) -> FinishedRun:
    """Read the summary and the rows of a run.

    Raises:
        EquiviewError: One is missing or broken: the run is not finished.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise bad_input(str(folder), "the folder of a finished run", "nothing there", "Check the path.")
    path = folder / "summary.json"
    if not path.is_file():
        fix = "Let the run finish (the same command resumes it), or give the folder that has it."
        raise bad_input(str(folder), "a summary.json in it", "none", fix)
    summary = read_json(path)
    check_summary(summary, str(path))
    main = summary.get("after", summary) if isinstance(summary, dict) else None
    if not isinstance(main, dict) or not isinstance(main.get("metrics"), dict):
        raise bad_input(str(path), 'a summary with "metrics"', "none", "Write it again: run the same command.")
    rows = read_jsonl(require_file(folder / "rows.jsonl", "the rows of a run"))
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise bad_input(str(folder / "rows.jsonl"), "a row for each sample", "none", "Run the same command again.")
    protocol = summary.get("protocol", {})
    kind = "improve" if "after" in summary else next((name for name in KINDS if name in protocol), "task")
    return FinishedRun(folder, kind, protocol, rows, tuple(main["metrics"]))


def compare_runs(
    before: Path, after: Path, *, variant: str = "adapted", unit: str | None = None, anyway: bool = False
) -> Comparison | BenchComparison:
    """Compare two runs of one kind, row by row.

    Args:
        before: Folder of the first run.
        after: Folder of the second; differences are second minus first.
        variant: Which variant of runs of `improve`.
        unit: What the interval is over: a key of the rows; the coarsest there is (object, clip, source picture) by
            default.
        anyway: Compare although the protocols differ.

    Returns:
        {"runs": [{"folder", "backbone", "adapter"}] * 2, "kind", "variant", "unit", "n_rows" (paired),
        "only_in": [n, n] (rows that the other run lacks), "protocol_differs": [fields], "metrics": {name: {"before",
        "after", "value", "relative", "ci95", "n", "n_improved"}}}. A unit's value is the mean over its paired rows.
        Of two benches: {"runs", "kind": "bench", "only_in": [[TASK/DATASET, ...]] * 2, "tasks": {task: {data set: such
        a comparison}}}.

    Raises:
        EquiviewError: A run is not finished, they are of different kinds, their protocols differ in more than the
            features, or no row is about the same thing.
    """
    if is_bench(before) and is_bench(after):
        return compare_benches(before, after, unit=unit, anyway=anyway)
    return compare_finished(read_finished(before), read_finished(after), variant=variant, unit=unit, anyway=anyway)


def compare_finished(
    before: FinishedRun, after: FinishedRun, *, variant: str = "adapted", unit: str | None = None, anyway: bool = False
) -> Comparison:
    """Compare two runs that were read, see `compare_runs`."""
    runs = [before, after]
    names = f"{before.folder} and {after.folder}"
    if runs[0].kind != runs[1].kind:
        found = f"{runs[0].kind} and {runs[1].kind}"
        raise bad_input(names, "two runs of one kind", found, "Compare runs of one command.")
    differs = protocol_differences(runs[0].protocol, runs[1].protocol)
    if differs and not anyway:
        shown = "; ".join(f"{name} ({a} and {b})" for name, a, b in differs[:6])
        more = f"; and {len(differs) - 6} more" if len(differs) > 6 else ""
        fix = "Measure both in the same way, or add --anyway."
        raise bad_input(names, "protocols that differ in the features only", shown + more, fix)
    paired, key, only_in = _paired(runs, variant, unit)
    return {
        "runs": [_named(run) for run in runs],
        "kind": runs[0].kind,
        "variant": variant if runs[0].kind == "improve" else None,
        "unit": key,
        "n_rows": len(paired),
        "only_in": only_in,
        "protocol_differs": [name for name, _, _ in differs],
        "metrics": _differences(paired, key, _scorings(runs), _common(runs[0].metrics, runs[1].metrics)),
    }


def protocol_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the fields of two protocols that differ although they must not, with both values as short text."""
    a = dict(_leaves(first))
    b = dict(_leaves(second))
    features = [part.get("features", {}) for part in (first, second)]
    same = features[0].get("backbone") == features[1].get("backbone")
    held = [
        f"features.{name}"
        for name in (HELD_OF_ONE_BACKBONE if same else HELD_FEATURES)
        if all(name in one for one in features)
    ]
    names = [n for n in dict.fromkeys([*a, *b]) if n in held or not any(n == f or n.startswith(f + ".") for f in FREE)]
    return [(n, _short(a, n), _short(b, n)) for n in names if a.get(n) != b.get(n)]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _short(leaves: Mapping[str, Any], name: str) -> str:
    text = str(leaves[name]) if name in leaves else "nothing"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _named(run: FinishedRun) -> ComparedRun:
    features = run.protocol.get("features", {})
    return {"folder": str(run.folder), "backbone": features.get("backbone"), "adapter": _adapter(run.protocol)}


def _adapter(protocol: ProtocolRecord) -> Any:
    """Return what the protocol says about an adapter: its hash and strength, or the recipe that made it."""
    adapter = protocol.get("features", {}).get("adapter")
    recipe = protocol.get("run", {}).get("recipe")
    if isinstance(adapter, Mapping) and "sha256" in adapter:
        strength = adapter.get("strength", 1)
        partly = "" if strength == 1 else f" at strength {'mixed' if strength is None else f'{strength:g}'}"
        return f"{adapter['sha256']}{partly}"
    if adapter is not None:
        return adapter
    return recipe.get("name") if isinstance(recipe, Mapping) else recipe


def _paired(
    runs: Sequence[FinishedRun], variant: str, unit: str | None
) -> tuple[list[tuple[list[Row], list[Row]]], str, list[int]]:
    """Return the rows of both runs about the same, the unit's key, and how many rows of each have no partner."""
    rows = [_of_variant(run, variant) for run in runs]
    key = sampling_unit_key(rows[0], unit, str(runs[0].folder))
    sampling_unit_key(rows[1], key, str(runs[1].folder))
    by_identity = []
    for own in rows:
        grouped: dict[tuple[str, ...], list[Row]] = {}
        for row in of_kind(own, key):
            grouped.setdefault(identity(row), []).append(row)
        by_identity.append(grouped)
    first, second = by_identity
    common = [name for name in first if name in second]
    if not common:
        fix = "Measure the same objects, clips or pairs."
        raise bad_input(f"{runs[0].folder} and {runs[1].folder}", "rows about the same", "not one", fix)
    lonely = [sum(len(rows) for name, rows in own.items() if name not in common) for own in by_identity]
    return [(first[name], second[name]) for name in common], key, lonely


def _of_variant(run: FinishedRun, variant: str) -> list[Row]:
    if run.kind != "improve":
        return list(run.rows)
    own: list[Row] = [row for row in run.rows if row.get("variant") == variant]
    if not own:
        found = ", ".join(sorted({str(row.get("variant")) for row in run.rows}))
        raise bad_input(str(run.folder), f"rows of the variant {variant!r}", found, "Choose another --variant.")
    return own


def _scorings(runs: Sequence[FinishedRun]) -> list[Mapping[str, Any] | None]:
    return [run.protocol.get("scoring") for run in runs]


def _common(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return [name for name in first if name in second]


def _differences(
    paired: Sequence[tuple[list[Row], list[Row]]],
    key: str,
    scorings: Sequence[Mapping[str, Any] | None],
    named: Sequence[str],
) -> Differences:
    """Return before, after and their difference for each score, from rows where both runs have it as a number."""
    collected: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    dropped: dict[str, int] = {}
    for pair in paired:
        a, b = (_mean_scores(rows, scoring) for rows, scoring in zip(pair, scorings, strict=True))
        for metric in a.keys() & b.keys():
            if not (math.isfinite(a[metric]) and math.isfinite(b[metric])):
                collected.setdefault(metric, {})
                dropped[metric] = dropped.get(metric, 0) + 1
                continue
            unit = collected.setdefault(metric, {}).setdefault(str(pair[0][0][key]), ([], []))
            unit[0].append(a[metric])
            unit[1].append(b[metric])
    if not any(any(one[0]) or any(one[1]) for one in collected.get("failed", {}).values()):
        collected.pop("failed", None)
    order = [name for name in named if name in collected] or sorted(set(collected) - {"failed"})
    order += sorted(name for name in collected if "/" in name or name == "failed")
    reasons = {name: f"{count} of {len(paired)} rows are no finite number" for name, count in dropped.items()}
    differences = {name: _difference(collected[name], name) for name in dict.fromkeys(order)}
    for name in differences.keys() & reasons.keys():
        differences[name]["reason"] = reasons[name]
    return differences


def _mean_scores(rows: Sequence[Row], scoring: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the mean of each score over rows about the same (repeats); only scores that all of them have."""
    repeats = [scores(row, scoring) for row in rows]
    return {
        name: float(np.mean([one[name] for one in repeats])) for name in repeats[0] if all(name in f for f in repeats)
    }


def _difference(units: Mapping[str, tuple[list[float], list[float]]], metric: str) -> Difference:
    before, after = ({name: float(np.mean(values[side])) for name, values in units.items()} for side in (0, 1))
    return {"before": _mean(before), "after": _mean(after), **difference(before, after, metric)}


def _mean(values: Mapping[str, float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


def compare_benches(before: Path, after: Path, *, unit: str | None = None, anyway: bool = False) -> BenchComparison:
    """Compare every data set that two benches share, see `compare_runs`.

    Raises:
        EquiviewError: They share none, or one is broken or measured in another way.
    """
    summaries = [read_json(Path(folder) / "summary.json") for folder in (before, after)]
    sets = [[(task, name) for task, own in one["tasks"].items() for name in own] for one in summaries]
    shared = [name for name in sets[0] if name in sets[1]]
    if not shared:
        found = " and ".join(", ".join("/".join(name) for name in own) or "none" for own in sets)
        fix = "Run the same suite and tasks."
        raise bad_input(f"{before} and {after}", "a data set that both have", found, fix)
    tasks: dict[str, dict[str, Comparison]] = {}
    for name in shared:
        first, second = (_bench_run(Path(f), one, *name) for f, one in zip((before, after), summaries, strict=True))
        tasks.setdefault(name[0], {})[name[1]] = _with_finer(first, second, unit, anyway)
    lonely = [["/".join(name) for name in own if name not in shared] for own in sets]
    runs = next(iter(next(iter(tasks.values())).values()))["runs"]
    named: list[ComparedRun] = [
        {**run, "folder": str(folder)} for run, folder in zip(runs, (before, after), strict=True)
    ]
    return {"runs": named, "kind": "bench", "only_in": lonely, "tasks": tasks}


def _bench_run(folder: Path, summary: Mapping[str, Any], task: str, name: str) -> FinishedRun:
    """Read one data set of a bench as a run of its own; names of queries and points become unique in it."""
    path = rows_path(folder, task, name)
    rows = read_jsonl(require_file(path, "the rows of a data set"))
    for row in rows:
        for inner, outer in (("query", "object"), ("point", "clip")):
            if inner in row and outer in row:
                row[inner] = f"{row[outer]}/{row[inner]}"
    if not rows:
        raise bad_input(str(path), "a row for each sample", "none", "Run the same command again.")
    return FinishedRun(
        folder, task, summary["protocol"]["datasets"][task][name], rows, tuple(summary["tasks"][task][name])
    )


def _with_finer(before: FinishedRun, after: FinishedRun, unit: str | None, anyway: bool) -> Comparison:
    """Compare over the coarsest unit; where there are too few of it, over single queries or points too.

    Scores that single samples have are then given over samples, as the summary of a single object or clip is.
    """
    coarse = compare_finished(before, after, unit=unit, anyway=anyway)
    finer = {"object": "query", "clip": "point"}.get(coarse["unit"])
    counts = [entry["n"] for entry in coarse["metrics"].values()]
    if unit is not None or finer is None or max(counts, default=0) >= MIN_SAMPLING_UNITS:
        return coarse
    if not all(any(finer in row for row in run.rows) for run in (before, after)):
        return coarse
    single = compare_finished(before, after, unit=finer, anyway=anyway)
    return {
        **single,
        "metrics": coarse["metrics"] | single["metrics"],
        "unit": f"{coarse['unit']}, {finer}",
    }
