"""What the loaders of key-point pairs share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...errors import EquiviewError, bad_input
from ...io import read_json, require_file
from ...limits import MAX_VALUE
from ...schema import as_number, shown
from ...types import KeypointPair

_SMALLEST_PX = 1e-6


def require_pictures(pairs: Sequence[KeypointPair]) -> list[KeypointPair]:
    """Check that every picture file is there, before the long work begins.

    Raises:
        EquiviewError: Names the first that is missing.
    """
    require_files(image for pair in pairs for image in (pair.image0, pair.image1) if isinstance(image, Path))
    return list(pairs)


def require_files(paths: Iterable[Path], what: str = "a picture named in the pair list") -> None:
    """Check that every file is there.

    Raises:
        EquiviewError: Names the first that is missing.
    """
    for path in sorted(set(paths)):
        require_file(path, what)


def read_record(path: Path, keys: Iterable[str], what: str) -> dict[str, Any]:
    """Read one JSON object that must have these keys.

    Raises:
        EquiviewError: The file is missing, broken, or lacks a key.
    """
    record = read_json(path)
    missing = sorted(set(keys) - (record.keys() if isinstance(record, dict) else set()))
    if missing:
        fix = "Restore this file, or check that the folder is that data set."
        raise bad_input(str(path), what, f"none of {', '.join(missing)}", fix)
    return record


def as_points(value: Any, where: str) -> Float[np.ndarray, "n 2"]:
    """Return [[x, y], ...] as an array; null becomes NaN (a point that is not there).

    Raises:
        EquiviewError: It is something else.
    """
    rows = [[np.nan, np.nan] if row is None else row for row in value] if isinstance(value, list) else value
    try:
        points = np.array(rows, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or (np.abs(points) > MAX_VALUE).any():
        raise bad_input(where, "a list of [x, y] or null", shown(value), "Write every point as two numbers.")
    return points


def box_sides(sides: Sequence[Any], where: str) -> tuple[float, float]:
    """Return width and height of an object's box, which thresholds are shares of.

    Raises:
        EquiviewError: They are no numbers above 0.
    """
    try:
        width, height = (as_number(side, where, _SMALLEST_PX) for side in sides)
    except EquiviewError as error:
        found = ", ".join(map(shown, sides))
        raise bad_input(where, "[width, height] above 0", found, "Leave the box out where there is none.") from error
    return width, height


def both_visible(xy0: Float[np.ndarray, "n 2"], xy1: Float[np.ndarray, "n 2"]) -> np.ndarray:
    """Return True for points that have coordinates in both pictures."""
    return np.isfinite(xy0).all(1) & np.isfinite(xy1).all(1)
