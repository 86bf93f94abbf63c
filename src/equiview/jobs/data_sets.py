"""Every data set equiview reads, in words: what it is and on which terms, beside where it is and how it must lie.

Terms are as the pages of the sets state them; read them there before you use a set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..data.captures import co3d, mvimgnet
from ..data.captures.opening import open_capture
from ..errors import bad_input
from ..types import Capture
from .bench.real import DATASETS
from .bench.settings import Opened

_BOP = "(bop.felk.cvut.cz)"
_PASCAL = "research; the pictures are those of PASCAL VOC and come under its terms"


@dataclass(frozen=True)
class DataSet:
    """A set that may be there.

    Attributes:
        name: As benches call it.
        use: The task of the bench, or `measure` for captures that are measured by themselves.
        what: It in a line.
        terms: Its licence.
        where: Where to get it.
        layout: How it must lie below the root.
        find: Says whether a folder is (or holds) it, and returns what `open` takes.
        open: Reads it.
    """

    name: str
    use: str
    what: str
    terms: str
    where: str
    layout: str
    find: Callable[[Path], Path | None]
    open: Callable[[Path], Opened | Capture]


# What a set of the bench is, and its terms.
WORDS: dict[str, tuple[str, str]] = {
    "middlebury": ("a plaster dinosaur, 363 calibrated photographs", "research; cite the authors"),
    "middlebury-sparse-ring": ("the same dinosaur, 16 photographs around it", "research; cite the authors"),
    "onepose-lowtexture": ("40 household objects with little texture, two videos each", "none stated; ask the authors"),
    "ycbv": ("21 YCB objects in cluttered scenes, with meshes", f"MIT {_BOP}"),
    "lmo": ("8 LineMOD objects in one cluttered scene, with meshes", f"CC BY-SA 4.0 {_BOP}"),
    "badja": ("joints of animals in DAVIS videos", "annotations MIT; videos under the terms of DAVIS"),
    "tapvid-davis": ("30 videos with tracked points", "annotations CC BY 4.0; videos under the terms of DAVIS"),
    "tapvid-davis-strided": ("the same, queried at every fifth frame", "as tapvid-davis"),
    "tapvid-rgb-stacking": (
        "50 rendered videos of stacked objects with tracked points",
        "as github.com/google-deepmind/tapnet states",
    ),
    "tapvid-kinetics": ("1,189 videos with tracked points", "annotations CC BY 4.0; videos under their own terms"),
    "pf-willow": ("10 classes of 10 pictures with 10 key points", "research"),
    "pf-pascal": ("299 pairs of different viewpoint in 20 classes", _PASCAL),
    "pf-pascal-same": ("pairs of the same viewpoint in 20 classes", _PASCAL),
    "spair": ("12,234 test pairs in 18 classes", _PASCAL),
    "ap10k": ("animals with 17 key points, pairs within a species", "as github.com/AlexTheBad/AP-10K states"),
    "ap10k-cross-species": ("the same, pairs of two species", "as github.com/AlexTheBad/AP-10K states"),
    "ap10k-cross-family": ("the same, pairs of two families", "as github.com/AlexTheBad/AP-10K states"),
    "tss": ("400 pairs with dense flow of the foreground", "research"),
    "navi": ("36 objects photographed in the wild, with aligned scans", "CC BY 4.0"),
    "scannet-1500": ("1,500 pairs of frames of indoor rooms with depth", "ScanNet's terms of use, to be signed"),
    "captures": ("any photographs with poses", "your own"),
}


def _instance(recognise: Callable[[Path], bool]) -> Callable[[Path], Path | None]:
    return lambda folder: folder if recognise(folder) else None


CAPTURES = {
    "co3d": DataSet(
        "co3d",
        "measure",
        "videos of everyday objects in 50 categories, with poses, masks and depth",
        "CC BY-NC 4.0",
        "ai.meta.com/datasets/co3d-downloads (github.com/facebookresearch/co3d)",
        co3d.LAYOUT,
        _instance(co3d.is_sequence),
        open_capture,
    ),
    "mvimgnet": DataSet(
        "mvimgnet",
        "measure",
        "219,000 videos of objects with poses and sparse points",
        "MVImgNet's terms of use, by a form; not for commerce",
        "gaplab.cuhk.edu.cn/projects/MVImgNet",
        mvimgnet.LAYOUT,
        _instance(mvimgnet.is_instance),
        open_capture,
    ),
}


@cache
def data_sets() -> dict[str, DataSet]:
    """Return every set by name, those of the bench first."""
    of_bench = {
        name: DataSet(name, one.task, *WORDS[name], one.where, one.layout, one.find, one.open)
        for name, one in DATASETS.items()
    }
    return of_bench | CAPTURES


def data_set(name: str) -> DataSet:
    """Return one set.

    Raises:
        EquiviewError: There is none of that name.
    """
    if name not in data_sets():
        raise bad_input("data set", f"one of {', '.join(data_sets())}", repr(name), "equiview data list names them.")
    return data_sets()[name]
