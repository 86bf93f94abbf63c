"""What an object is called, from the words it was asked for with: a report is also made where the files are not."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import bad_input
from ..io import MESH_SUFFIXES

MADE = ("builtin:", "procedural:")
VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"}
FILE_SUFFIXES = VIDEO_SUFFIXES.union(MESH_SUFFIXES)
_AXES: dict[str, Literal["y", "z"]] = {"y": "y", "z": "z"}
_SELECTION = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")


def is_made(source: str | Path) -> bool:
    """Return whether the object is made at run time, from no file."""
    return str(source).startswith(MADE)


def split_up(source: str | Path) -> tuple[str, Literal["y", "z"] | None]:
    """Split `mug.obj@up=y` into the file and the axis that points up in it; None where the format decides.

    A path that exists as it is written says nothing about its axes.

    Raises:
        EquiviewError: Another axis than y or z, or not of a mesh file.
    """
    text = str(source)
    base, at, up = text.rpartition("@up=")
    if not at or Path(text).exists():
        return text, None
    if Path(base).suffix.lower() not in MESH_SUFFIXES:
        raise bad_input(text, "a mesh file before @up", base or "nothing", "Views and captures keep their own axes.")
    if up not in _AXES:
        raise bad_input(text, "@up=y or @up=z", repr(up), "Turn the mesh in its own program for any other axis.")
    return base, _AXES[up]


def split_selection(path: str | Path) -> tuple[Path, slice]:
    """Split `fox@0::2` into the path and a slice over its images; without a selection the slice takes all.

    A path that exists as it is written has no selection. The axis in `mug.obj@up=y` is no part of the path.

    Raises:
        EquiviewError: What follows the @ is no slice, or its step is 0.
    """
    text = split_up(path)[0]
    base, at, chosen = text.rpartition("@")
    if not at or "/" in chosen or Path(text).exists():
        return Path(text), slice(None)
    found = _SELECTION.fullmatch(chosen)
    numbers = [int(part) if part and part != "-" else None for part in found.groups()] if found else []
    if not found or not base or "-" in found.groups() or numbers[2] == 0:
        fix = "Write it as Python's slices, such as fox@0::2 for every second image."
        raise bad_input(text, "a selection of images PATH@START:STOP:STEP", repr(chosen), fix)
    return Path(base), slice(*numbers)


def source_name(source: str | Path) -> str:
    """Return the name an object has in rows and pictures: the file's stem, builtin-NAME or procedural-SEED.

    A selection of a capture is part of its name: `fox@0__2`. A mesh keeps its name however it is turned, so that none
    is both trained on and tested on.
    """
    if is_made(source):
        return str(source).replace(":", "-")
    path, chosen = split_selection(source)
    # By the name alone: a report is also made where the files are not.
    name = path.stem if path.suffix.lower() in FILE_SUFFIXES else path.name or path.resolve().name
    return name if chosen == slice(None) else f"{name}@{str(source).rpartition('@')[2].replace(':', '_')}"


def other_views(train: Sequence[str], test: Sequence[str]) -> list[str]:
    """Return what is tested on that is of a folder, photos or a video that is trained on too."""
    paths = {split_selection(one)[0].resolve() for one in train if not is_made(one)}
    return [one for one in test if not is_made(one) and split_selection(one)[0].resolve() in paths]
