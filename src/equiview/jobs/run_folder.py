"""Run folders: claimed by one run, resumable, their rows gathered into summaries."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from ..data.names import distinct_names
from ..data.names import source_name as object_name
from ..data.open import check_source, open_source
from ..errors import bad_input
from ..finetune.recipe_records import with_current_recipe
from ..io import file_name, read_json, read_jsonl, require_file, write_json
from ..metrics.equivariance import METRIC_NAMES
from ..records import ImproveSummary, PairRow, Settings, Summary
from ..types import View
from .scoring import rows_path, write_rows

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
AnySummary = TypeVar("AnySummary", Summary, ImproveSummary)
SEARCHES = {"summary.json": None, "summary_in_mask.json": "in_mask", "summary_unambiguous.json": "unambiguous"}

# Steps of the bar for each object that is rendered or opened.
PARTS = 100

# Former names of the sizes of rendered data.
SIZE_NAMES = {"members": "instances", "family": "category"}
CATEGORY_NAMES = {"families": "categories"}

# What a run folder holds before there is any result.
PREPARED = ("run.json", "views", "plan.json", "companions.json")


def check_names(sources: Sequence[str], what: str) -> None:
    """Raise EquiviewError when there are no objects, or two would have the same name."""
    if not sources:
        raise bad_input(what, "at least one object", "none", "Name a mesh, or builtin:mug.")
    check_distinct([object_name(source) for source in sources], what)


def check_distinct(names: Sequence[str], what: str) -> None:
    """Raise EquiviewError when two objects have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        fix = "Objects to test on must not be trained on; rename a file when two share a name."
        raise bad_input(what, "every object once", f"{', '.join(twice)} twice", fix)


def check_sources(sources: Sequence[str]) -> None:
    """Open every source as far as is cheap, so that a bad one is found before the long work begins.

    Raises:
        EquiviewError: One is missing, broken or empty.
    """
    for source in sources:
        check_source(source)


def refuse_file(out: Path) -> None:
    """Check that a run may be written there.

    Raises:
        EquiviewError: It is a file.
    """
    if out.exists() and not out.is_dir():
        raise bad_input(str(out), "a folder to write to, or nothing yet", "a file", "Choose another --out.")


def claim_folder(out: Path, what: Mapping[str, Any]) -> None:
    """Write what this run is, or check that the folder holds the very same run (to go on with it).

    A run that has no result yet (a mistyped name, say) does not keep its folder: rendered views are found again by
    what they show, whoever drew them.

    Raises:
        EquiviewError: The folder holds another run, or is a file.
    """
    wanted = as_json(what)
    path = out / "run.json"
    refuse_file(out)
    for what_is_there in ("rows", "tokens"):
        if not path.exists() and (out / what_is_there).exists():
            fix = f"Choose another --out: nobody knows what these {what_is_there} were made with."
            raise bad_input(str(out), f"run.json beside the {what_is_there} of a run", "none", fix)
    if not path.exists() or all(file.name in PREPARED for file in out.iterdir()):
        for decided in ("plan.json", "companions.json"):
            (out / decided).unlink(missing_ok=True)
        write_json(path, wanted)
        return
    found = read_json(path)
    if not isinstance(found, dict):
        raise bad_input(str(path), "the record of a run", type(found).__name__, "Choose another --out.")
    found = with_current_sizes(with_current_recipe(found))
    changed = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if changed:
        raise bad_input(
            str(out),
            "a new folder, or this very run to go on with",
            f"another run (it differs in: {', '.join(changed)})",
            "Choose another --out.",
        )


def with_current_sizes(record: Mapping[str, Any]) -> Settings:
    """Return the record of a bench or retention run with today's names for the sizes of rendered data."""
    if isinstance(record.get("bench"), dict):
        return {**record, "bench": with_current_sizes(record["bench"])}
    sizes = record.get("sizes")
    if not isinstance(sizes, dict) or not isinstance(sizes.get("family"), dict):
        return dict(record)
    sizes = {SIZE_NAMES.get(key, key): value for key, value in sizes.items()}
    sizes["category"] = {CATEGORY_NAMES.get(key, key): value for key, value in sizes["category"].items()}
    return {**record, "sizes": sizes}


def as_json(value: Any) -> Any:
    """Return the value as JSON would give it back (tuples become lists, paths text)."""
    return json.loads(json.dumps(value, default=str))


def open_objects(
    sources: Sequence[str], n_views: int, seed: int, cache: Path, progress: Progress
) -> dict[str, Sequence[View]]:
    """Render (or open) every object by name; views are read from disk when needed."""
    names = distinct_names(sources)
    progress("render", 0, len(sources) * PARTS)
    return {names[number]: open_number(sources, number, n_views, seed, cache, progress) for number in range(len(names))}


def open_number(
    sources: Sequence[str], number: int, n_views: int, seed: int, cache: Path, progress: Progress | None = None
) -> Sequence[View]:
    """Render (or open) one of many objects; `progress` is told how far all of them are once this one is there."""

    def part(done: int, total: int) -> None:
        # Parts of a source count too: COLMAP works for minutes on one.
        if progress is not None:
            progress("render", number * PARTS + PARTS * done // max(total, 1), len(sources) * PARTS)

    views = open_source(sources[number], n_views=n_views, seed=seed, cache_dir=cache, progress=part)
    part(1, 1)
    return views


def read_rows(path: Path) -> list[PairRow]:
    """Read an object's rows, which were written at once.

    Raises:
        EquiviewError: The file is missing, cut off, or holds other rows.
    """
    text = require_file(path, "an object's rows").read_bytes()
    rows = read_jsonl(path)
    keys = {"object", "pair", "angle_deg", "in_mask", "unambiguous", "ambiguous_share", *METRIC_NAMES}
    bad = [number for number, row in enumerate(rows, 1) if not isinstance(row, dict) or keys - row.keys()]
    if bad or not rows or not text.endswith(b"\n"):
        found = f"another row at line {bad[0]}" if bad else "a file that ends early"
        raise bad_input(str(path), "all rows of an object", found, "Delete it and run the same command again.")
    return cast(list[PairRow], rows)


def summarize_run(
    out: Path, names: Sequence[str], summary: Callable[[list[PairRow], str | None], AnySummary]
) -> AnySummary:
    """Gather the objects' rows into rows.jsonl and write the summaries of the three searches.

    Returns:
        The content of summary.json.
    """
    rows = [row for name in names for row in read_rows(rows_path(out, name))]
    write_rows(out / "rows.jsonl", rows)
    for name, search in SEARCHES.items():
        write_json(out / name, summary(rows, search))
    return cast(AnySummary, read_json(out / "summary.json"))


def broken_path(out: Path, name: str) -> Path:
    """Return where it is noted that an object could not be opened."""
    return out / "broken" / f"{file_name(name)}.json"


def without_broken(out: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the objects that have rows, and those that could not be opened.

    Raises:
        EquiviewError: None has rows.
    """
    broken = [name for name in names if broken_path(out, name).exists() and not rows_path(out, name).exists()]
    if len(broken) == len(names):
        problem = read_json(broken_path(out, names[0]))["problem"]
        fix = "Check the list, and the first of them."
        raise bad_input("objects", "one or more that can be opened", f"{len(names)} broken: {problem}", fix)
    if broken:
        log.warning("%d of %d objects are broken and left out: see %s", len(broken), len(names), out / "broken")
    return [name for name in names if name not in set(broken)], broken


def ambiguous_shares(out: Path, names: Sequence[str]) -> dict[str, float | None]:
    """Return each finished object's share (0-1) of surface points that nothing tells apart, see `ambiguity`.

    None for a capture with sparse points only: its surface is not known.
    """
    return {name: read_rows(rows_path(out, name))[0]["ambiguous_share"] for name in names}


def device_name(device: str) -> str:
    """Return the card's name for CUDA, else the device itself."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
