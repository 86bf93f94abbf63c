"""What tells whether two sources show one object: the look of a mesh, read once a file, and hashes of pictures."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ..io import file_sha256, require_file
from ..render.look import Look, look_of
from .meshes import open_mesh


def mesh_look(source: str) -> Look:
    """Return the look of a mesh file or of an object made at run time; a file is measured once.

    Raises:
        EquiviewError: It does not open.
    """
    path = Path(source.partition("@up=")[0])
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
    return _mesh_look(source, stamp)


@lru_cache(maxsize=256)
def _mesh_look(source: str, _stamp: tuple[int, int] | None) -> Look:
    return look_of(open_mesh(source))


def picture_hashes(files: Iterable[Path]) -> set[str]:
    """Return the hash of each file's content: a copy has the same under another name.

    Raises:
        EquiviewError: One is missing.
    """
    return {_file_sha256(str(path), path.stat().st_mtime_ns) for path in files if require_file(path, "a picture")}


@lru_cache(maxsize=4096)
def _file_sha256(path: str, _changed_ns: int) -> str:
    return file_sha256(Path(path))
