"""PF-WILLOW: ten classes of ten pictures, ten key points in each, and every ordered pair within a class (900).

Layout, as the authors publish it::

    PF-dataset-WILLOW/
      car(G)/Cars_006a.png  Cars_006a.mat ...   (pts_coord: 2 x 10, x above y)
      ...

Coordinates are taken as pixels from the picture's corner, as every published evaluation does. The annotation tool may
have counted from 1; that half pixel is the same in both pictures of a pair.

Source: Ham et al., Proposal Flow, CVPR 2016.
"""

from itertools import permutations
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.io import loadmat

from ...errors import bad_input
from ...io import require_file, require_folder, visible
from ...schema import library_loading
from ...types import KeypointPair
from .pairs import both_visible

PICTURES = (".png", ".jpg", ".jpeg")


def load_pf_willow(folder: Path) -> list[KeypointPair]:
    """List every ordered pair within every class; pictures are read when they are used.

    Args:
        folder: `PF-dataset-WILLOW`.

    Raises:
        EquiviewError: The layout is another, or a file is missing or broken.
    """
    folder = require_folder(folder, "the folder PF-dataset-WILLOW")
    pairs = []
    for category in sorted(path for path in visible(folder) if path.is_dir()):
        points = {_picture(mat): read_points(mat) for mat in sorted(visible(category, "*.mat"))}
        pairs += [_pair(category.name, a, points[a], b, points[b]) for a, b in permutations(points, 2)]
    if not pairs:
        expected = "class folders (car(G), duck(S), ...) with a .mat beside each picture"
        raise bad_input(str(folder), expected, "no pair", "Point at PF-dataset-WILLOW itself.")
    return pairs


def _pair(
    category: str, image0: Path, xy0: Float[np.ndarray, "n 2"], image1: Path, xy1: Float[np.ndarray, "n 2"]
) -> KeypointPair:
    if len(xy0) != len(xy1):
        found = f"{len(xy0)} in {image0.name} and {len(xy1)} in {image1.name}"
        raise bad_input(f"class {category}", "the same number of key points in all", found, "Restore the .mat files.")
    name = f"{category}/{image0.stem}-{image1.stem}"
    return KeypointPair(name, category, image0, image1, xy0, xy1, both_visible(xy0, xy1))


def _picture(mat: Path) -> Path:
    found = [mat.with_suffix(suffix) for suffix in PICTURES if mat.with_suffix(suffix).is_file()]
    return found[0] if found else require_file(mat.with_suffix(".png"), f"the picture of {mat.name}")


def read_points(mat: Path) -> Float[np.ndarray, "n 2"]:
    """Read `pts_coord` of one picture.

    Raises:
        EquiviewError: The file is broken or holds something else.
    """
    fix = "Restore this file from PF-dataset-WILLOW."
    with library_loading(str(mat), "a MATLAB file", fix):
        values = loadmat(mat, variable_names=["pts_coord"])
    points = values.get("pts_coord")
    if points is None or points.ndim != 2 or points.shape[0] != 2 or points.dtype.kind != "f":
        found = "no pts_coord" if points is None else f"{points.dtype} of shape {points.shape}"
        raise bad_input(str(mat), "pts_coord of 2 x n numbers", found, fix)
    return np.ascontiguousarray(points.T, np.float64)
