"""Changes of a recipe by name, also as text from a command line."""

import dataclasses
import logging
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

from ..errors import EquiviewError, bad_input
from .choices import check_one_of
from .recipe import Recipe, Settings
from .recipe_records import RENAMED, STAGES_OF_KIND
from .stages import STAGES

log = logging.getLogger(__name__)

OF_THE_RECIPE = (
    "name",
    "features",
    "depths",
    "auxiliary_objects",
    "auxiliary_views",
    "keep_auxiliary",
    "time_budget_s",
)
"""Settings of the recipe itself; all others are of its stages."""
FORMERLY = {"companions": "auxiliary_objects"} | {
    f"head_training.{old}": f"head_training.{new}" for old, new in RENAMED.items()
}


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some settings changed.

    Args:
        recipe: The recipe.
        changes: Values by name: a setting of the recipe (`depths`), of one of its stages (`head_training.steps`), or of
            one without the stage's name where it has none in front (`lora.rank`, `steps`, `strength`, `head`). `stages`
            chooses the stages. A value may be text (`"10"`, `"1e-4"`, `"none"`, `"4,6,8"`), which is read as the type
            the setting has.

    Raises:
        EquiviewError: An unknown name (the message lists those there are), a value of the wrong type, or a setting that
            no stage of the recipe reads.
    """
    current = _current_names(recipe, changes)
    if "stages" in current:
        recipe = _with_stages(recipe, current.pop("stages"))
    if "features.blocks" in current and "depths" not in current:
        recipe = replace(recipe, depths=())  # They would go before the blocks.
    for key, value in current.items():
        recipe = _changed(recipe, key, value)
    return recipe


def _current_names(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes under today's names of settings; every former name is said once."""
    found = {}
    for key, value in changes.items():
        if key == "kind":
            check_one_of("setting 'kind'", value, STAGES_OF_KIND)
            stages = ("add_head", *STAGES_OF_KIND[value])
            _say_renamed(key, f"stages={','.join(stages)}")
            found["stages"] = stages
        else:
            name = FORMERLY.get(key, key)
            if name != key:
                _say_renamed(key, name)
            found[name] = value
    return found


def _say_renamed(former: str, name: str) -> None:
    log.warning("setting %s has another name now: %s. The former one will be removed.", former, name)


def _with_stages(recipe: Recipe, wanted: Any) -> Recipe:
    """Return the recipe with other stages; those it has keep their settings, and new ones take over what they share."""
    names = _read(wanted, tuple[str, ...], "stages")
    for name in names:
        check_one_of("setting 'stages'", name, STAGES)
    present = {settings.stage: settings for settings in recipe.stages}
    left = [settings for name, settings in present.items() if name not in names]
    return replace(recipe, stages=tuple(present.get(name) or _new_stage(name, left) for name in names))


def _new_stage(name: str, replaced: Sequence[Settings]) -> Settings:
    """Return a stage with its defaults, and with what it shares with those it replaces.

    That is the strength, and every setting of a stage of which one has all that the other has: a step of a head and the
    training of one.
    """
    new = STAGES[name].settings()
    own = _values(new)
    for settings in replaced:
        values = _values(settings)
        common = own.keys() & values.keys()
        alike = common in (own.keys(), values.keys())
        new = replace(new, **{key: values[key] for key in common if alike or key == "strength"})
    return new


def _values(settings: Settings) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings) if field.init}


def _changed(recipe: Recipe, key: str, value: Any) -> Recipe:
    """Return the recipe with one setting changed, wherever it is."""
    group, *inside = path = key.split(".")
    if group in OF_THE_RECIPE:
        return _set(recipe, path, value, key)
    stages = {settings.stage: settings for settings in recipe.stages}
    if group == "head_training" and group not in stages and "head_step" in stages:
        _say_renamed(key, ".".join(["head_step", *inside]))
        group = "head_step"
    if group in stages and inside:
        return recipe.with_stage(_set(stages[group], inside, value, key))
    for name, settings in stages.items():
        if group in STAGES[name].ungrouped:
            return recipe.with_stage(_set(settings, path, value, key))
    raise _unread(recipe, key)


def _unread(recipe: Recipe, key: str) -> EquiviewError:
    """Return the error for a setting that no stage of the recipe reads, or that there is not at all."""
    group, last = key.split(".", maxsplit=1)[0], key.rpartition(".")[2]
    others = {name for stage in STAGES.values() for name in stage.ungrouped} | {*STAGES, *OF_THE_RECIPE, "stages"}
    check_one_of(f"setting {key!r}", group, sorted(others))
    names = [settings.stage for settings in recipe.stages]
    meant = [f"{settings.stage}.{last}" for settings in recipe.stages if last in _values(settings)]
    read = {name for own in names for name in (STAGES[own].ungrouped or ())} | {*names, *OF_THE_RECIPE[1:], "stages"}
    expected = f"one that recipes of the stages {', '.join(names)} read ({', '.join(sorted(read))})"
    fix = f"Do you mean {meant[0]}?" if meant else "Leave it out, or choose another recipe."
    return bad_input(f"setting {key!r}", expected, repr(last), fix)


def _set(node: Any, path: list[str], value: Any, full: str) -> Any:
    hints = typing.get_type_hints(type(node))
    known = {f.name: hints[f.name] for f in fields(node) if f.init}
    check_one_of(f"setting {full!r}", path[0], known)
    if len(path) == 1:
        return replace(node, **{path[0]: _read(value, known[path[0]], full)})
    inner = getattr(node, path[0])
    if inner is None:
        # The group is off (None): switch it on with its defaults and change one of them.
        groups = [kind for kind in typing.get_args(known[path[0]]) if isinstance(kind, type) and kind is not type(None)]
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
