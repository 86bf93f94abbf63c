"""Optional: a running median over the visible part of each track."""

import numpy as np
from jaxtyping import Bool, Float


def smooth(
    xy: Float[np.ndarray, "n t 2"], visible: Bool[np.ndarray, "n t"], own: Bool[np.ndarray, "n t"], frames: int
) -> Float[np.ndarray, "n t 2"]:
    """Return positions after a median over `frames` frames, visible ones only; query points stay where they are.

    It is taken per axis over frames that are visible on both sides alike, so that a steady motion is left as it is.

    Args:
        xy: Pixels.
        visible: Where a position counts.
        own: True at each point's query frame.
        frames: Odd length of the window; 1 changes nothing.
    """
    if frames == 1:
        return xy
    reach = frames // 2
    result = xy.copy()
    for point, frame in zip(*np.nonzero(visible & ~own), strict=True):
        steps = [s for s in range(1, reach + 1) if frame - s >= 0 and frame + s < xy.shape[1]]
        steps = [s for s in steps if visible[point, frame - s] and visible[point, frame + s]]
        window = [frame, *(frame + sign * s for s in steps for sign in (-1, 1))]
        result[point, frame] = np.median(xy[point, window], axis=0)
    return result
