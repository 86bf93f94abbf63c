"""One-shot object pose from feature matches."""

from .locating import Attempt, LocateConfig
from .references import Observations, Reference
from .solve import PoseEstimate, solve_pnp
from .template import Template, TemplateConfig
from .triangulated import TriangulationConfig

__all__ = [
    "Attempt",
    "LocateConfig",
    "Observations",
    "PoseEstimate",
    "Reference",
    "Template",
    "TemplateConfig",
    "TriangulationConfig",
    "solve_pnp",
]
