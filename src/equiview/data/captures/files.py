"""Files that the layouts of captures have in common: masks beside pictures, matrices as text."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ... import pictures
from ...errors import bad_input
from ...io import read_text, require_file


def mask_of(path: Path, folders: Iterable[Path], relative: str | None = None) -> Path | None:
    """Find a picture's mask: NAME.png, NAME.EXT.png or NAME.EXT in one of the folders.

    Args:
        path: The picture.
        folders: Where to look, in order; those that are not there are passed over.
        relative: The picture's name below its folder, for masks in the same subfolders.
    """
    name = Path(relative or path.name)
    tries = (name.with_suffix(".png"), name.with_name(name.name + ".png"), name)
    return next((f / one for f in folders for one in tries if (f / one).is_file()), None)


def listed_file(folder: Path, listed: str) -> Path | None:
    """Return the file that another file names, whatever system wrote the name; None when it is not there.

    A name may have backslashes, a drive, letters in another case or another Unicode form; of a path of another machine
    the longest tail counts that is there, of at least a folder and a name where the path is relative.

    Args:
        folder: Where relative names start.
        listed: What stands in the file.
    """
    plain = folder / listed
    if "\0" in listed or _is_file(plain):
        return None if "\0" in listed else plain
    parts = [part for part in re.split(r"[\\/]+", listed.strip().strip("\"'")) if part not in ("", ".")]
    absolute = re.match(r"\s*[\"']?([A-Za-z]:|[\\/])", listed) is not None
    tails = range(0, max(1, len(parts) if absolute else len(parts) - 1))
    return next((found for start in tails if (found := _as_named(folder, parts[start:])) is not None), None)


def _is_file(path: Path) -> bool:
    return _exists(path) and path.is_file()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A name longer than any file system takes.
        return False


def _as_named(folder: Path, parts: Sequence[str]) -> Path | None:
    """Follow a path, taking another case or Unicode form of a name where it is the only one that fits."""
    at = folder
    for part in parts:
        there = at / part
        if part != ".." and not _exists(there):
            same = _names(str(at), at.stat().st_mtime_ns).get(_folded(part), []) if at.is_dir() else []
            if len(same) != 1:
                return None
            there = at / same[0]
        at = there
    return at if parts and _is_file(at) else None


@lru_cache(maxsize=64)
def _names(folder: str, _changed_ns: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for path in Path(folder).iterdir():
        names.setdefault(_folded(path.name), []).append(path.name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def read_matrix(path: Path, shapes: Sequence[tuple[int, int]]) -> Float[np.ndarray, "r c"]:
    """Read a text file of numbers as a matrix.

    Raises:
        EquiviewError: The file is missing, has words, or another shape.
    """
    text = read_text(path, "a text file with a matrix").replace(",", " ")
    try:
        rows = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    except ValueError:
        rows = []
    found = (len(rows), len(rows[0])) if rows and len({len(row) for row in rows}) == 1 else (0, 0)
    if found not in shapes:
        expected = "a matrix of " + " or ".join(f"{r}x{c}" for r, c in shapes) + " numbers"
        raise bad_input(str(path), expected, repr(text.strip()[:40]), "Write one row of the matrix a line.")
    return np.array(rows)


def has_alpha(path: Path) -> bool:
    """Return True where a picture has an alpha channel (by its header).

    Raises:
        EquiviewError: It is missing, or no image.
    """
    with pictures.opened(require_file(path, "a picture"), str(path)) as image:
        return image.mode in ("RGBA", "LA")
