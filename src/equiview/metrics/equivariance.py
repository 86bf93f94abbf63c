"""The scores, as pure functions. Every value is a percentage (0 to 100)."""

import numpy as np
from jaxtyping import Float

PCDP_THRESHOLDS = (0.05, 0.1, 0.2)
METRIC_NAMES = ("ape", *(f"pcdp@{threshold:g}" for threshold in PCDP_THRESHOLDS))


def error_px(xy: Float[np.ndarray, "n 2"], xy_true: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n"]:
    """Return the distance in pixels between prediction and truth."""
    return np.linalg.norm(xy - xy_true, axis=-1)


def ape(errors_px: Float[np.ndarray, "n"], image_hw: tuple[int, int]) -> float:
    """Average pixel error: mean distance over the shortest image edge, percent. Lower is better.

    Source: You et al., ICLR 2025 (project page): "APE".
    """
    return float(100 * errors_px.mean() / min(image_hw))


def pcdp(errors_px: Float[np.ndarray, "n"], image_hw: tuple[int, int], threshold: float) -> float:
    """Share of dense points whose error is below `threshold` x the shortest image edge, percent (strict <).

    Source: You et al., ICLR 2025: "PCDP", defined like PCK over all points.
    """
    return float(100 * (errors_px < threshold * min(image_hw)).mean())


def all_metrics(errors_px: Float[np.ndarray, "n"], image_hw: tuple[int, int]) -> dict[str, float]:
    """Return APE and PCDP at the three published thresholds, keyed by `METRIC_NAMES`."""
    values = {"ape": ape(errors_px, image_hw)}
    return values | {f"pcdp@{t:g}": pcdp(errors_px, image_hw, t) for t in PCDP_THRESHOLDS}
