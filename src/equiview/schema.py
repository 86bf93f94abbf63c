"""Values of files that somebody else wrote: each read as what it should be, or one message that says where it stands.

Every reader of JSON and of pickles takes its values through these, so that a wrong type, NaN, or a number too large for
anything is found where it enters.
"""

import json
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from .errors import EquiviewError, bad_input

AGAIN = "Get or write the file again."


def parse_json(text: str | bytes, what: str, fix: str = AGAIN) -> Any:
    """Return the value of JSON text (UTF-8, with or without a byte order mark).

    Raises:
        EquiviewError: It does not parse, is nested too deep, or has a number of thousands of digits.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff"))
    except RecursionError as error:
        raise bad_input(what, "JSON", "lists or objects nested too deep", fix) from error
    except ValueError as error:  # Broken JSON, no UTF-8, a number of more digits than Python converts.
        raise bad_input(what, "JSON", f"text that does not parse ({str(error).splitlines()[0][:80]})", fix) from error


def shown(value: Any) -> str:
    """Return a few words for a value of any size, for messages."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, int) and not -(10**40) < value < 10**40:
        return "a number of over 40 digits"
    text = repr(value[:41] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 44 else f"{text[:40]}..."


def _wrong(where: str, expected: str, value: Any, fix: str) -> EquiviewError:
    return bad_input(where, expected, "nothing" if value is None else shown(value), fix)


def as_record(value: Any, where: str, keys: tuple[str, ...] = (), fix: str = AGAIN) -> dict[str, Any]:
    """Return a JSON object that has these keys.

    Raises:
        EquiviewError: It is something else, or lacks one.
    """
    if not isinstance(value, dict):
        raise _wrong(where, "an object" + (f" with {', '.join(keys)}" if keys else ""), value, fix)
    missing = [key for key in keys if key not in value]
    if missing:
        raise bad_input(where, f"an object with {', '.join(keys)}", f"no {', '.join(missing)}", fix)
    return value


def as_list(value: Any, where: str, what: str = "a list", at_least: int = 0, fix: str = AGAIN) -> list[Any]:
    """Return a list of so many items or more.

    Raises:
        EquiviewError: It is something else, or too short.
    """
    if not isinstance(value, list) or len(value) < at_least:
        raise _wrong(where, what + (f" of {at_least} or more" if at_least else ""), value, fix)
    return value


def as_text(value: Any, where: str, what: str = "a text", fix: str = AGAIN) -> str:
    """Return a text that is not empty and that a file system can take.

    Raises:
        EquiviewError: It is something else.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(where, what, value, fix)
    return value


def as_number(value: Any, where: str, low: float = -math.inf, high: float = math.inf, fix: str = AGAIN) -> float:
    """Return a finite number (or text that is one) in a range, both ends included.

    Raises:
        EquiviewError: It is something else.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not low <= number <= high:
        raise _wrong(where, "a finite number" + _range(low, high), value, fix)
    return number


def as_whole(value: Any, where: str, low: int | None = None, high: int | None = None, fix: str = AGAIN) -> int:
    """Return a whole number in a range, both ends included; 640.0 is one.

    Raises:
        EquiviewError: It is something else.
    """
    fits = isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer())
    inside = fits and (low is None or value >= low) and (high is None or value <= high)
    if not inside or isinstance(value, bool):
        ends = _range(-math.inf if low is None else low, math.inf if high is None else high)
        raise _wrong(where, "a whole number" + ends, value, fix)
    return int(value)


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    return f" of at least {low:g}" if math.isinf(high) else f" from {low:g} to {high:g}"


def as_array(value: Any, where: str, shape: tuple[int | None, ...], fix: str = AGAIN) -> Float[np.ndarray, "..."]:
    """Return numbers as an array of this shape (None: any length); NaN and infinity are let through.

    Raises:
        EquiviewError: It is something else.
    """
    expected = f"{'x'.join('n' if side is None else str(side) for side in shape)} numbers"
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(where, expected, value, fix) from error
    if len(found.shape) != len(shape) or any(a not in (None, b) for a, b in zip(shape, found.shape, strict=True)):
        raise bad_input(where, expected, f"shape {found.shape}", fix)
    return found
