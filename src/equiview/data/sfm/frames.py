"""Which frames of a video to use: evenly spread over the camera's movement, each sharper than its neighbours.

A video has many more frames than structure from motion needs, most of them nearly the same and some blurred by a
shaking hand. Every frame is looked at once, small; two numbers of it are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ...errors import bad_input
from .matches import Progress

SHARP_LONG_SIDE_PX, MOTION_LONG_SIDE_PX, TILE_PX = 480, 160, 40
# A tile counts when its correlation has a peak this high (1 is a pure shift) and it has this contrast (grey levels).
_MIN_PEAK, _MIN_CONTRAST = 0.12, 3.0
# Chosen frames are at least this far apart in the picture, as a share of its long side: closer ones add nothing.
_MIN_STEP = 0.02
_BLURRED, _NEIGHBOURS = 0.6, 7


@dataclass(frozen=True)
class FrameScores:
    """What was measured on each frame.

    Attributes:
        sharpness: Variance of the Laplacian, grey levels squared; only comparable between neighbours.
        motion: How far the picture moved since the frame before, as a share of its long side; 0 for the first.
    """

    sharpness: Float[np.ndarray, "n"]
    motion: Float[np.ndarray, "n"]

    @property
    def relative_sharpness(self) -> Float[np.ndarray, "n"]:
        """Sharpness divided by the median of the neighbouring frames: what a picture shows cancels out."""
        padded = np.pad(self.sharpness, _NEIGHBOURS, mode="reflect" if len(self.sharpness) > _NEIGHBOURS else "edge")
        around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1)
        return self.sharpness / np.maximum(np.median(around, axis=1), 1e-9)


def measure_frames(frames: Sequence[UInt8[np.ndarray, "h w 3"]], progress: Progress) -> FrameScores:
    """Look at every frame once, in order; only the one before is kept.

    Args:
        frames: Read when indexed.
        progress: Called with ("frames", done, total).
    """
    sharpness, motion = np.zeros(len(frames)), np.zeros(len(frames))
    before: np.ndarray | None = None
    for index in range(len(frames)):
        picture = Image.fromarray(frames[index]).convert("L")
        sharpness[index] = _laplacian_variance(_thumbnail(picture, SHARP_LONG_SIDE_PX))
        small = _thumbnail(picture, MOTION_LONG_SIDE_PX)
        if before is not None and before.shape == small.shape:
            motion[index] = picture_motion(before, small)
        before = small
        progress("frames", index + 1, len(frames))
    return FrameScores(sharpness, motion)


def choose_frames(scores: FrameScores, max_frames: int) -> list[int]:
    """Return the indices of the frames to use, in order.

    The camera's path is cut into equal steps of picture motion; each step gives its sharpest frame, or a sharper one of
    the steps beside it when all of its own are blurred.

    Args:
        scores: Of every frame.
        max_frames: How many at most.

    Raises:
        EquiviewError: Fewer than two frames are asked for.
    """
    if max_frames < 2:
        raise bad_input("--frames", "2 or more", str(max_frames), "80 is the default.")
    path, relative = np.cumsum(scores.motion), scores.relative_sharpness
    count = min(max_frames, len(path), max(2, int(path[-1] / _MIN_STEP)))
    step = path[-1] / count
    chosen = set()
    for target in (np.arange(count) + 0.5) * step:
        away = np.abs(path - target)
        near = np.flatnonzero(away <= max(step / 2, away.min()))
        if relative[near].max() < _BLURRED:
            near = np.flatnonzero(away <= max(1.5 * step, away.min()))
        chosen.add(int(near[np.argmax(relative[near])]))
    return sorted(chosen)


def picture_motion(before: Float[np.ndarray, "h w"], after: Float[np.ndarray, "h w"]) -> float:
    """Return how far a picture moved: the median shift of its tiles by phase correlation, as a share of its long side.

    Tiles without contrast, or that do not look like a shifted copy, say nothing; when none says anything it is 0.
    """
    tile = min(TILE_PX, *before.shape)
    window = np.outer(np.hanning(tile), np.hanning(tile))
    shifts = []
    for y in range(0, before.shape[0] - tile + 1, tile // 2):
        for x in range(0, before.shape[1] - tile + 1, tile // 2):
            a, b = (one[y : y + tile, x : x + tile] for one in (before, after))
            if min(a.std(), b.std()) >= _MIN_CONTRAST:
                shift, peak = _phase_shift((a - a.mean()) * window, (b - b.mean()) * window)
                shifts += [shift] if peak >= _MIN_PEAK else []
    return float(np.median(shifts)) / max(before.shape) if shifts else 0.0


def _phase_shift(a: Float[np.ndarray, "t t"], b: Float[np.ndarray, "t t"]) -> tuple[float, float]:
    """Return the length of the shift between two tiles in pixels, and the height of its peak (0 to 1)."""
    cross = np.fft.fft2(a).conj() * np.fft.fft2(b)
    surface = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-9)).real
    best = np.array(np.unravel_index(np.argmax(surface), surface.shape))
    size = np.array(surface.shape)
    signed = (best + size // 2) % size - size // 2
    # Neighbours of the peak share its height when a shift is not whole.
    around = np.ix_(*[(np.arange(-1, 2) + at) % n for at, n in zip(best, size, strict=True)])
    return float(np.hypot(*signed)), float(np.maximum(surface[around], 0).sum())


def _thumbnail(picture: Image.Image, long_side_px: int) -> Float[np.ndarray, "h w"]:
    scale = min(1.0, long_side_px / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.asarray(picture.resize(size, Image.Resampling.BOX), np.float64)


def _laplacian_variance(grey: Float[np.ndarray, "h w"]) -> float:
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())
