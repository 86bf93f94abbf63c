"""Values of files that somebody else wrote: each read as what it should be, or one message that says where it stands.

Every reader of JSON, pickles and settings takes its values through these, so that a wrong type, NaN, or a number too
large for anything is found where it enters. `as_...` read one value; `check` holds a whole record against a type hint,
for which a kind of file is a `TypedDict` (or a dataclass of settings), so that nothing behind it looks at a type again.
"""

import json
import math
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
from jaxtyping import Float

from .errors import EquiviewError, bad_input, shown
from .limits import MAX_VALUE

INTEGER_LIMIT = 2**31
AGAIN = "Get or write the file again."


def parse_json(text: str | bytes, what: str, fix: str = AGAIN, expected: str = "JSON") -> Any:
    """Return the value of JSON text (UTF-8, with or without a byte order mark).

    Raises:
        EquiviewError: It does not parse, is nested too deep, or has a number of thousands of digits.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff"))
    except RecursionError as error:
        raise bad_input(what, expected, "lists or objects nested too deep", fix) from error
    except ValueError as error:  # Broken JSON, no UTF-8, a number of more digits than Python converts.
        found = f"text that does not parse ({str(error).splitlines()[0][:80]})"
        raise bad_input(what, expected, found, fix) from error


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


def as_name(value: Any, where: str, what: str = "a name that can be printed", fix: str = AGAIN) -> str:
    """Return the name of something, as rows, pages and messages show it.

    Raises:
        EquiviewError: It is no text, empty, or has line breaks, control characters or no valid Unicode in it.
    """
    if not as_text(value, where, what, fix).isprintable():
        raise _wrong(where, what, value, fix)
    return str(value)


def as_number(value: Any, where: str, low: float = -MAX_VALUE, high: float = MAX_VALUE, fix: str = AGAIN) -> float:
    """Return a finite number (or text that is one) in a range, both ends included; see `limits.MAX_VALUE`.

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
    if low <= -MAX_VALUE and high >= MAX_VALUE:
        return ""
    return f" of at least {low:g}" if high >= MAX_VALUE else f" from {low:g} to {high:g}"


def as_array(value: Any, where: str, shape: tuple[int | None, ...], fix: str = AGAIN) -> Float[np.ndarray, "..."]:
    """Return numbers as an array of this shape (None: any length); NaN and infinity are let through.

    Raises:
        EquiviewError: It is something else, or a number is beyond `limits.MAX_VALUE`.
    """
    expected = f"{'x'.join('n' if side is None else str(side) for side in shape)} numbers"
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(where, expected, value, fix) from error
    if len(found.shape) != len(shape) or any(a not in (None, b) for a, b in zip(shape, found.shape, strict=True)):
        raise bad_input(where, expected, f"shape {found.shape}", fix)
    beyond = found[np.isfinite(found) & (np.abs(found) > MAX_VALUE)]
    if len(beyond):
        raise bad_input(where, f"{expected} of at most {MAX_VALUE:g}", f"{beyond[0]:g}", fix)
    return found


_WORDS = {int: "an integer", float: "a finite number", str: "text", bool: "true or false", types.NoneType: "null"}


def check(value: Any, hint: Any, where: str, fix: str) -> None:
    """Hold a value against a type hint.

    Args:
        value: Of a file or an argument.
        hint: `int` (no bool, below 2^31), `float` (finite; an int will do), `str`, `bool`, `None`, `Any`, a class, a
            `Literal`, a union, or `list`, `tuple`, `dict` or a `TypedDict` of these. Keys that a `TypedDict` does not
            name are left alone.
        where: The file, for the message; what is inside it is added.
        fix: For the message.

    Raises:
        EquiviewError: The value, or one inside it, is something else, or a key is missing.
    """
    origin = dict if is_typeddict(hint) else get_origin(hint)
    if origin in (Union, types.UnionType):
        # The alternatives of our files differ in kind, so that the first of a fitting kind is the one meant.
        fitting = [one for one in get_args(hint) if is_kind(value, one)]
        if not fitting:
            raise bad_input(where, words(hint), shown(value), fix)
        check(value, fitting[0], where, fix)
    elif not is_kind(value, hint):
        raise bad_input(where, words(hint), shown(value), fix)
    elif is_typeddict(hint):
        missing = sorted(hint.__required_keys__ - set(value))
        if missing:
            raise bad_input(where, f"the key {missing[0]!r}", ", ".join(map(str, value)) or "none", fix)
        for key, inner in get_type_hints(hint).items():
            if key in value:
                check(value[key], inner, f"{where}: {key}", fix)
    elif origin in (list, tuple, dict):
        _check_inside(value, origin, get_args(hint), where, fix)


def _check_inside(value: Any, origin: Any, inner: tuple[Any, ...], where: str, fix: str) -> None:
    if origin is dict:
        for key, one in value.items():
            check(key, inner[0], f"{where}: the key {shown(key)}", fix)
            check(one, inner[1], f"{where}: {key}", fix)
        return
    hints = inner[:1] * len(value) if origin is list or inner[-1] is Ellipsis else inner
    if len(hints) != len(value):
        raise bad_input(where, f"{len(hints)} values", shown(value), fix)
    for number, (one, hint) in enumerate(zip(value, hints, strict=True)):
        check(one, hint, f"{where}[{number}]", fix)


def is_kind(value: Any, hint: Any) -> bool:
    """Say whether a value is of the kind a hint means, whatever is inside it."""
    origin = dict if is_typeddict(hint) else get_origin(hint) or hint
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in get_args(hint))
    if origin in (int, float):
        numbers = isinstance(value, Real) and not isinstance(value, bool)
        return numbers and (_is_small(value) if origin is int or isinstance(value, Integral) else math.isfinite(value))
    if origin is tuple:  # JSON has lists only.
        return isinstance(value, tuple | list)
    return origin is Any or isinstance(value, types.NoneType if origin is None else origin)


def _is_small(value: Any) -> bool:
    return isinstance(value, Integral) and abs(int(value)) < INTEGER_LIMIT


def words(hint: Any) -> str:
    """Return what a hint means in the words of a message."""
    origin = dict if is_typeddict(hint) else get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return " or ".join(words(one) for one in get_args(hint))
    if origin is Literal:
        return " or ".join(repr(one) for one in get_args(hint))
    if origin in (list, tuple):
        return "a list"
    return "an object" if origin is dict else _WORDS.get(origin, f"a {getattr(origin, '__name__', origin)}")


def check_fields(values: Mapping[str, Any], settings: type, where: str, fix: str) -> None:
    """Hold values by name against the fields of a dataclass; all of them may be left out.

    Raises:
        EquiviewError: A name that is no field, or a value of another type.
    """
    hints = get_type_hints(settings)
    unknown = sorted(str(name) for name in set(values) - set(hints))
    if unknown:
        raise bad_input(where, f"names among {', '.join(sorted(hints))}", ", ".join(unknown), "Check the spelling.")
    for name, value in values.items():
        check(value, hints[name], f"{where}: {name}", fix)


def check_weights(state: Mapping[str, Any], what: str, fix: str) -> None:
    """Check that weights can be computed with.

    Args:
        state: Tensors by name; of any type here, for this module is loaded where torch is not.
        what: For the message, as `fix`.
        fix: What to do.

    Raises:
        EquiviewError: A tensor is not of floats, or holds NaN or infinity.
    """
    for name, value in state.items():
        if not value.is_floating_point():
            raise bad_input(f"{what}: {name}", "weights of a float type", str(value.dtype), fix)
        if not value.isfinite().all():
            raise bad_input(what, "finite weights", f"NaN or infinity in {name}", fix)


@contextmanager
def library_loading(what: str, expected: str, fix: str) -> Iterator[None]:
    """Turn any failure of the library called inside into one message.

    Raises:
        EquiviewError: The library refused, in its own words (their first line).
    """
    try:
        yield
    except EquiviewError:
        raise
    except Exception as error:
        raise bad_input(what, expected, reason(error), fix) from error


def reason(error: BaseException) -> str:
    """Return the first line of what a library says, and what kind of error it was where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
