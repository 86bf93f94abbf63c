"""Scores of point tracking, as pure functions.

Sources: Doersch et al., "TAP-Vid", NeurIPS 2022 (average Jaccard, delta_avg, occlusion accuracy, on a 256x256 raster);
Biggs et al., "Creatures Great and SMAL", ACCV 2018 (BADJA).
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

RASTER = 256
THRESHOLDS_PX = (1, 2, 4, 8, 16)
# Scores at fine thresholds in summaries, and what `tapvid_metrics` calls them.
FINE_METRICS = {"delta@1px": "pts_within_1", "delta@2px": "pts_within_2"}
Mode = Literal["first", "strided"]


def to_raster(xy: Float[np.ndarray, "*n 2"], hw: tuple[int, int]) -> Float[np.ndarray, "*n 2"]:
    """Return pixels of an image of size `hw` as pixels of the 256x256 raster (the aspect is not kept)."""
    return xy * (RASTER / np.array([hw[1], hw[0]]))


def evaluated_frames(query_frame: Int[np.ndarray, "n"], n_frames: int, mode: Mode) -> Bool[np.ndarray, "n t"]:
    """Return which frames count: those after the query (`first`), or all but the query's (`strided`)."""
    frames = np.arange(n_frames)[None]
    own = np.asarray(query_frame)[:, None].astype(int)
    return frames > own if mode == "first" else frames != own


def tapvid_metrics(
    xy_true: Float[np.ndarray, "n t 2"],
    visible_true: Bool[np.ndarray, "n t"],
    xy: Float[np.ndarray, "n t 2"],
    visible: Bool[np.ndarray, "n t"],
    counted: Bool[np.ndarray, "n t"],
) -> dict[str, float]:
    """Return the TAP-Vid scores over all counted (point, frame) pairs together, percent; NaN where nothing counts.

    A prediction is within a threshold when its distance is strictly below it. True positives are predictions that are
    visible, truly visible and within; false ones are visible but hidden in truth, or not within.

    Args:
        xy_true: True tracks on the 256x256 raster; may be anything where hidden.
        visible_true: Where points can be seen.
        xy: Predicted tracks on the raster.
        visible: Where points are believed to be seen.
        counted: Which pairs are scored, see `evaluated_frames`.

    Returns:
        average_jaccard, delta_avg, occlusion_accuracy, and jaccard_T and pts_within_T for every threshold T in px.
    """
    seen = visible_true & counted
    scores = {"occlusion_accuracy": _percent(((visible == visible_true) & counted).sum(), counted.sum())}
    squared = np.where(visible_true, ((xy.astype(np.float64) - xy_true) ** 2).sum(-1), np.inf)
    for threshold in THRESHOLDS_PX:
        within = squared < threshold**2
        true_positives = (within & seen & visible).sum()
        false_positives = ((~visible_true | ~within) & visible & counted).sum()
        scores[f"pts_within_{threshold}"] = _percent((within & seen).sum(), seen.sum())
        scores[f"jaccard_{threshold}"] = _percent(true_positives, seen.sum() + false_positives)
    scores["average_jaccard"] = float(np.mean([scores[f"jaccard_{t}"] for t in THRESHOLDS_PX]))
    scores["delta_avg"] = float(np.mean([scores[f"pts_within_{t}"] for t in THRESHOLDS_PX]))
    return scores


def _percent(part: int | np.integer, whole: int | np.integer) -> float:
    return float(100 * part / whole) if whole else float("nan")


def sample_queries(
    visible: Bool[np.ndarray, "n t"], mode: Mode, query_stride: int = 5
) -> tuple[Int[np.ndarray, "q"], Int[np.ndarray, "q"]]:
    """Return which track and which frame each TAP-Vid query is.

    `first`: each track's first visible frame, tracks never seen are left out. `strided`: every `query_stride`-th frame,
    all tracks visible in it, in the order of frames.
    """
    if mode == "first":
        points = np.flatnonzero(visible.any(1))
        return points, visible[points].argmax(1)
    frames = np.arange(0, visible.shape[1], query_stride)
    at, points = np.nonzero(visible[:, frames].T)
    return points, frames[at]


def error_at_height_px(
    xy: Float[np.ndarray, "n t 2"], xy_true: Float[np.ndarray, "n t 2"], hw: tuple[int, int], height: int = RASTER
) -> Float[np.ndarray, "n t"]:
    """Return distances in pixels of frames scaled to `height` with the aspect kept."""
    return np.linalg.norm(xy - xy_true, axis=-1) * (height / hw[0])
