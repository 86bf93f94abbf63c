"""The job behind `equiview capture`: a COLMAP folder of photos, of a video, or of a scene that has poses."""

from pathlib import Path
from typing import Literal

from ..data import sfm
from ..data.captures.opening import LAYOUTS, capture_kind, open_capture
from ..errors import bad_input
from ..formats.rerun_file import write_capture
from ..records import CaptureRecord
from .run_folder import Progress


def layout_of(source: Path, poses: Literal["auto", "given", "recover"]) -> str | None:
    """Return the layout of a folder that has poses; None for photos and videos.

    Raises:
        EquiviewError: Poses are to be kept and there are none.
    """
    kind = capture_kind(source)
    if kind is None and poses == "given":
        layouts = "; ".join(layout.words for layout in LAYOUTS.values())
        fix = "Leave out --poses given to recover the cameras from the pictures."
        raise bad_input(str(source), f"a folder with poses ({layouts})", "none", fix)
    return kind


def make_capture(
    source: Path, out: Path, config: sfm.CaptureConfig, *, layout: str | None, keep: bool, progress: Progress
) -> CaptureRecord:
    """Make a capture; where cameras are recovered of a folder that has poses, the two are compared.

    Args:
        source: Photos, a video, or a scene with poses.
        out: The folder.
        config: How.
        layout: See `layout_of`.
        keep: Keep the poses of the source.
        progress: Called with (stage, done, total).

    Returns:
        The content of capture.json, perhaps with "compared_with_given".

    Raises:
        EquiviewError: See `data.sfm`.
    """
    if keep:
        given = open_capture(source, long_side=config.long_side)
        return sfm.capture_with_poses(given, source, out, config, progress)
    about = sfm.capture_from_pictures(source, out, config, progress)
    if layout is None or about["verdict"]["grade"] == "failed":
        return about
    return {**about, "compared_with_given": sfm.compare_with_given(out, open_capture(source))}


def write_recording(out: Path) -> Path:
    """Write a finished capture as OUT/capture.rrd for rerun, and return the file.

    Raises:
        EquiviewError: rerun is not installed, or the capture cannot be read.
    """
    path = Path(out) / "capture.rrd"
    write_capture(path, open_capture(out))
    return path
