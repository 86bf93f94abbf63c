from .data.captures.opening import open_capture
from .data.correspond import correspond, sample_surface
from .data.meshes import open_object
from .data.open import open_source
from .errors import EquiviewError
from .finetune import get_recipe
from .jobs.improve import ImproveConfig, improve
from .jobs.measure import MeasureRun, measure_objects
from .jobs.push import PushConfig, push_folder
from .jobs.retention import RetentionConfig, measure_retention
from .matching.match import match
from .matching.pose import Template
from .matching.tracking import LazyMaps, Queries, track
from .matching.transfer import transfer
from .models.adapters import load_adapter, save_adapter, set_strength
from .models.backbones import load_backbone
from .models.export import export
from .models.extractor import Extractor, FeatureConfig
from .models.importer import import_checkpoint
from .models.loading import load
from .models.timm_export import export_timm
from .report import write_report
from .sampling import descriptors
from .tasks.equivariance import MeasureConfig
from .types import (
    Camera,
    Capture,
    Clip,
    Correspondences,
    FeatureMap,
    KeypointPair,
    Matches,
    PosedImage,
    PoseScene,
    View,
)

__version__: str

__all__ = [
    "Camera",
    "Capture",
    "Clip",
    "Correspondences",
    "EquiviewError",
    "Extractor",
    "FeatureConfig",
    "FeatureMap",
    "ImproveConfig",
    "KeypointPair",
    "LazyMaps",
    "Matches",
    "MeasureConfig",
    "MeasureRun",
    "PoseScene",
    "PosedImage",
    "PushConfig",
    "Queries",
    "RetentionConfig",
    "Template",
    "View",
    "__version__",
    "correspond",
    "descriptors",
    "export",
    "export_timm",
    "get_recipe",
    "import_checkpoint",
    "improve",
    "load",
    "load_adapter",
    "load_backbone",
    "match",
    "measure_objects",
    "measure_retention",
    "open_capture",
    "open_object",
    "open_source",
    "push_folder",
    "sample_surface",
    "save_adapter",
    "set_strength",
    "track",
    "transfer",
    "write_report",
]
