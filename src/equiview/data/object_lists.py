"""Many objects at once: a folder of meshes (Objaverse's `glbs/000-xxx/UID.glb`), or a text file that lists some."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import bad_input
from ..io import MESH_SUFFIXES, is_hidden, read_text
from .names import is_made, split_source
from .open import folder_kind

LIST_SUFFIX = ".txt"
GLBS = "glbs"
"""Objaverse's name of the folder that its meshes lie below; ids in lists may start there."""


@dataclass(frozen=True)
class ObjectList:
    """Sources one by one.

    Attributes:
        sources: In the order given, folders sorted.
        listed: Those of lists and folders, where a broken one is counted and the others go on.
    """

    sources: tuple[str, ...]
    listed: frozenset[str]


def expand(given: Sequence[str]) -> ObjectList:
    """Replace each list and each folder of meshes by what it stands for.

    Args:
        given: Text files (a line for each object: a path, an id of a mesh beside the file, or what `open_source` takes;
            empty lines and those with # are skipped), folders of meshes, or what `open_source` takes.

    Raises:
        EquiviewError: A list that is empty or cannot be read.
    """
    sources: list[str] = []
    listed: set[str] = set()
    for source in given:
        path = Path(source)
        if is_made(source):
            found = None
        elif path.suffix.lower() == LIST_SUFFIX and path.is_file():
            found = _of_file(path)
        else:
            found = _of_folder(path)
        sources += [source] if found is None else found
        listed |= set(found or ())
    return ObjectList(tuple(sources), frozenset(listed))


def meshes_below(folder: Path) -> list[Path]:
    """Return the meshes in and below a folder, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in MESH_SUFFIXES and not is_hidden(path.name) and path.is_file()
    )


def _of_folder(folder: Path) -> list[str] | None:
    """Return the meshes of a folder; None where it is something else."""
    if not folder.is_dir() or folder_kind(folder) is not None:
        return None
    return list(map(str, meshes_below(folder))) or None


def _of_file(path: Path) -> list[str]:
    """Return what the lines of a list stand for; a mesh that is not there stays in it as its path would be."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise bad_input(str(path), "a line for each object", "none", "Write paths or ids of meshes beside it.")

    @cache
    def by_id() -> dict[str, Path]:
        return {mesh.stem: mesh for mesh in meshes_below(path.parent)}

    return [_of_line(line, path.parent) or str(by_id().get(line, path.parent / f"{line}.glb")) for line in lines]


def _of_line(line: str, folder: Path) -> str | None:
    """Return the source of a line by its name alone; None where only a search can find it."""
    if is_made(line):
        return line
    asked = split_source(line)
    for base in (folder, folder / GLBS):
        if (base / asked.path).exists():
            return str(base / line)
        for suffix in MESH_SUFFIXES:
            if (base / f"{line}{suffix}").is_file():
                return str(base / f"{line}{suffix}")
    return None
