"""What comes from outside, checked where it enters: values against type hints, weights, and libraries that load files.

A kind of file is a `TypedDict` (or a dataclass of settings): `check` holds a value against it, so that nothing behind
it looks at a type again.
"""

import math
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import torch

from ..errors import EquiviewError, bad_input, shown

INTEGER_LIMIT = 2**31
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


def check_weights(state: Mapping[str, torch.Tensor], what: str, fix: str) -> None:
    """Check that weights can be computed with.

    Raises:
        EquiviewError: A tensor is not of floats, or holds NaN or infinity.
    """
    for name, value in state.items():
        if not value.is_floating_point():
            raise bad_input(f"{what}: {name}", "weights of a float type", str(value.dtype), fix)
        if not torch.isfinite(value).all():
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
