"""Any capture by its path: what a folder is, is told by its files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import EquiviewError, bad_input
from ...io import require_folder, visible
from ...types import Capture
from ..names import split_selection, split_source
from . import bop, co3d, colmap, middlebury, mvimgnet, nerfstudio, rgbd
from .checks import choose


@dataclass(frozen=True)
class Layout:
    """A layout of captures.

    Attributes:
        recognise: True for a folder that is laid out so.
        open: Called with the folder and `long_side`.
        words: The layout in one line, for messages.
    """

    recognise: Callable[[Path], bool]
    open: Callable[..., Capture]
    words: str


# Tried in this order: a COLMAP model beside a transforms.json brings points, so it comes first.
LAYOUTS: dict[str, Layout] = {
    "mvimgnet": Layout(mvimgnet.is_instance, mvimgnet.mvimgnet_capture, mvimgnet.LAYOUT),
    "colmap": Layout(lambda f: bool(colmap.find_models(f)), colmap.colmap_capture, colmap.LAYOUT),
    "nerfstudio": Layout(
        lambda f: nerfstudio.find_transforms(f) is not None, nerfstudio.nerfstudio_capture, nerfstudio.LAYOUT
    ),
    "bop": Layout(lambda f: (f / "scene_gt.json").is_file(), bop.bop_capture, bop.LAYOUT),
    "middlebury": Layout(lambda f: bool(visible(f, "*_par.txt")), middlebury.middlebury_capture, middlebury.LAYOUT),
    "co3d": Layout(co3d.is_sequence, co3d.co3d_capture, co3d.LAYOUT),
    "rgbd": Layout(rgbd.is_rgbd, rgbd.rgbd_capture, rgbd.LAYOUT),
}


def capture_kind(path: str | Path) -> str | None:
    """Return which layout a folder (with or without a selection) has: a key of `LAYOUTS`, or None."""
    folder = split_selection(path)[0]
    if not folder.is_dir():
        return None
    return next((kind for kind, layout in LAYOUTS.items() if layout.recognise(folder)), None)


def open_capture(path: str | Path, *, long_side: int | None = 1024, object_id: int | None = None) -> Capture:
    """Open a capture of any layout, or some of its images.

    Args:
        path: A folder of one of `LAYOUTS`, perhaps with a selection: `fox@0::2`, `scene@object=2`.
        long_side: Larger pictures are reduced to this many pixels; None leaves them as they are.
        object_id: Which object of a BOP scene with several, where the path does not say it.

    Raises:
        EquiviewError: No such folder, no layout of these, a selection that leaves fewer than two images, or what the
            layout's own loader says.
    """
    if long_side is not None and long_side < 1:
        raise bad_input("long_side", "at least 1 pixel", f"{long_side}", "Give a number such as 1024.")
    chosen = split_source(path)
    folder = require_folder(chosen.path, "the folder of a capture")
    if object_id is None:
        object_id = chosen.object_id
    kind = next((kind for kind, layout in LAYOUTS.items() if layout.recognise(folder)), None)
    if kind is None:
        raise _unrecognised(folder)
    if chosen.object_id is not None and kind != "bop":
        raise bad_input(str(path), "a BOP scene where an object is chosen", f"the layout {kind}", "Leave it out.")
    options = {} if object_id is None or kind != "bop" else {"object_id": object_id}
    whole = LAYOUTS[kind].open(folder, long_side=long_side, **options)
    return choose(whole, chosen.images, chosen.text) if chosen.text else whole


def _unrecognised(folder: Path) -> EquiviewError:
    names = sorted(path.name for path in folder.iterdir())
    found = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "") if names else "an empty folder"
    layouts = "; ".join(layout.words for layout in LAYOUTS.values())
    fix = "Photographs alone become a capture by `equiview capture`."
    return bad_input(str(folder), f"a capture of one of these layouts: {layouts}", found, fix)
