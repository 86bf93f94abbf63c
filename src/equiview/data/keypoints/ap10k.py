"""AP-10K as a semantic benchmark: animals with 17 key points, within a species, across species and across families.

Layout, as the preparation notebook of GeoAware-SC writes it::

    ap-10k/
      JPEGImages/Bovidae/antelope/000000000001.jpg ...
      ImageAnnotation/Bovidae/antelope/000000000001.json ...    keypoints (17 x [x, y, v]), bbox (left, top, w, h)
      PairAnnotation/test/1-2:antelope.json ...                 src_json_path, trg_json_path
      PairAnnotation/test_cross_species/...  PairAnnotation/test_cross_family/...   (val alike)

A path in a pair counts from its "ImageAnnotation" on, wherever the folder lies. A point counts as visible when its v is
not 0. Coordinates are taken as pixels from the picture's corner.

Source: Yu et al., AP-10K, 2021; Zhang et al., Telling Left from Right, CVPR 2024.
"""

from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import require_folder, visible
from ...schema import as_array, as_list, shown
from ...types import KeypointPair
from .pairs import as_points, both_visible, box_sides, read_record, require_pictures

Subset = Literal["intra-species", "cross-species", "cross-family"]
FOLDERS: dict[Subset, str] = {"intra-species": "", "cross-species": "_cross_species", "cross-family": "_cross_family"}

_RESTORE = "Restore this file."


def load_ap10k(
    folder: Path, subset: Subset = "intra-species", split: Literal["test", "val"] = "test"
) -> list[KeypointPair]:
    """List the pairs of a subset, by class and then by name.

    Raises:
        EquiviewError: The layout is another, or a file is missing or broken.
    """
    folder = require_folder(folder, "the folder ap-10k, prepared as pairs")
    where = require_folder(folder / "PairAnnotation" / f"{split}{FOLDERS[subset]}", f"AP-10K's {subset} pairs")
    files = sorted(visible(where, "*.json"), key=lambda path: (path.stem.rpartition(":")[2], path.name))
    if not files:
        raise bad_input(str(where), "one .json a pair", "none", "Run GeoAware-SC's prepare_ap10k.ipynb.")
    read = lru_cache(maxsize=None)(_image)
    pairs = []
    for path in files:
        record = read_record(path, ("src_json_path", "trg_json_path"), "a pair of AP-10K")
        one, two = (folder.joinpath(*_inside(record[k], path)) for k in ("src_json_path", "trg_json_path"))
        (image0, xy0, _) = read(one)
        (image1, xy1, box) = read(two)
        if len(xy0) != len(xy1):
            found = f"{len(xy0)} and {len(xy1)}"
            raise bad_input(str(path), "two pictures with as many key points", found, _RESTORE)
        category = path.stem.rpartition(":")[2]
        pairs.append(KeypointPair(path.stem, category, image0, image1, xy0, xy1, both_visible(xy0, xy1), box))
    return require_pictures(pairs)


def _inside(text: Any, path: Path) -> tuple[str, ...]:
    """Return the part of a path from ImageAnnotation on."""
    parts = PurePosixPath(str(text).replace("\\", "/")).parts
    if "ImageAnnotation" not in parts or ".." in parts:
        raise bad_input(str(path), "a path with ImageAnnotation in it", shown(text), "Prepare the pairs again.")
    return parts[parts.index("ImageAnnotation") :]


def _image(path: Path) -> tuple[Path, Float[np.ndarray, "n 2"], tuple[float, float]]:
    """Return the picture, its points (NaN where not annotated), and width and height of its box."""
    record = read_record(path, ("keypoints", "bbox"), "an annotated picture of AP-10K")
    rows = as_list(record["keypoints"], f"{path} keypoints", at_least=1, fix=_RESTORE)
    flat = rows if not isinstance(rows[0], list) else [one for row in rows for one in as_list(row, f"{path} keypoints")]
    values = as_array(flat, f"{path} keypoints", (None,), _RESTORE)
    bbox = as_list(record["bbox"], f"{path} bbox")
    if len(values) % 3 or len(bbox) != 4:
        found = f"{len(values)} and {len(bbox)}"
        raise bad_input(str(path), "keypoints of x, y, v and a bbox of 4 numbers", found, _RESTORE)
    points = values.reshape(-1, 3)
    xy = as_points(np.where(points[:, 2:] > 0, points[:, :2], np.nan).tolist(), f"{path} keypoints")
    parts = list(path.parts)
    parts[len(parts) - 1 - parts[::-1].index("ImageAnnotation")] = "JPEGImages"
    return Path(*parts).with_suffix(".jpg"), xy, box_sides(bbox[2:], f"{path} bbox")
