"""The stored matches of a run's object, before adaptation above and after it below."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, UInt8

from .canvas import RIGHT, WRONG, Canvas

HIT_PERCENT = 5.0
"""A match within this much of the shorter edge is right, as PCDP@0.05 counts."""
HEIGHT_PX, GAP_PX, MARGIN_PX = 360, 12, 12
Arrays = Mapping[str, np.ndarray]


def hits(arrays: Arrays, state: str) -> Bool[np.ndarray, "n"]:
    """Return which drawn points are found within 5 % of the edge.

    Args:
        arrays: One pictures/OBJECT.npz.
        state: `before` or `after`.
    """
    distance = np.linalg.norm(arrays[f"xy1_{state}"] - arrays["xy1_true"], axis=-1)
    return distance < HIT_PERCENT / 100 * min(arrays["rgb1"].shape[:2])


def before_after_picture(arrays: Arrays) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the same points in both rows; green is right, red is wrong."""
    rows = [_row(arrays, state) for state in ("before", "after")]
    gap = np.full((GAP_PX, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([rows[0], gap, rows[1]])


def _row(arrays: Arrays, state: str) -> UInt8[np.ndarray, "h w 3"]:
    places = (arrays["xy0"], np.concatenate([arrays["xy1_before"], arrays["xy1_after"]]))
    (rgb0, left), (rgb1, right) = (_cut_out(arrays[f"rgb{i}"], arrays[f"mask{i}"], places[i]) for i in (0, 1))
    canvas = Canvas(rgb0, rgb1, height_px=HEIGHT_PX, smooth=2)
    found = hits(arrays, state)
    ends = list(zip(arrays["xy0"] - left, arrays[f"xy1_{state}"] - right, found, strict=True))
    for start, end, hit in ends:
        canvas.line([(canvas.left, start), (canvas.right, end)], (*(RIGHT if hit else WRONG), 110), 1)
    for start, end, hit in ends:
        canvas.dot(canvas.left, start, RIGHT if hit else WRONG, 2.5)
        canvas.dot(canvas.right, end, RIGHT if hit else WRONG, 2.5)
    return canvas.rgb()


def _cut_out(
    rgb: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], xy: Float[np.ndarray, "n 2"]
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], Float[np.ndarray, "2"]]:
    """Cut a picture down to the object and the points; return it with where its corner was."""
    rows, columns = np.nonzero(mask)
    every = np.concatenate([xy, np.stack([columns, rows], 1)])
    low = np.maximum(every.min(0) - MARGIN_PX, 0).astype(int)
    high = (every.max(0) + MARGIN_PX).astype(int)
    return rgb[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)
