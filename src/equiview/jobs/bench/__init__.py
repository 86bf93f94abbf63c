"""Four tasks on many data sets with one backbone: pose, tracking, transfer, recall, in one folder and one page."""

from .real import tasks_of
from .run import bench, write_omniprobe
from .settings import SIZES, TASKS, USUAL_TASKS, BenchConfig, Sizes

__all__ = ["SIZES", "TASKS", "USUAL_TASKS", "BenchConfig", "Sizes", "bench", "tasks_of", "write_omniprobe"]
