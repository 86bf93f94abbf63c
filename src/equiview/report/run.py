"""Read a run folder, and say clearly what is wrong with it when it cannot be read."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ..errors import bad_input, shown
from ..io import read_json, read_jsonl
from ..metrics.equivariance import METRIC_NAMES
from ..metrics.rows import check_row, check_summary
from ..records import Differences, PairRow, ProtocolRecord, Settings, Summary
from ..schema import check

VARIANTS = ("pretrained", "last_block", "fixed_average", "without_object", "random_head", "adapted")
LABELS = {
    "pretrained": "Pretrained",
    "last_block": "Last block",
    "fixed_average": "Fixed average",
    "without_object": "Nothing learned",
    "random_head": "Random head",
    "adapted": "Adapted",
    "measured": "Measured",
}
ROW_KEYS = ("object", "pair", "angle_deg", "n", "status", *METRIC_NAMES)
STATES = ("before", "after")
PICTURE_KEYS = frozenset(
    ["rgb0", "rgb1", "mask0", "mask1", "xy0", "xy1_true", "query_xy0", "query_xy1_true", "stride_xy", "offset_xy"]
    + [f"{name}_{state}" for name in ("xy1", "heat", "pca0", "pca1") for state in STATES]
)


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        folder: Where it is.
        kind: `improve` (variants and their difference) or `measure` (one set of scores).
        variants: Summary {"metrics", "protocol"} by variant, in the order they are shown.
        difference: After minus before, by metric; empty for `measure`.
        protocol: The record of the whole run.
        rows: Rows by variant.
        log: Events of the training, empty when there was none.
        pictures: Picture file by object.
        adapter: The adapter's record, None when there is none.
        live: Packs of the live part, none in runs of before there was one.
    """

    folder: Path
    kind: Literal["improve", "measure"]
    variants: dict[str, Summary]
    difference: Differences
    protocol: ProtocolRecord
    rows: dict[str, list[PairRow]]
    log: list[Settings] = field(default_factory=list)
    pictures: dict[str, Path] = field(default_factory=dict)
    adapter: Settings | None = None
    live: tuple[Path, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Remarks a reader must see before the numbers."""
        found = [*self.protocol.get("notes", [])]
        for summary in self.variants.values():
            found += summary.get("protocol", {}).get("notes", [])
        return list(dict.fromkeys(map(str, found)))

    @property
    def settings(self) -> Settings:
        """What was asked for (the command's own record), empty when it was not written."""
        return self.protocol.get("run", {})

    @property
    def backbone(self) -> str | None:
        """The name the backbone was asked for by, or its id."""
        named = self.settings.get("backbone", self.protocol.get("features", {}).get("backbone"))
        return None if named is None else str(named)

    @property
    def recipe(self) -> str | None:
        """The recipe's name."""
        recipe = self.settings.get("recipe")
        name = recipe.get("name") if isinstance(recipe, dict) else recipe
        return None if name is None else str(name)

    def objects(self) -> list[str]:
        """Names of the objects that were measured, sorted."""
        return sorted({row["object"] for rows in self.rows.values() for row in rows})


def check_kind(folder: Path) -> None:
    """Stop at a finished folder of a command whose page is another, or that measures nothing."""
    for page in ("retention.html", "study.html"):
        if (folder / page).is_file():
            raise bad_input(str(folder), "a run of measure, improve or bench", page, f"Open {folder / page}.")
    record = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    if (folder / "adapter").is_dir() and "train_objects" in record and "test_objects" not in record:
        fix = f"Measure it: equiview measure --adapter {folder}, or retain."
        raise bad_input(str(folder), "a run of measure, improve or bench", "an adapter that was not measured", fix)


def read_run(folder: Path) -> Run:
    """Read the folder that `measure` or `improve` wrote.

    Raises:
        EquiviewError: Something needed is missing or broken; the message names the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise bad_input(str(folder), "the folder of a run", "nothing there", "Give the --out of measure or improve.")
    path = folder / "summary.json"
    if not path.is_file():
        check_kind(folder)
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "an empty folder"
        raise bad_input(str(folder), "a summary.json in it", found, "Let the run finish (the same command resumes it).")
    summary = read_json(path)
    check_summary(summary, str(path))
    variants, difference = parse_summary(summary, str(path))
    kind: Literal["improve", "measure"] = "measure" if "measured" in variants else "improve"
    adapter = folder / "adapter" / "equiview.json"
    return Run(
        folder=folder,
        kind=kind,
        variants=variants,
        difference=difference,
        protocol=summary.get("protocol", {}),
        rows=_read_rows(folder / "rows.jsonl", kind),
        log=read_jsonl(folder / "log.jsonl"),
        pictures={p.stem: p for p in sorted((folder / "pictures").glob("*.npz"))},
        adapter=read_json(adapter) if adapter.is_file() else None,
        live=tuple(sorted((folder / "live").glob("*.npz"))),
    )


def parse_summary(summary: Any, where: str) -> tuple[dict[str, Summary], Differences]:
    """Return the summaries by variant and the difference, from either form of summary.json.

    Raises:
        EquiviewError: It has neither form.
    """
    _require(isinstance(summary, dict), where, "an object", type(summary).__name__)
    if "metrics" in summary:
        _check_metrics(summary, where)
        return {"measured": summary}, {}
    for key in ("before", "after"):
        _require(key in summary, where, '"metrics", or "before" and "after"', ", ".join(summary) or "nothing")
    found = {"pretrained": summary["before"]} | summary.get("controls", {}) | {"adapted": summary["after"]}
    variants = {name: found[name] for name in dict.fromkeys((*VARIANTS, *found)) if name in found}
    for name, part in variants.items():
        _check_metrics(part, f"{where}: {name}")
    return variants, summary.get("difference", {})


def _check_metrics(summary: Any, where: str) -> None:
    _require(isinstance(summary, dict) and isinstance(summary.get("metrics"), dict), where, '"metrics"', "none")
    for name in METRIC_NAMES:
        entry = summary["metrics"].get(name)
        _require(isinstance(entry, dict), where, f"the metric {name!r}", ", ".join(summary["metrics"]) or "nothing")
        _check_number(entry, f"{where}: {name}")
        by_angle = entry.get("by_angle", {})
        _require(isinstance(by_angle, dict), f"{where}: {name}: by_angle", "an object", shown(by_angle))
        for angles, part in by_angle.items():
            _check_number(part, f"{where}: {name} at {angles}")


def _check_number(entry: Any, where: str) -> None:
    _require(isinstance(entry, dict) and "value" in entry, where, 'an entry with "value"', shown(entry))
    value, ci95 = entry["value"], entry.get("ci95")
    _require(value is None or _is_number(value), where, "a number or null", shown(value))
    fine = ci95 is None or (isinstance(ci95, list) and len(ci95) == 2 and all(map(_is_number, ci95)))
    _require(fine, f"{where}: ci95", "two numbers or null", shown(ci95))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _require(condition: bool, where: str, expected: str, found: str) -> None:
    if not condition:
        raise bad_input(where, expected, found, "Run measure or improve again to write it.")


def _read_rows(path: Path, kind: str) -> dict[str, list[PairRow]]:
    rows: dict[str, list[PairRow]] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        check_row(row, f"{path}:{number}")
        missing = [key for key in ROW_KEYS if key not in row]
        _require(not missing, f"{path}:{number}", f"the keys {', '.join(ROW_KEYS)}", f"no {', '.join(missing)}")
        for key in ("object", "status", "angle_deg", *METRIC_NAMES):
            hint = str if key in ("object", "status") else float
            check(row[key], hint, f"{path}:{number}: {key}", "Run measure or improve again to write it.")
        rows.setdefault(row.get("variant", "pretrained") if kind == "improve" else "measured", []).append(
            cast(PairRow, row)
        )
    order = (*VARIANTS, *rows)
    return {name: rows[name] for name in dict.fromkeys(order) if name in rows}


def read_picture(path: Path) -> Mapping[str, np.ndarray]:
    """Read one pictures/OBJECT.npz.

    Raises:
        EquiviewError: It is damaged or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise bad_input(
            str(path), "a picture file (npz)", f"{error}", "Delete it and run the command again."
        ) from error
    missing = sorted(PICTURE_KEYS - set(arrays))
    if missing:
        raise bad_input(str(path), "a complete picture file", f"no {', '.join(missing)}", "Delete it and run again.")
    return arrays
