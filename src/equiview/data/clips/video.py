"""Any video file, through PyAV (extra `video`), one frame in memory at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ...errors import EquiviewError, bad_input
from ...io import require_file
from ...pictures import require_pixels
from ...types import Clip
from .frames import changed_size, no_tracks


def import_av() -> ModuleType:
    """Return PyAV.

    Raises:
        EquiviewError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise EquiviewError(
            "Video files need PyAV: pip install 'equiview[video]'. A folder of frames is read without it."
        ) from error
    return av


def open_video(path: Path) -> Clip:
    """Open a video file as a clip without tracks.

    Raises:
        EquiviewError: PyAV is missing; the file is missing, is no video or has no frames; its size changes.
    """
    frames = VideoFrames(path)
    return no_tracks(Path(path).stem, frames, frames.hw)


class VideoFrames(Sequence[UInt8[np.ndarray, "h w 3"]]):
    """The pictures of a video file as players show them (turned as its rotation says), decoded when asked for.

    Going forward decodes every frame once. Going back decodes again from the beginning, which is exact for every
    codec (seeking is not). The frames are counted by decoding them all once: what a header says is often wrong.

    Args:
        path: The file.

    Raises:
        EquiviewError: See `open_video`.
    """

    def __init__(self, path: Path) -> None:
        self.av = import_av()
        self.path = require_file(path, "a video file")
        self.length = 0
        self.hw = (0, 0)
        for frame in self._decoded():
            if self.length == 0:
                self.hw = _upright_hw(frame)
                require_pixels(str(path), self.hw)
            elif _upright_hw(frame) != self.hw:
                raise changed_size(f"{path} frame {self.length}", self.hw, _upright_hw(frame))
            self.length += 1
        if self.length == 0:
            raise bad_input(str(path), "a video with at least one frame", "none", "Play it to see what is wrong.")
        self._stream: Iterator[Any] | None = None
        self._next = 0

    def _decoded(self) -> Iterator[Any]:
        # PyAV's errors are OSErrors or ValueErrors by kind, all under this one class.
        try:
            with self.av.open(str(self.path)) as container:
                if container.streams.video:
                    yield from container.decode(container.streams.video[0])
        except self.av.FFmpegError as error:
            raise bad_input(str(self.path), "a video that can be decoded", str(error), "Convert it to mp4.") from error

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:  # type: ignore[override]
        index = range(self.length)[index]
        if self._stream is None or index < self._next:
            self._stream = self._decoded()
            self._next = 0
        for frame in self._stream:
            self._next += 1
            if self._next == index + 1:
                turns = _quarter_turns(frame)
                return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
        raise bad_input(str(self.path), f"frame {index}", "a file that ends before it", "The file has changed; retry.")


def _quarter_turns(frame: Any) -> int:
    """Return by how many quarter turns to the left a frame is to be turned to stand upright, as its metadata says."""
    return round(getattr(frame, "rotation", 0) / 90) % 4


def _upright_hw(frame: Any) -> tuple[int, int]:
    stored = (frame.height, frame.width)
    return stored[::-1] if _quarter_turns(frame) % 2 else stored
