"""MVImgNet: CLASS/INSTANCE/ with images/ and a COLMAP model in sparse/0 (any other model there is to be ignored).

Source: Yu et al., MVImgNet, CVPR 2023. Masks come as a second download, mask/CLASS/INSTANCE/NAME.jpg.png; they are
found beside the classes or in the instance. Conventions are COLMAP's, see colmap.py.
"""

import re
from pathlib import Path

from ...types import Capture
from .colmap import colmap_capture
from .colmap_files import is_model

LAYOUT = "MVImgNet: CLASS/INSTANCE with images/ and sparse/0/ (a number, and 6 to 10 hexadecimal digits)"
_INSTANCE = re.compile(r"[0-9a-f]{6,10}")


def is_instance(folder: Path) -> bool:
    """Return True for a folder such as 23/4a0112ec that holds pictures and a COLMAP model."""
    whole = folder.resolve()
    named = whole.parent.name.isdigit() and _INSTANCE.fullmatch(whole.name) is not None
    return named and (folder / "images").is_dir() and is_model(folder / "sparse" / "0")


def mvimgnet_capture(folder: str | Path, *, long_side: int | None = None) -> Capture:
    """Read an instance; the capture's name is CLASS_INSTANCE.

    Args:
        folder: CLASS/INSTANCE.
        long_side: Pictures are reduced to this many pixels at most.

    Raises:
        EquiviewError: As `colmap_capture`.
    """
    folder = Path(folder)
    whole = folder.resolve()
    instance = Path(whole.parent.name) / whole.name
    places = [whole.parent.parent, whole.parent.parent.parent]
    masks = [folder / name for name in ("masks", "mask")]
    masks += [place / name / instance for place in places for name in ("mask", "masks")]
    name = "_".join(instance.parts)
    return colmap_capture(folder, long_side=long_side, name=name, masks=masks, model_folder=folder / "sparse" / "0")
