"""The files that a mesh names: found as other systems write their names, and their pictures read."""

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from .. import pictures

_ABSOLUTE = re.compile(r"^(file:/*)?([A-Za-z]:)?/+")


def read_texture(source: Path | bytes, name: str) -> UInt8[np.ndarray, "h w 4"]:
    """Read a picture, a file or its content, as it is stored (glTF 2.0, section 3.8.3: metadata turns nothing).

    Raises:
        EquiviewError: It does not open; the message calls it `name`.
    """
    with pictures.opened(source, name, "Export it again.") as image:
        return pictures.rgba(image, name)


def find_file(reference: str, *folders: Path, strict: bool = False) -> Path | None:
    """Return the file that a reference means, or None.

    Quotes, either separator, and letters of another case or Unicode form are understood; a path of another computer is
    found by its tail, down to the bare name. What is nearest to the words wins, then the earlier folder.

    Args:
        reference: As the mesh has it.
        folders: Where it may start, such as that of the material file and that of the mesh.
        strict: Take no bare name for a relative path with folders: where files of one name lie in several folders, it
            is another one.
    """
    words = reference.strip().strip("\"'\ufeff").strip()
    if not words or "\0" in words:
        return None
    for spelling in dict.fromkeys((words, words.replace("\\", "/"))):
        whole = _ABSOLUTE.sub("", spelling)
        parts = [part for part in whole.split("/") if part not in ("", ".")]
        least = 2 if strict and whole == spelling else 1
        starts = range(max(1, len(parts) - least + 1)) if parts else ()
        for start in starts:
            for folder in folders:
                found = _walk(folder, parts[start:])
                if found is not None:
                    return found
    return None


def _walk(folder: Path, parts: list[str]) -> Path | None:
    """Follow names from a folder, in another case where there is none of the same."""
    path = folder
    try:
        for part in parts:
            exact = path / part
            if part != ".." and not exact.exists():
                same = sorted(name for name in os.listdir(path) if _folded(name) == _folded(part))
                if not same:
                    return None
                exact = path / same[0]
            path = exact
        return path if path.is_file() else None
    except (OSError, ValueError):  # A folder that cannot be listed, a name that is too long.
        return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()
