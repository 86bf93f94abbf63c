"""Four tasks on many data sets with one backbone: pose, tracking, transfer, recall, in one folder and one page."""

from .run import bench, write_omniprobe
from .settings import SIZES, TASKS, BenchConfig, Sizes

__all__ = ["SIZES", "TASKS", "BenchConfig", "Sizes", "bench", "write_omniprobe"]
