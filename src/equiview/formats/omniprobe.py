"""OmniProbe's results: one JSON record a line and run, with the metrics by name.

Source: github.com/GenIntel/OmniProbe, `omniprobe/runtime.py` (`build_result_entry`) and the scripts of its tasks, whose
scores are percent too. Only scores with one meaning on both sides are written: NAVI, ScanNet's pairs, TAP-Vid.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import bad_input
from ..io import append_jsonl, read_jsonl
from ..records import BenchSummary, FeaturesRecord, Metrics
from ..schema import as_name, as_number, as_record

# Data sets of a bench: the task there, and what the data set is called.
TASKS = {
    "navi": ("navi", "NAVI_wild_all"),
    "scannet-1500": ("scannet", "ScanNet-pairs"),
    "tapvid-davis": ("tapvid", "tapvid_davis"),
}
TRACKING = {"average_jaccard": "jaccard", "delta_avg": "delta_avg", "occlusion_accuracy": "occ_acc"}
_FIX = "Give a results/TASK.jsonl of OmniProbe."


@dataclass(frozen=True)
class Result:
    """A line of such a file.

    Attributes:
        task: Such as `navi`, `tapvid`.
        backbone: What OmniProbe calls the model.
        layer: As text.
        metrics: Scores by their names there.
    """

    task: str
    backbone: str
    layer: str
    metrics: dict[str, float]


def metric_name(name: str) -> str | None:
    """Return what OmniProbe calls a score of recall or tracking; None where it has none that means the same."""
    if name in TRACKING:
        return TRACKING[name]
    if name.startswith("delta@"):
        return f"delta_{name.removeprefix('delta@').removesuffix('px')}"
    parts = name.split("@")
    if parts[0] != "recall":
        return None
    if len(parts) == 3:
        return f"Recall@{parts[2]}@{parts[1]}"
    return f"Recall@{float(parts[1][:-2]) / 100:.2f}m" if parts[1].endswith("cm") else f"Recall@{parts[1]}"


def write_results(path: Path, summary: BenchSummary) -> list[str]:
    """Append a line for each data set of a bench that OmniProbe has too.

    Returns:
        Their names.

    Raises:
        EquiviewError: The disk refuses.
    """
    written = []
    for task, sets in summary["tasks"].items():
        for name, metrics in sets.items():
            if name in TASKS:
                append_jsonl(path, _entry(name, metrics, summary["protocol"]["datasets"][task][name]))
                written.append(name)
    return written


def _entry(name: str, metrics: Metrics, protocol: Mapping[str, Any]) -> dict[str, Any]:
    task, data_set = TASKS[name]
    features: FeaturesRecord = protocol["features"]
    found = {there: one["value"] for key, one in metrics.items() if (there := metric_name(key)) is not None}
    entry = {
        "time": datetime.now().strftime("%d%m%Y-%H%M"),
        "task": task,
        "backbone": features.get("backbone"),
        "patch_size": features.get("patch"),
        # Layers are counted from 0 there.
        "layer": "-".join(str(block - 1) for block in features.get("blocks", [])),
        "output": "dense",
        "metrics": {key: value for key, value in found.items() if value is not None},
        "output_dir": "",
        "config": json.dumps(protocol),
        "dataset": data_set,
    }
    return entry | ({"num_corr": protocol["recall"]["matches"]} if "recall" in protocol else {})


def read_results(path: Path) -> list[Result]:
    """Read every line of a file of results.

    Raises:
        EquiviewError: It is another file, or a score is no number.
    """
    rows = read_jsonl(path)
    if not rows:
        raise bad_input(str(path), "lines of results", "none", _FIX)
    return [_result(row, f"{path} line {number}") for number, row in enumerate(rows, 1)]


def _result(row: Any, where: str) -> Result:
    row = as_record(row, where, ("task", "backbone", "metrics"), _FIX)
    metrics = as_record(row["metrics"], f"{where} metrics", fix=_FIX)
    return Result(
        as_name(row["task"], f"{where} task", fix=_FIX),
        as_name(row["backbone"], f"{where} backbone", fix=_FIX),
        str(row.get("layer", ""))[:80],
        {
            as_name(key, f"{where} metrics", fix=_FIX): as_number(value, f"{where} {key}")
            for key, value in metrics.items()
        },
    )
