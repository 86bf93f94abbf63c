"""Finished run folders as points: runs of measure and bench of the same features become one point."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import bad_input
from ...io import read_json
from ...metrics.equivariance import METRIC_NAMES, object_values
from ...metrics.rows import check_summary, is_bench
from ...schema import as_number
from ..compare import read_finished
from .points import PointSet, StudyPoint

# What makes features the same wherever they are used. The resolution is not among them: each data set has its own.
SAME = ("backbone", "weights_sha256", "blocks", "norm", "stride", "position", "head", "adapter")
PREFIXES = {"measure": "", "transfer": "transfer/", "tracking": "track/", "track": "track/", "pose": "pose/"}


@dataclass(frozen=True)
class Folder:
    """What a folder adds to a point.

    Attributes:
        path: The folder.
        features: Their description in the protocol.
        long_side: The resolution that was asked for; None when each data set had its own.
        scores: By name.
        units: By score and object.
    """

    path: Path
    features: Mapping[str, Any]
    long_side: int | None
    scores: Mapping[str, float]
    units: Mapping[str, Mapping[str, float]]


def read_folders(paths: Sequence[Path]) -> PointSet:
    """Read run folders and join those of the same backbone, weights, blocks, head and adapter.

    A run of `measure` gives `ape`, `pcdp@0.05` ...; a bench TASK/DATASET/SCORE; a run of one task TASK/SCORE. A bench
    at the data sets' own resolutions joins the one measurement of its features; one with a resolution of its own joins
    the measurement at that resolution.

    Raises:
        EquiviewError: A folder is no finished run, or two give the same score of the same features.
    """
    groups: list[list[Folder]] = []
    # Measurements first: benches then look for theirs.
    for folder in sorted((_read(path) for path in paths), key=lambda one: "ape" not in one.scores):
        fitting = [group for group in groups if _fits(folder, group[0])]
        if len(fitting) > 1:
            found = f"{len(fitting)} that fit: {', '.join(str(group[0].path) for group in fitting[:3])}"
            fix = "Run the bench with --long-side, or leave measurements out."
            raise bad_input(str(folder.path), "one measurement of its features", found, fix)
        if fitting:
            _check_new(folder, fitting[0])
            fitting[0].append(folder)
        else:
            groups.append([folder])
    hashes: dict[str, set[str]] = {}
    for group in groups:
        hashes.setdefault(_backbone(group[0]), set()).add(str(group[0].features.get("weights_sha256")))
    points = tuple(_point(group, len(hashes[_backbone(group[0])]) > 1) for group in groups)
    return PointSet(points, sources=(f"{len(paths)} run folders, {len(points)} sets of features",))


def _read(path: Path) -> Folder:
    if is_bench(path):
        return _read_bench(path)
    run = read_finished(path)
    if run.kind not in PREFIXES:
        fix = "Measure the adapter with `equiview measure --adapter`, and give that run."
        raise bad_input(str(path), "a run of measure, bench, transfer, track or pose", f"one of {run.kind}", fix)
    metrics = read_json(path / "summary.json")["metrics"]
    scores = _numbers(metrics, PREFIXES[run.kind], str(path))
    features = run.protocol.get("features", {})
    units = {m: object_values(run.rows, m) for m in METRIC_NAMES} if run.kind == "measure" else {}
    return Folder(path, features, features.get("long_side"), scores, units)


def _read_bench(path: Path) -> Folder:
    summary = read_json(path / "summary.json")
    check_summary(summary, str(path / "summary.json"))
    scores: dict[str, float] = {}
    for task, sets in summary["tasks"].items():
        for name, metrics in sets.items():
            scores |= _numbers(metrics, f"{task}/{name}/", str(path))
    protocol = summary["protocol"]
    return Folder(path, protocol["features"], protocol["bench"].get("long_side"), scores, {})


def _numbers(metrics: Mapping[str, Any], prefix: str, where: str) -> dict[str, float]:
    """Return the values that there are: an empty score was not measured."""
    broken = [name for name, one in metrics.items() if not isinstance(one, Mapping) or "value" not in one]
    if broken:
        raise bad_input(
            f"{where}: {broken[0]}", "a score with its value", repr(metrics[broken[0]])[:40], "Run it again."
        )
    values = {name: one["value"] for name, one in metrics.items() if one["value"] is not None}
    return {f"{prefix}{name}": as_number(value, f"{where}: {name}") for name, value in values.items()}


def _key(folder: Folder) -> str:
    return json.dumps([_in_full(folder.features.get(name)) for name in SAME], sort_keys=True)


def _in_full(value: Any) -> Any:
    """Leave a strength of 1 out: runs from before there were strengths say nothing about it."""
    if isinstance(value, list):
        return [_in_full(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _in_full(one) for key, one in value.items() if key != "strength" or one != 1}
    return value


def _fits(folder: Folder, other: Folder) -> bool:
    sides = (folder.long_side, other.long_side)
    return _key(folder) == _key(other) and (None in sides or sides[0] == sides[1])


def _check_new(folder: Folder, group: Sequence[Folder]) -> None:
    for other in group:
        both = [name for name in folder.scores if name in other.scores]
        if both:
            found = f"{both[0]} in {other.path} and in {folder.path}"
            raise bad_input("run folders", "every score of the same features once", found, "Leave one of them out.")


def _backbone(folder: Folder) -> str:
    """Return the last part of the backbone's name: a local path says nothing about the features."""
    return str(folder.features.get("backbone")).rstrip("/").rpartition("/")[2]


def _point(group: Sequence[Folder], several: bool) -> StudyPoint:
    """Make a point of the folders of the same features; `several`: the backbone's name stands for several weights."""
    first = group[0]
    features = first.features
    family = _backbone(first) + (f" ({str(features.get('weights_sha256'))[:6]})" if several else "")
    adapter = features.get("adapter")
    adapter_record = adapter if isinstance(adapter, Mapping) else {"sha256": adapter}
    name, strength = adapter_record.get("sha256"), adapter_record.get("strength", 1.0)
    tags = {
        "architecture": str(features.get("family")),
        "blocks": ",".join(map(str, features.get("blocks", []))),
        "long_side": str(first.long_side),
        "head": " + ".join(str(part.get("kind", part)) for part in features.get("head") or []) or "none",
        "adapter": str(name)[:8] if name else "none",
        "strength": ("mixed" if strength is None else f"{strength:g}") if name else "none",
    }
    parts = [family, f"blocks {tags['blocks']}", f"{tags['long_side']} px"]
    parts += [tags[key] for key in ("head", "adapter") if tags[key] != "none"]
    parts += [f"strength {tags['strength']}"] if tags["strength"] not in ("none", "1") else []
    scores = {score: value for folder in group for score, value in folder.scores.items()}
    units = {score: own for folder in group for score, own in folder.units.items()}
    return StudyPoint(", ".join(parts), family, scores, tags, units)
