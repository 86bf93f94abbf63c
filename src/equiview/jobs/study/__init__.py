"""How equivariance and the tasks relate: many results to correlations, intervals and plain words."""

from .points import PointSet, StudyPoint, merge, only, read_points, write_points
from .readers import read_results
from .relations import relate
from .run import study

__all__ = ["PointSet", "StudyPoint", "merge", "only", "read_points", "read_results", "relate", "study", "write_points"]
