"""Run folders: claimed by one run, resumable, their rows gathered into summaries."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .captures import open_object
from .errors import bad_input
from .io import atomic_path, read_json, read_jsonl, write_json
from .types import View

Progress = Callable[[str, int, int], None]
SEARCHES = {"summary.json": None, "summary_in_mask.json": "in_mask", "summary_unambiguous.json": "unambiguous"}


def object_name(source: str) -> str:
    """Return the name an object has in rows and pictures: the file's stem, or procedural-SEED."""
    return source.replace(":", "-") if source.startswith("procedural:") else Path(source).stem


def check_names(sources: Sequence[str], what: str) -> None:
    """Raise EquiviewError when there are no objects, or two would have the same name."""
    if not sources:
        raise bad_input(what, "at least one object", "none", "Name a mesh, or procedural:1.")
    names = [object_name(source) for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        fix = "Objects to test on must not be trained on; rename a file when two share a name."
        raise bad_input(what, "every object once", f"{', '.join(twice)} twice", fix)


def claim_folder(out: Path, what: Mapping[str, Any]) -> None:
    """Write what this run is, or check that the folder holds the very same run (to go on with it).

    Raises:
        EquiviewError: The folder holds another run.
    """
    wanted = as_json(what)
    path = out / "run.json"
    if not path.exists():
        write_json(path, wanted)
        return
    found = read_json(path)
    changed = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if changed:
        raise bad_input(
            str(out),
            "a new folder, or this very run to go on with",
            f"another run (it differs in: {', '.join(changed)})",
            "Choose another --out.",
        )


def as_json(value: Any) -> Any:
    """Return the value as JSON would give it back (tuples become lists, paths text)."""
    return json.loads(json.dumps(value, default=str))


def open_objects(
    sources: Sequence[str], n_views: int, seed: int, cache: Path, progress: Progress
) -> dict[str, Sequence[View]]:
    """Render (or open) every object by name; views are read from disk when needed."""
    objects = {}
    for number, source in enumerate(sources):
        progress("render", number, len(sources))
        objects[object_name(source)] = open_object(source, n_views=n_views, seed=seed, cache_dir=cache)
    progress("render", len(sources), len(sources))
    return objects


def rows_path(out: Path, name: str) -> Path:
    """Return where an object's rows are; when the file is there the object is finished."""
    return out / "rows" / f"{name}.jsonl"


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows at once: all of them or none."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def summarize_run(
    out: Path, names: Sequence[str], summary: Callable[[list[dict[str, Any]], str | None], dict[str, Any]]
) -> dict[str, Any]:
    """Gather the objects' rows into rows.jsonl and write the summaries of the three searches.

    Returns:
        The content of summary.json.
    """
    rows = [row for name in names for row in read_jsonl(rows_path(out, name))]
    write_rows(out / "rows.jsonl", rows)
    for name, search in SEARCHES.items():
        write_json(out / name, summary(rows, search))
    return read_json(out / "summary.json")


def device_name(device: str) -> str:
    """Return the card's name for CUDA, else the device itself."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
