"""PF-PASCAL with the pair lists of You et al. (ICLR 2025): different views (299 pairs) and same views (299).

Layout, as their README gives it: the data set, and both lists copied into it::

    PF-dataset-PASCAL/
      JPEGImages/2011_001407.jpg ...
      test_pairs_pf_different_views.csv
      test_pairs_pf_same_views.csv

Columns: source_image, target_image (from the folder above PF-dataset-PASCAL), class (1 to 20), XA, YA, XB, YB (numbers
with semicolons). Coordinates are taken as pixels from the picture's corner, as the published evaluation does.

Nine pairs of the list of different views have the same picture on both sides and are trivially right: the summary of a
run says the scores without them too. 22 pairs stand in both lists.
"""

import csv
import io
from pathlib import Path, PureWindowsPath
from typing import Literal

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import read_text, require_file, require_folder
from ...schema import as_array, as_whole
from ...types import KeypointPair
from .pairs import require_pictures

COLUMNS = ("source_image", "target_image", "class", "XA", "YA", "XB", "YB")
# fmt: off
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


def load_pf_pascal(
    folder: Path, views: Literal["different", "same"] = "different", *, self_pairs: bool = True
) -> list[KeypointPair]:
    """List the pairs, in the order of the file.

    Args:
        folder: `PF-dataset-PASCAL`.
        views: Which list.
        self_pairs: Keep pairs of a picture with itself, as published.

    Raises:
        EquiviewError: The list or a picture is missing, or a row is broken.
    """
    folder = require_folder(folder, "the folder PF-dataset-PASCAL")
    pairs = read_pairs(folder / f"test_pairs_pf_{views}_views.csv", folder)
    return require_pictures([pair for pair in pairs if self_pairs or pair.image0 != pair.image1])


def read_pairs(path: Path, folder: Path) -> list[KeypointPair]:
    """Read one list; pictures are not looked for.

    Args:
        path: The csv.
        folder: Where `JPEGImages` is, whatever the list calls that folder.

    Raises:
        EquiviewError: The file is missing or a row is broken.
    """
    require_file(path, "a pair list (copy it from data/ of github.com/qq456cvb/3DCorrEnhance)")
    reader = csv.DictReader(io.StringIO(read_text(path, "a pair list"), newline=""))
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            found = ", ".join(reader.fieldnames or ["nothing"])[:80]
            raise bad_input(str(path), f"the columns {', '.join(COLUMNS)}", found, "Copy the list again.")
        return [_pair(row, folder, f"{path}:{number}") for number, row in enumerate(reader, 2)]
    except csv.Error as error:
        raise bad_input(str(path), "a pair list", f"another file ({error})", "Copy the list again.") from error


def _pair(row: dict[str, str], folder: Path, where: str) -> KeypointPair:
    try:
        category = CLASSES[as_whole(int(row["class"]), "class", 1, len(CLASSES)) - 1]
        columns = [as_array(row[name].split(";"), name, (None,)) for name in COLUMNS[3:]]
        xy0, xy1 = _points(*columns[:2]), _points(*columns[2:])
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise bad_input(
            where, "a row of a pair list", f"another ({str(error)[:80]})", "Copy the list again."
        ) from error
    # The published evaluation pads the shorter list with points that are not there.
    count = min(len(xy0), len(xy1))
    image0, image1 = (folder / "JPEGImages" / PureWindowsPath(row[name]).name for name in COLUMNS[:2])
    name = f"{category}/{image0.stem}-{image1.stem}"
    return KeypointPair(name, category, image0, image1, xy0[:count], xy1[:count], np.ones(count, bool))


def _points(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
    if len(x) != len(y):
        raise ValueError(f"{len(x)} x and {len(y)} y")
    if not np.isfinite([x, y]).all():
        raise ValueError("NaN or infinity")
    return np.stack([x, y], 1)
