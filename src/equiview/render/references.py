"""The files that a mesh names: found as other systems write their names, and their pictures read."""

import io
import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from ..errors import bad_input

_ABSOLUTE = re.compile(r"^(file:/*)?([A-Za-z]:)?/+")


def read_texture(source: Path | bytes, name: str) -> UInt8[np.ndarray, "h w 4"]:
    """Read a picture, a file or its content, as it is stored (glTF 2.0, section 3.8.3: metadata turns nothing).

    Raises:
        EquiviewError: It does not open; the message calls it `name`.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return np.asarray(image.convert("RGBA"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise bad_input(name, "a picture that opens", str(error), "Export it again.") from error


def find_file(reference: str, *folders: Path) -> Path | None:
    """Return the file that a reference means, or None.

    Quotes, either separator, and letters of another case are understood; a path of another computer is found by its
    tail, down to the bare name. What is nearest to the words wins, then the earlier folder.

    Args:
        reference: As the mesh has it.
        folders: Where it may start, such as that of the material file and that of the mesh.
    """
    words = reference.strip().strip("\"'\ufeff").strip()
    if not words or "\0" in words:
        return None
    for spelling in dict.fromkeys((words, words.replace("\\", "/"))):
        whole = _ABSOLUTE.sub("", spelling)
        parts = [part for part in whole.split("/") if part not in ("", ".")]
        starts = range(len(parts)) if parts else ()
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
                same = sorted(name for name in os.listdir(path) if name.lower() == part.lower())
                if not same:
                    return None
                exact = path / same[0]
            path = exact
        return path if path.is_file() else None
    except (OSError, ValueError):  # A folder that cannot be listed, a name that is too long.
        return None
