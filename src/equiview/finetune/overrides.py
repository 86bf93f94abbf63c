"""Changes of a recipe by name, also as text from a command line."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ..errors import bad_input
from .recipes import Recipe
from .used_settings import check_one_of, check_used


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some settings changed.

    Args:
        recipe: The recipe.
        changes: Values by name; `lora.rank` reaches inside. A value may be text (`"10"`, `"1e-4"`, `"none"`,
            `"4,6,8"`), which is read as the type the setting has.

    Raises:
        EquiviewError: An unknown name (the message lists those there are), a value of the wrong type, or a change that
            recipes of this kind do not read.
    """
    changed, before = [], recipe
    for key, value in changes.items():
        recipe = _set(before, key.split("."), value, key)
        changed += [key] if recipe != before else []
        before = recipe
    check_used(recipe.kind, changed)
    return recipe


def _set(node: Any, path: list[str], value: Any, full: str) -> Any:
    hints = typing.get_type_hints(type(node))
    fields = {f.name: hints[f.name] for f in dataclasses.fields(node)}
    check_one_of(f"setting {full!r}", path[0], fields)
    if len(path) == 1:
        return replace(node, **{path[0]: _read(value, fields[path[0]], full)})
    inner = getattr(node, path[0])
    if inner is None:
        # The group is off (None): switch it on with its defaults and change one of them.
        groups = [
            kind for kind in typing.get_args(fields[path[0]]) if isinstance(kind, type) and kind is not type(None)
        ]
        inner = groups[0]() if groups else None
    if not dataclasses.is_dataclass(inner):
        raise bad_input(f"setting {full!r}", "a group of settings before the dot", path[0], "Leave the dot out.")
    return replace(node, **{path[0]: _set(inner, path[1:], value, full)})


def _read(value: Any, wanted: Any, full: str) -> Any:
    """Return `value` as the annotated type; never a guess, so that `steps=ten` or `steps=2.5` is an error."""
    choices = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if type(None) in choices and (value is None or (isinstance(value, str) and value.lower() == "none")):
        return None
    for kind in (c for c in choices if c is not type(None)):
        try:
            return _convert(value, kind)
        except (TypeError, ValueError, KeyError):
            continue
    names = " or ".join(_type_name(c) for c in choices)
    raise bad_input(f"setting {full!r}", names, repr(value), "Give a value of that type.")


_BOOLEANS = {"true": True, "false": False}


def _convert(value: Any, kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        if value in typing.get_args(kind):
            return value
        raise ValueError
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        parts = [p for p in value.split(",") if p.strip()] if isinstance(value, str) else value
        return tuple(_convert(part, item) for part in parts)
    if kind is bool:
        return _BOOLEANS[str(value).lower()]
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise TypeError
    if kind in (int, float) and isinstance(value, str | int | float):
        return kind(value)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise TypeError


def _type_name(kind: Any) -> str:
    if kind is type(None):
        return "none"
    return (
        ", ".join(map(str, typing.get_args(kind))) if typing.get_origin(kind) else getattr(kind, "__name__", str(kind))
    )
