"""SPair-71k: pairs of pictures of 18 classes with key points and bounding boxes.

Layout, as the authors publish it::

    SPair-71k/
      JPEGImages/aeroplane/2008_000585.jpg ...
      PairAnnotation/test/000001-2008_000585-2008_007143:aeroplane.json ...   (also trn, val)

A pair holds src_imname, trg_imname, src_kps and trg_kps (the points seen in both, [x, y]), trg_bndbox (x1, y1, x2, y2)
and category. Coordinates are taken as pixels from the picture's corner, as published evaluations do.

Source: Min et al., SPair-71k, 2019.
"""

from pathlib import Path
from typing import Literal

from ...errors import bad_input
from ...io import require_folder, visible
from ...schema import as_array, as_name
from ...types import KeypointPair
from .pairs import as_points, both_visible, box_sides, read_record, require_pictures

KEYS = ("src_imname", "trg_imname", "src_kps", "trg_kps", "trg_bndbox", "category")


def load_spair(folder: Path, split: Literal["test", "val", "trn"] = "test") -> list[KeypointPair]:
    """List the pairs of a split, by class and then by name, so that neighbours share pictures.

    Raises:
        EquiviewError: The layout is another, or a file is missing or broken.
    """
    folder = require_folder(folder, "the folder SPair-71k")
    where = require_folder(folder / "PairAnnotation" / split, f"the pairs of SPair-71k's split {split}")
    files = sorted(
        visible(where, "*.json"), key=lambda path: (path.stem.rpartition(":")[2], _pictures(path), path.name)
    )
    if not files:
        raise bad_input(str(where), "one .json a pair", "none", "Unpack SPair-71k again.")
    return require_pictures([_pair(path, folder) for path in files])


def _pictures(path: Path) -> str:
    """Return the part of a name after its running number: SOURCE-TARGET:CLASS."""
    return path.stem.partition("-")[2]


def _pair(path: Path, folder: Path) -> KeypointPair:
    record = read_record(path, KEYS, "a pair of SPair-71k")
    xy0, xy1 = (as_points(record[name], f"{path}: {name}") for name in ("src_kps", "trg_kps"))
    sides = as_array(record["trg_bndbox"], f"{path}: trg_bndbox", (4,))
    category, *names = (as_name(record[key], f"{path}: {key}") for key in ("category", "src_imname", "trg_imname"))
    if len(xy0) != len(xy1):
        raise bad_input(str(path), "as many src_kps as trg_kps", f"{len(xy0)} and {len(xy1)}", "Restore this file.")
    pictures = folder / "JPEGImages" / category
    wh = box_sides((sides[2:] - sides[:2]).tolist(), f"{path}: trg_bndbox")
    images = (pictures / names[0], pictures / names[1])
    return KeypointPair(path.stem, category, *images, xy0, xy1, both_visible(xy0, xy1), wh)
