"""The public names: a stored list, so that a change is seen, and an import that stays fast."""

import subprocess
import sys

import pytest

import equiview

PUBLIC = [
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


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_public_names_are_the_stored_ones():
    assert equiview.__all__ == PUBLIC
    assert dir(equiview) == sorted(PUBLIC)


@pytest.mark.parametrize("name", [n for n in PUBLIC if n != "__version__"])
def test_every_name_is_there_documented_and_no_module(name):
    value = getattr(equiview, name)
    assert callable(value)
    assert value.__doc__
    assert value.__module__.startswith("equiview.")


def test_version_is_the_one_of_the_package():
    from importlib.metadata import version

    assert equiview.__version__ == version("equiview")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = equiview.nothing


def test_import_is_lazy():
    loaded = python("import sys, equiview; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])")
    assert loaded == "[]"


def test_functions_stay_when_modules_of_the_same_name_are_imported():
    """Whatever is imported first, `equiview.export` is the function, not the module it lives in."""
    python(
        "import equiview.models.export, equiview.jobs.improve, equiview.data.correspond\n"
        "import equiview, inspect\n"
        "from equiview import correspond\n"
        "assert inspect.isfunction(equiview.export) and inspect.isfunction(equiview.improve)\n"
        "assert correspond is equiview.correspond and inspect.isfunction(correspond)"
    )
