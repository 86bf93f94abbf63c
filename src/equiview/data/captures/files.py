"""Files that the layouts of captures have in common: masks beside pictures, matrices as text."""

from collections.abc import Iterable, Sequence
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
