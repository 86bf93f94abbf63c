"""The public OmniProbe board (github.com/GenIntel/OmniProbe), models by tasks as its page reads it, and its results."""

import re
from pathlib import Path
from typing import Any

from ...errors import bad_input
from ...formats.omniprobe import read_results
from ...io import read_json
from .points import PointSet, StudyPoint, checked

# The line a model belongs to: trained by one method, or from another's weights. First match of the name's beginning
# wins. Models of one line are not independent.
FAMILIES = (
    ("DIY-SC", "DINOv2"),
    ("DINOv3", "DINOv3"),
    ("DINOv2", "DINOv2"),
    ("DINO-", "DINO"),
    ("ConvNeXt-B (OpenCLIP", "CLIP"),
    ("MetaCLIP", "CLIP"),
    ("V-JEPA", "V-JEPA"),
    ("I-JEPA", "I-JEPA"),
    ("C-RADIO", "C-RADIO"),
    ("PE-", "PE"),
    ("SD ", "Stable Diffusion"),
)
# Names a shell and a reader can type; the slash stands between task and score only.
PLAIN = (
    ("\u03b4", "delta"),
    ("\u03c0/6", "30deg"),
    ("\u03c0/18", "10deg"),
    (" (%)", ""),
    (" (PCK)", ""),
    (". ", "_"),
    (" ", "_"),
    ("<", "_under_"),
)


# What the board calls tasks that results have under another name.
BOARD_TASKS = {"tapvid": "tracking"}


def family_of(model: str) -> str:
    """Return the line of a model of the board: by the table, else the name up to its size or version."""
    for start, family in FAMILIES:
        if model.startswith(start):
            return family
    return re.split(r"[-\s/]|\d\.|v\d", model)[0]


def plain_name(task: str, score: str) -> str:
    """Return the name of a score as it is typed: `tracking/delta_avg`, `navi/recall@0.02m`."""
    for old, new in PLAIN:
        score = score.replace(old, new)
    return f"{task}/{score.lower()}"


def read_omniprobe(path: Path) -> PointSet:
    """Read the board's JSON, or a file of results of one task (.jsonl, see `read_result_lines`).

    The board: {"tasks": {task: {"metrics_meta": {score: {"higher_better"}}, "results": {model: {score:
    number}}}}}.

    Raises:
        EquiviewError: It is another file.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        return read_result_lines(path)
    board = read_json(path)
    tasks = board.get("tasks") if isinstance(board, dict) else None
    if not isinstance(tasks, dict) or not all(isinstance(t, dict) and _is_task(t) for t in tasks.values()):
        fix = "Give the JSON the board's page reads (branch gh-pages of GenIntel/OmniProbe)."
        raise bad_input(str(path), 'a board ("tasks", each with "results")', "another file", fix)
    scores: dict[str, dict[str, float]] = {}
    lower = set()
    for task, part in tasks.items():
        for name, meta in part["metrics_meta"].items():
            lower |= set() if meta.get("higher_better", True) else {plain_name(task, name)}
        for model, own in part["results"].items():
            for name, value in own.items():
                number = checked(value, f"{path}: {task}: {model}: {name}")
                if number is not None:
                    scores.setdefault(model, {})[plain_name(task, name)] = number
    points = tuple(StudyPoint(model, family_of(model), own) for model, own in sorted(scores.items()))
    note = "Models of one line (DINOv2, CLIP with MetaCLIP and OpenCLIP, ...) count as one family."
    return PointSet(points, frozenset(lower), (f"OmniProbe board, {len(points)} models",), (note,))


def read_result_lines(path: Path) -> PointSet:
    """Read results/TASK.jsonl, which OmniProbe appends to: of two runs of one backbone and layer the last counts.

    Raises:
        EquiviewError: It is another file.
    """
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for one in read_results(path):
        own = scores.setdefault((one.backbone, one.layer), {})
        own |= {plain_name(BOARD_TASKS.get(one.task, one.task), name): value for name, value in one.metrics.items()}
    backbones = [backbone for backbone, _ in scores]
    points = tuple(
        # A backbone may stand in it with several layers, which are points of their own.
        StudyPoint(
            backbone if backbones.count(backbone) == 1 else f"{backbone}, layer {layer}", family_of(backbone), own
        )
        for (backbone, layer), own in sorted(scores.items())
    )
    return PointSet(points, frozenset(), (f"OmniProbe results {path.name}, {len(points)} models",), ())


def _is_task(value: dict[str, Any]) -> bool:
    parts = [value.get(key) for key in ("results", "metrics_meta")]
    return all(isinstance(part, dict) and all(isinstance(own, dict) for own in part.values()) for part in parts)
