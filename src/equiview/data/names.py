"""What an object is called, from the words it was asked for with: a report is also made where the files are not."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import EquiviewError, bad_input
from ..io import MESH_SUFFIXES

SEEDED = ("procedural", "household")
MADE = ("builtin:", *(f"{kind}:" for kind in SEEDED))
VIDEO_SUFFIXES = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"}
FILE_SUFFIXES = VIDEO_SUFFIXES.union(MESH_SUFFIXES)
_AXES: dict[str, Literal["y", "z"]] = {"y": "y", "z": "z"}
_SELECTION = re.compile(r"(-?[0-9]{0,9}):(-?[0-9]{0,9})(?::(-?[0-9]{0,9}))?")
_SEED = re.compile(r"[0-9]{1,18}")  # 01 is 1: the same object.
_OBJECT = re.compile(r"object=([0-9]{1,9})")
_FOLDERS = 3  # Above a file, in names that would else be shared.


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
    if not at or _exists(Path(text)):
        return text, None
    if Path(base).suffix.lower() not in MESH_SUFFIXES:
        raise bad_input(text, "a mesh file before @up", base or "nothing", "Views and captures keep their own axes.")
    if up not in _AXES:
        raise bad_input(text, "@up=y or @up=z", repr(up), "Turn the mesh in its own program for any other axis.")
    return base, _AXES[up]


@dataclass(frozen=True)
class Chosen:
    """What a source names, and what of it.

    Attributes:
        path: The file or folder.
        images: Which images of a capture, in their order.
        object_id: Which object of a BOP scene; None where none is named.
        text: How the images were chosen, such as 0::2; empty without.
    """

    path: Path
    images: slice = field(default_factory=lambda: slice(None))
    object_id: int | None = None
    text: str = ""


def split_source(source: str | Path) -> Chosen:
    """Split `scene@object=2,0::2` into the path, the object of a BOP scene and the selection of images.

    A path that exists as it is written has neither. The axis in `mug.obj@up=y` is no part of the path.

    Raises:
        EquiviewError: What follows the @ is none of these.
    """
    whole = split_up(source)[0]
    base, at, words = whole.rpartition("@")
    if not at or "/" in words or _exists(Path(whole)):
        return Chosen(Path(whole))
    object_id, images, text = None, slice(None), ""
    for word in words.split(",", 1):
        if (numbered := _OBJECT.fullmatch(word)) is not None and object_id is None and not text:
            object_id = int(numbered[1])
        else:
            images, text = _images(whole, words, word), word
    if not base:
        raise _no_selection(whole, words)
    return Chosen(Path(base), images, object_id, text)


def _images(source: str, words: str, word: str) -> slice:
    found = _SELECTION.fullmatch(word)
    numbers = [int(part) if part and part != "-" else None for part in found.groups()] if found else []
    if not found or "-" in found.groups() or numbers[2] == 0:
        raise _no_selection(source, words)
    return slice(*numbers)


def _no_selection(source: str, words: str) -> EquiviewError:
    fix = "Write it as Python's slices, such as fox@0::2 for every second image; of a BOP scene scene@object=2,0::2."
    return bad_input(source[:80], "a selection of images PATH@START:STOP:STEP", repr(words[:40]), fix)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A name longer than any file system takes.
        return False


def split_selection(path: str | Path) -> tuple[Path, slice]:
    """Split `fox@0::2` into the path and a slice over its images, see `split_source`; without one it takes all."""
    chosen = split_source(path)
    return chosen.path, chosen.images


def source_name(source: str | Path) -> str:
    """Return the name an object has in rows and pictures: the file's stem, or what is made, as in procedural-SEED.

    A selection of a capture is part of its name: `fox@0__2`. A mesh keeps its name however it is turned, so that none
    is both trained on and tested on.
    """
    if is_made(source):
        kind, _, of_it = str(source).partition(":")
        return f"{kind}-{int(of_it) if kind in SEEDED and _SEED.fullmatch(of_it) else of_it}"
    chosen = split_source(source)
    path = chosen.path
    # By the name alone: a report is also made where the files are not.
    name = path.stem if path.suffix.lower() in FILE_SUFFIXES else path.name or path.resolve().name
    number = [] if chosen.object_id is None else [f"object_{chosen.object_id}"]
    of_it = "_".join([*number, *([chosen.text] if chosen.text else [])]).replace(":", "_")
    return f"{name}@{of_it}" if of_it else name


def distinct_names(sources: Sequence[str]) -> list[str]:
    """Return a name for each of many sources; where several would share one, the folders they lie in are part of it.

    Scanned objects often all have one file name: `can/google_16k/textured.obj`, `soup/google_16k/textured.obj`.
    """
    names = [source_name(source) for source in sources]
    shared = {name for name, count in Counter(names).items() if count > 1}
    return [
        _with_folders(source) if name in shared and not is_made(source) else name
        for source, name in zip(sources, names, strict=True)
    ]


def _with_folders(source: str) -> str:
    parts = (*split_source(source).path.parent.parts[-_FOLDERS:], source_name(source))
    return "-".join(part.strip("/") for part in parts if part.strip("/"))


def other_views(train: Sequence[str], test: Sequence[str]) -> list[str]:
    """Return what is tested on that is of a folder, photos or a video that is trained on too."""
    paths = {split_selection(one)[0].resolve() for one in train if not is_made(one)}
    return [one for one in test if not is_made(one) and split_selection(one)[0].resolve() in paths]
