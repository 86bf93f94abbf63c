"""Structure from motion: from pictures to cameras and points, through pycolmap (extra `colmap`)."""

from .align import CameraDifference, compare_cameras
from .job import CaptureConfig, capture_from_pictures, capture_with_poses, compare_with_given
from .matches import ColmapConfig
from .statistics import CaptureStatistics
from .verdict import Verdict, judge

__all__ = [
    "CameraDifference",
    "CaptureConfig",
    "CaptureStatistics",
    "ColmapConfig",
    "Verdict",
    "capture_from_pictures",
    "capture_with_poses",
    "compare_cameras",
    "compare_with_given",
    "judge",
]
