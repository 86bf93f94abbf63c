"""A folder of frames: a clip without tracks, read one picture at a time."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from ...errors import EquiviewError, bad_input
from ...io import image_hw, picture_files, read_image, require_folder
from ...types import Clip

log = logging.getLogger(__name__)
T = TypeVar("T")


class FrameFiles(Sequence[UInt8[np.ndarray, "h w 3"]]):
    """Pictures of one size, read when indexed.

    Args:
        paths: In order of time.
        hw: The size every one must have; that of the first when None.

    Raises:
        EquiviewError: No paths; and when read: a picture that does not open or has another size.
    """

    def __init__(self, paths: Sequence[Path], hw: tuple[int, int] | None = None) -> None:
        if not paths:
            raise bad_input("frames", "at least one picture", "none", "Check the folder.")
        self.paths = [Path(path) for path in paths]
        self.hw = hw or image_hw(self.paths[0])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:  # type: ignore[override]
        rgb = read_image(self.paths[index])
        if rgb.shape[:2] != self.hw:
            raise changed_size(str(self.paths[index]), self.hw, rgb.shape[:2])
        return rgb


def changed_size(what: str, expected_hw: tuple[int, ...], found_hw: tuple[int, ...]) -> ValueError:
    """Build the error for a frame that is not as large as the others."""
    expected, found = (f"{hw[1]}x{hw[0]} pixels" for hw in (expected_hw, found_hw))
    return bad_input(what, f"{expected} as the other frames", found, "Resize the frames to one size.")


def frame_paths(folder: Path) -> list[Path]:
    """Return the pictures of a folder in their natural order, see `io.picture_files`.

    Raises:
        EquiviewError: No folder, or no pictures in it.
    """
    folder = require_folder(folder, "a folder of frames")
    paths = picture_files(folder)
    if not paths:
        raise bad_input(str(folder), "pictures (jpg, png ...)", "none", "Give the folder that holds the frames.")
    return paths


def usable_clips(items: Iterable[T], open_one: Callable[[T], Clip]) -> Iterator[Clip]:
    """Yield the clips that open; one that does not is said and passed over, for it must not end a whole data set.

    Raises:
        EquiviewError: None opens; why the first did not.
    """
    first, failed, opened = None, 0, 0
    for item in items:
        try:
            clip = open_one(item)
        except EquiviewError as error:
            first, failed = first or error, failed + 1
            log.warning("Left out: %s", error)
            continue
        opened += 1
        yield clip
    if first is not None and not opened:
        raise first
    if failed:
        log.warning("%d of %d clips cannot be used and were left out.", failed, failed + opened)


def no_tracks(name: str, frames: Sequence[UInt8[np.ndarray, "h w 3"]], hw: tuple[int, int]) -> Clip:
    """Return a clip that has pictures only."""
    nothing = np.zeros((0, len(frames)), bool)
    return Clip(name, frames, hw, np.zeros((0, len(frames), 2)), nothing, nothing)


def open_frames(folder: Path) -> Clip:
    """Open a folder of frames as a clip without tracks.

    Raises:
        EquiviewError: No folder, or no pictures in it.
    """
    frames = FrameFiles(frame_paths(folder))
    return no_tracks(Path(folder).name, frames, frames.hw)
