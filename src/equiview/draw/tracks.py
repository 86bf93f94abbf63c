"""Tracks drawn over their video, one frame in memory at a time: an mp4 with PyAV, an animated GIF without."""

import colorsys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from ..errors import EquiviewError
from ..io import atomic_path
from ..matching.tracking import Tracks

TAIL_FRAMES = 12
GIF_LONG_SIDE, GIF_FRAMES = 480, 120
FPS = 15


def draw_tracks(rgb: UInt8[np.ndarray, "h w 3"], tracks: Tracks, frame: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return a frame with every point: a disc with a tail where it is seen, a ring where it is believed hidden."""
    picture = Image.fromarray(rgb)
    pen = ImageDraw.Draw(picture)
    radius = max(2.0, min(rgb.shape[:2]) / 120)
    for point in range(len(tracks.xy)):
        colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb((0.618 * point) % 1, 0.9, 1.0))
        _draw_tail(pen, tracks, point, frame, colour)
        x, y = (float(v) for v in tracks.xy[point, frame])
        box = (x - radius, y - radius, x + radius, y + radius)
        if tracks.visible[point, frame]:
            pen.ellipse(box, fill=colour, outline=(0, 0, 0))
        else:
            pen.ellipse(box, outline=colour, width=1)
    return np.asarray(picture)


def _draw_tail(pen: ImageDraw.ImageDraw, tracks: Tracks, point: int, frame: int, colour: tuple[int, ...]) -> None:
    for one in range(max(0, frame - TAIL_FRAMES), frame):
        if tracks.visible[point, one] and tracks.visible[point, one + 1]:
            ends = [tuple(float(v) for v in tracks.xy[point, at]) for at in (one, one + 1)]
            pen.line(ends, fill=colour, width=1)


def write_overlay(folder: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]], tracks: Tracks) -> Path:
    """Write overlay.mp4 where PyAV is installed, overlay.gif (smaller, at most 120 frames) otherwise.

    Returns:
        The file.
    """
    from ..data.clips.video import import_av

    try:
        av = import_av()
    except EquiviewError:
        return _write_gif(folder / "overlay.gif", frames, tracks)
    return _write_mp4(av, folder / "overlay.mp4", frames, tracks)


def _write_mp4(av: ModuleType, path: Path, frames: Sequence[np.ndarray], tracks: Tracks) -> Path:
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=FPS)
        # The usual colour format needs even sizes; a last odd row or column is left out.
        stream.height, stream.width = (side // 2 * 2 for side in frames[0].shape[:2])
        stream.pix_fmt = "yuv420p"
        for number in range(len(frames)):
            drawn = draw_tracks(frames[number], tracks, number)[: stream.height, : stream.width]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _write_gif(path: Path, frames: Sequence[np.ndarray], tracks: Tracks) -> Path:
    step = -(-len(frames) // GIF_FRAMES)

    def pictures() -> Iterator[Image.Image]:
        for number in range(0, len(frames), step):
            picture = Image.fromarray(draw_tracks(frames[number], tracks, number))
            picture.thumbnail((GIF_LONG_SIDE, GIF_LONG_SIDE))
            yield picture

    drawn = pictures()
    first = next(drawn)
    with atomic_path(path) as temporary:
        first.save(temporary, save_all=True, append_images=drawn, duration=round(1000 * step / FPS), loop=0)
    return path
