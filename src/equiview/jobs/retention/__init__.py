"""Retention: what an adapter costs elsewhere, at every strength between the base features and the adapted ones."""

from .drift import Moments, chance_agreement, drift_rows, mean_cosine, neighbour_agreement
from .reading import read_retention
from .run import measure_retention
from .settings import HEADLINES, STRENGTHS, TASKS, RetentionConfig, Sizes
from .strengths import AdjustableFeatures, AtStrength

__all__ = [
    "HEADLINES",
    "STRENGTHS",
    "TASKS",
    "AtStrength",
    "AdjustableFeatures",
    "Moments",
    "RetentionConfig",
    "Sizes",
    "chance_agreement",
    "drift_rows",
    "mean_cosine",
    "measure_retention",
    "neighbour_agreement",
    "read_retention",
]
