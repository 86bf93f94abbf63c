"""Point tracking with features: which pixel of every frame is the query point, and can it be seen there?"""

from .data import LazyMaps, Queries, TrackConfig, Tracks
from .paper import PaperConfig, track_paper
from .refined import RefinedMaps
from .stream import FeatureTracker, track

__all__ = [
    "FeatureTracker",
    "LazyMaps",
    "PaperConfig",
    "Queries",
    "RefinedMaps",
    "TrackConfig",
    "Tracks",
    "track",
    "track_paper",
]
