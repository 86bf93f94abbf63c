"""What the rows of any run say, in the same form: an identity, a sampling unit, and named numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ..errors import bad_input
from ..io import read_json
from ..schema import check
from .pck import ALPHAS, FINE_ALPHAS, pck
from .pose import recall_hits
from .tapvid import FINE_METRICS

Row = Mapping[str, Any]

# What a row is about. Two rows of two runs are about the same when all of these that they have are equal.
IDENTITY = (
    *("variant", "task", "data", "dataset", "kind", "category", "object", "scene", "clip", "image0", "pair", "name"),
    *("query", "point", "query_frame", "frame", "seed"),
)
# The sampling unit is what was drawn at random: objects or clips, or source pictures with all their pairs.
SAMPLING_UNITS = ("object", "scene", "clip", "image0", "pair", "name", "query", "point")
_AGAIN = "Run the same command again to write it."


class _Protocol(TypedDict, total=False):
    notes: list[Any]
    run: dict[str, Any]
    features: dict[str, Any]


class _Summary(TypedDict, total=False):
    protocol: _Protocol
    metrics: dict[str, dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]
    controls: dict[str, dict[str, Any]]
    difference: dict[str, Any]
    tasks: dict[str, dict[str, dict[str, Any]]]


# Numbers that describe a sample and not how well it went.
CONTEXT = {"angle_deg", "overlap", "ambiguous_share", "queries", "image_px", "extent_px", "box_px", "score", "index"}


def check_summary(summary: Any, where: str) -> None:
    """Check that each part of a summary.json is of its kind.

    Raises:
        EquiviewError: One is not.
    """
    check(summary, _Summary, where, _AGAIN)


def check_row(row: Any, where: str) -> None:
    """Check that a row is one, and that no number of it is NaN or infinite.

    Raises:
        EquiviewError: It is not.
    """
    check(row, dict[str, Any], where, _AGAIN)
    for key, value in row.items():
        if isinstance(value, float):
            check(value, float, f"{where}: {key}", _AGAIN)


def identity(row: Row) -> tuple[str, ...]:
    """Return what a row is about, as something that can be compared."""
    return tuple(f"{key}={row[key]}" for key in IDENTITY if key in row)


def sampling_unit_key(rows: Sequence[Row], unit: str | None, where: str) -> str:
    """Return the key whose values are the sampling units: the coarsest there is, or the one asked for.

    Raises:
        EquiviewError: The rows have no such key.
    """
    present = [key for key in SAMPLING_UNITS if all(key in row for row in of_kind(rows, key))]
    if unit is None and present:
        return present[0]
    if unit is None or unit not in present:
        found = ", ".join(present) or "none of them"
        raise bad_input(
            where, f"rows with {unit or 'one of ' + ', '.join(SAMPLING_UNITS)}", found, "Choose another unit."
        )
    return unit


def of_kind(rows: Sequence[Row], unit: str) -> list[Row]:
    """Return the rows about whole sampling units, where rows say what they are about (a clip, or a point of one)."""
    whole = [row for row in rows if row.get("kind") == unit]
    return whole or list(rows)


def scores(row: Row, scoring: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Return a row's numbers by name.

    Scores below another search are named "in_mask/ape". Where a row has errors only, what is counted from them is
    added: `pck@a` (from errors_px, by the protocol's scoring), `share_under_8px` (from n_hits of n) and
    `pose_recall@...` (from rotation and translation errors). A failed pose counts as not recalled; "failed" is 0 or
    100.

    Args:
        row: A row.
        scoring: {"threshold", "inclusive"} of the protocol, where there is one.
    """
    found = {key: float(value) for key, value in row.items() if _is_score(key, value)}
    for search, values in row.items():
        # What the grid of tokens allows says nothing of how well a sample went.
        if isinstance(values, Mapping) and search != "ceiling":
            found |= {f"{search}/{key}": float(value) for key, value in values.items() if _is_score(key, value)}
    found["failed"] = 100.0 if row.get("failed") else 0.0
    found |= {name: found[there] for name, there in FINE_METRICS.items() if there in found}
    return found | _pck(row, scoring) | _hits(row) | _recalls(row)


def _is_score(key: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and key not in CONTEXT and key not in IDENTITY and key != "n" and not key.startswith("n_")


def _pck(row: Row, scoring: Mapping[str, Any] | None) -> dict[str, float]:
    errors = row.get("errors_px")
    length = None if scoring is None else row.get(f"{scoring.get('threshold')}_px")
    if not errors or length is None:
        return {}
    inclusive = bool(scoring and scoring.get("inclusive"))
    return {
        f"pck@{alpha:.2f}": pck(np.asarray(errors), length, alpha, inclusive=inclusive)
        for alpha in (*ALPHAS, *FINE_ALPHAS)
    }


def _hits(row: Row) -> dict[str, float]:
    if "n_hits" not in row or not row.get("n"):
        return {}
    return {"share_under_8px": row["n_hits"] / row["n"]}


def _recalls(row: Row) -> dict[str, float]:
    """Return recalls of one query, 0 or 100; only for rows that are about a pose."""
    turned, shifted = row.get("rotation_error_deg"), row.get("translation_error_cm")
    if turned is None and not ("query" in row and row.get("failed")):
        return {}
    if shifted is None and row.get("failed"):
        shifted = np.inf
    hits = recall_hits(np.array(np.inf if turned is None else turned), None if shifted is None else np.array(shifted))
    return {name: 100.0 * bool(hit) for name, hit in hits.items()}


def failure_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many samples failed, by reason."""
    return dict(Counter(row["failed"] for row in rows if "failed" in row))


def is_bench(folder: str | Path) -> bool:
    """Say whether a folder holds a finished bench."""
    path = Path(folder) / "summary.json"
    summary = read_json(path) if path.is_file() else None
    return isinstance(summary, dict) and isinstance(summary.get("tasks"), dict)
