"""equiview: measure and improve the multiview equivariance of Vision Transformer features.

The public names are below; each is imported when it is first used, so that `import equiview` is fast.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import load_adapter, save_adapter, set_strength
    from .backbones import load_backbone
    from .captures import open_object
    from .captures.opening import open_capture
    from .correspond import correspond, sample_surface
    from .errors import EquiviewError
    from .export import export
    from .features import Extractor, FeatureConfig
    from .finetune import get_recipe
    from .importer import import_checkpoint
    from .improve import ImproveConfig, improve
    from .loading import load
    from .matching import match
    from .measuring import MeasureRun, measure_objects
    from .pose import Template
    from .report import write_report
    from .retention import RetentionConfig, measure_retention
    from .sampling import descriptors
    from .sources import open_source
    from .tasks.equivariance import MeasureConfig
    from .tracking import track
    from .transfer import transfer
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

__version__ = "0.3.0.dev0"

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
    "Matches",
    "MeasureConfig",
    "MeasureRun",
    "PoseScene",
    "PosedImage",
    "RetentionConfig",
    "Template",
    "View",
    "__version__",
    "correspond",
    "descriptors",
    "export",
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
    "sample_surface",
    "save_adapter",
    "set_strength",
    "track",
    "transfer",
    "write_report",
]

_HOME = {
    "Camera": "types",
    "Capture": "types",
    "Clip": "types",
    "Correspondences": "types",
    "EquiviewError": "errors",
    "Extractor": "features",
    "FeatureConfig": "features",
    "FeatureMap": "types",
    "ImproveConfig": "improve",
    "KeypointPair": "types",
    "Matches": "types",
    "MeasureConfig": "tasks.equivariance",
    "MeasureRun": "measuring",
    "PoseScene": "types",
    "PosedImage": "types",
    "RetentionConfig": "retention",
    "Template": "pose",
    "View": "types",
    "correspond": "correspond",
    "descriptors": "sampling",
    "export": "export",
    "get_recipe": "finetune",
    "import_checkpoint": "importer",
    "improve": "improve",
    "load": "loading",
    "load_adapter": "adapters",
    "load_backbone": "backbones",
    "match": "matching",
    "measure_objects": "measuring",
    "measure_retention": "retention",
    "open_capture": "captures.opening",
    "open_object": "captures",
    "open_source": "sources",
    "sample_surface": "correspond",
    "save_adapter": "adapters",
    "set_strength": "adapters",
    "track": "tracking",
    "transfer": "transfer",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'equiview' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Lets a function win over the module of the same name (`improve`, `export`, `correspond`).

    Python sets a submodule as an attribute of its package when it is imported; eager imports would then overwrite it
    with the function. This does the same for lazy ones, whatever is imported first.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
