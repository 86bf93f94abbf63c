"""What tells whether two sources show one object: the look of a mesh, read once a file, and hashes of pictures."""

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..errors import EquiviewError
from ..io import cache_folder, file_name, file_sha256, read_json, require_file, write_json
from ..render.look import Look, look_of
from .meshes import open_mesh
from .names import is_made, source_name


def mesh_look(source: str) -> Look:
    """Return the look of a mesh file or of an object made at run time; a file is measured once.

    Raises:
        EquiviewError: It does not open.
    """
    if is_made(source):
        return _made_look(source)
    path = Path(source.partition("@up=")[0])
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
    return _mesh_look(source, stamp)


@lru_cache(maxsize=256)
def _mesh_look(source: str, _stamp: tuple[int, int] | None) -> Look:
    return look_of(open_mesh(source))


@lru_cache(maxsize=256)
def _made_look(source: str) -> Look:
    """Return the look of an object made at run time; it is kept on disk, as making the object takes longer."""
    path = cache_folder() / "looks" / f"{file_name(source_name(source))}.json"
    # Labels are printed in Pillow's own font.
    made_with = {"equiview": version("equiview"), "pillow": version("pillow")}
    with suppress(EquiviewError, KeyError, TypeError, ValueError):
        kept = read_json(path)
        if kept["made_with"] == made_with:
            look = kept["look"]
            return Look(str(look["mesh_sha256"]), np.array(look["shape"], float), np.array(look["colour"], float))
    look = look_of(open_mesh(source))
    with suppress(EquiviewError):  # A disk that is full or cannot be written makes it again next time.
        write_json(path, {"made_with": made_with, "look": look.record()})
    return look


def picture_hashes(files: Iterable[Path]) -> set[str]:
    """Return the hash of each file's content: a copy has the same under another name.

    Raises:
        EquiviewError: One is missing.
    """
    return {_file_sha256(str(path), path.stat().st_mtime_ns) for path in files if require_file(path, "a picture")}


@lru_cache(maxsize=4096)
def _file_sha256(path: str, _changed_ns: int) -> str:
    return file_sha256(Path(path))
