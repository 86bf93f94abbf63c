"""TSS: 400 pairs with dense flow between the foregrounds, scored in both directions.

Layout, as the authors publish it::

    TSS_CVPR2016/
      FG3DCar/<pair>/image1.png image2.png mask1.png mask2.png flow1.flo flow2.flo flip_gt.txt
      JODS/...  PASCAL/...

flow1 goes from pixels of image 1 to image 2, flow2 back (Middlebury .flo). Where flip_gt.txt says 1 the flow goes to
the MIRRORED other picture (published evaluations mirror it first); here x is turned back, so that truth lies in
the picture itself. Position 0, 0 of a flow is the centre of the first pixel: 0.5 is added.

Source: Taniai et al., Joint Recovery of Dense Correspondence and Cosegmentation in Two Images, CVPR 2016.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Float

from ...errors import bad_input
from ...io import read_image, read_text, require_file, require_folder, stored_hw
from ...types import KeypointPair
from .pairs import require_files

MAGIC = 202021.25
UNKNOWN = 1e9
FILES = ("image1.png", "image2.png", "mask1.png", "mask2.png", "flow1.flo", "flow2.flo", "flip_gt.txt")


class TssPairs(Sequence[KeypointPair]):
    """Both directions of every pair, read when they are asked for.

    Args:
        folders: One a pair.
        points: Foreground pixels scored in each direction, spread evenly over the mask.
    """

    def __init__(self, folders: Sequence[Path], points: int) -> None:
        self.folders = list(folders)
        self.points = points

    def __len__(self) -> int:
        return 2 * len(self.folders)

    @overload
    def __getitem__(self, index: int) -> KeypointPair: ...
    @overload
    def __getitem__(self, index: slice) -> list[KeypointPair]: ...
    def __getitem__(self, index: int | slice) -> KeypointPair | list[KeypointPair]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return read_pair(self.folders[index // 2], (1, 2) if index % 2 == 0 else (2, 1), self.points)


def load_tss(folder: Path, points: int = 200) -> TssPairs:
    """List the pairs.

    Raises:
        EquiviewError: The layout is another, or a file is missing.
    """
    folder = require_folder(folder, "the folder TSS_CVPR2016")
    folders = sorted(path.parent for path in folder.glob("*/*/flow1.flo"))
    if not folders:
        expected = "FG3DCar/<pair>/flow1.flo and the like"
        raise bad_input(str(folder), expected, "none", "Point at TSS_CVPR2016 itself.")
    require_files((one / name for one in folders for name in FILES), "a file of a TSS pair")
    return TssPairs(folders, points)


def read_pair(folder: Path, direction: tuple[int, int], points: int) -> KeypointPair:
    """Read one direction of a pair.

    Raises:
        EquiviewError: A file is broken, or their sizes differ.
    """
    a, b = direction
    flow = read_flow(folder / f"flow{a}.flo")
    mask = read_image(folder / f"mask{a}.png")[..., 0] > 127
    if mask.shape != flow.shape[:2]:
        found = f"{mask.shape} and {flow.shape[:2]}"
        raise bad_input(str(folder), f"mask{a}.png and flow{a}.flo of one size", found, "Restore this pair.")
    h, w = stored_hw(folder / f"image{b}.png")
    rows, cols = np.nonzero(mask & (np.abs(flow) < UNKNOWN).all(-1))
    xy0 = np.stack([cols, rows], 1) + 0.5
    xy1 = xy0 + flow[rows, cols]
    if read_text(folder / "flip_gt.txt", "a number").strip() == "1":
        xy1[:, 0] = w - xy1[:, 0]
    inside = ((xy1 >= 0) & (xy1 <= (w, h))).all(1)
    xy0, xy1 = xy0[inside], xy1[inside]
    kept = np.unique(np.linspace(0, len(xy0) - 1, min(points, len(xy0))).round().astype(int))
    category = folder.parent.name
    images = (folder / f"image{a}.png", folder / f"image{b}.png")
    name = f"{category}/{folder.name}_{a}to{b}"
    return KeypointPair(name, category, *images, xy0[kept], xy1[kept], np.ones(len(kept), bool))


def read_flow(path: Path) -> Float[np.ndarray, "h w 2"]:
    """Read a Middlebury .flo file.

    Raises:
        EquiviewError: It is something else or cut off.
    """
    data = require_file(path, "a .flo file").read_bytes()
    header = np.frombuffer(data[:12], "<i4") if len(data) >= 12 else np.zeros(3, np.int32)
    w, h = int(header[1]), int(header[2])
    whole = w > 0 and h > 0 and len(data) == 12 + 8 * w * h and np.frombuffer(data[:4], "<f4")[0] == MAGIC
    if not whole:
        raise bad_input(str(path), "a whole .flo file", f"{len(data)} bytes of something else", "Restore this file.")
    return np.frombuffer(data, "<f4", offset=12).reshape(h, w, 2).astype(np.float64)
