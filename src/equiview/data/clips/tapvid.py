"""TAP-Vid: DAVIS, RGB-stacking and Kinetics in their pickle layouts, read without running pickled code.

A file holds a dictionary {name: example} (DAVIS) or a list of examples (RGB-stacking, a Kinetics shard). An example has
`video` (uint8 [t, h, w, 3], or a list of encoded pictures in Kinetics), `points` [n, t, 2] as x, y from 0 to 1 with the
corner of the picture as origin (so a multiplication by its size gives our pixels), and `occluded` [n, t].
Source: Doersch et al., "TAP-Vid", NeurIPS 2022; github.com/google-deepmind/tapnet.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ... import pictures
from ...errors import EquiviewError, bad_input
from ...io import visible
from ...schema import as_array
from ...types import Clip
from ..safe_pickle import read_pickle
from .frames import changed_size, usable_clips

_KEYS = {"video", "points", "occluded"}


def open_tapvid(path: Path) -> Iterator[Clip]:
    """Yield the clips of a pickle, or of every `*.pkl` shard of a folder, one file in memory at a time.

    Raises:
        EquiviewError: A missing, broken or hostile file, another layout, or an empty video.
    """
    path = Path(path)
    files = visible(path, "*.pkl") if path.is_dir() else [path]
    if not files:
        raise bad_input(str(path), "shards (*.pkl)", "none", "Give the folder of a TAP-Vid set, or one file.")
    yield from usable_clips(chain.from_iterable(map(_clips, files)), lambda clip: clip())


def _clips(path: Path) -> Iterator[Callable[[], Clip]]:
    """Yield what opens each clip of a file, or what says why the file has none."""
    try:
        yield from _openers(path)
    except EquiviewError as error:
        yield partial(_failed, error)


def _failed(error: EquiviewError) -> Clip:
    raise error


def _openers(path: Path) -> Iterator[Callable[[], Clip]]:
    content = read_pickle(path)
    if isinstance(content, dict) and content.keys() >= _KEYS:
        content = [content]
    named = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    examples = list(named)
    if not examples or not all(isinstance(e, dict) and e.keys() >= _KEYS for _, e in examples):
        raise bad_input(str(path), "examples with video, points and occluded", "something else", "Is it TAP-Vid's?")
    for key, example in examples:
        name = key if isinstance(key, str) else f"{path.stem}-{key:03d}"
        yield partial(_clip, f"{path}: {name}", name, example)


def _clip(where: str, name: str, example: dict[str, Any]) -> Clip:
    frames = _frames(where, example["video"])
    hw = frames[0].shape[:2]
    points = as_array(example["points"], f"{where} points", (None, None, 2))
    hidden = as_array(example["occluded"], f"{where} occluded", (None, None))
    if points.ndim != 3 or points.shape[1:] != (len(frames), 2) or hidden.shape != points.shape[:2]:
        expected = f"points [n, {len(frames)}, 2] and occluded [n, {len(frames)}]"
        raise bad_input(where, expected, f"{points.shape} and {hidden.shape}", "Get the file again.")
    visible = ~hidden.astype(bool)
    xy = points.astype(np.float64) * (hw[1], hw[0])
    if not np.isfinite(xy[visible]).all():
        raise bad_input(where, "finite points where visible", "NaN or infinity", "Get the file again.")
    return Clip(name, frames, hw, xy, visible, np.ones(visible.shape, bool))


def _frames(where: str, video: Any) -> Sequence[UInt8[np.ndarray, "h w 3"]]:
    several = isinstance(video, list | tuple) or (isinstance(video, np.ndarray) and video.ndim > 0)
    if not several or len(video) == 0:
        raise bad_input(where, "at least one frame", "none", "Get the file again.")
    if isinstance(video, list | tuple) and all(isinstance(frame, bytes) for frame in video):
        return EncodedFrames(where, video)
    if isinstance(video, list | tuple):
        if not all(isinstance(frame, np.ndarray) and frame.ndim == 3 for frame in video):
            raise bad_input(where, "a list of pictures", "other values among them", "Get the file again.")
        sizes = {frame.shape for frame in video}
        if len(sizes) > 1:
            first, *others = sorted(size[:2] for size in sizes)
            raise changed_size(where, first, others[0])
        video = np.stack(video)
    if video.ndim != 4 or video.shape[3] != 3 or video.dtype != np.uint8 or not video.size:
        raise bad_input(where, "8-bit video [t, h, w, 3]", f"{video.dtype} {video.shape}", "Get the file again.")
    return video


class EncodedFrames(Sequence[UInt8[np.ndarray, "h w 3"]]):
    """Encoded pictures (JPEG, PNG), decoded when indexed.

    Args:
        where: For messages.
        encoded: One file's bytes each.
    """

    def __init__(self, where: str, encoded: Sequence[bytes]) -> None:
        self.where = where
        self.encoded = encoded
        self.hw = self._read(0).shape[:2]

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:  # type: ignore[override]
        rgb = self._read(index)
        if rgb.shape[:2] != self.hw:
            raise changed_size(f"{self.where} frame {index}", self.hw, rgb.shape[:2])
        return rgb

    def _read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        what = f"{self.where} frame {index}"
        with pictures.opened(self.encoded[index], what, "Get the file again.") as image:
            return pictures.rgb(image, what)
