"""Entry points for torch.hub: `torch.hub.load("OWNER/equiview", "equiview_tiny")`.

The package need not be installed, only what it depends on: torch.hub runs this file from a checkout.
"""

# Modules only: torch.hub lists every callable of this file as an entry point.
import pathlib
import sys
import typing

# Checked by torch.hub before anything here runs; by the names they are imported by.
dependencies = [
    *("torch", "transformers", "peft", "numpy", "PIL", "safetensors", "scipy", "embreex", "poselib", "typer", "rich"),
    *("matplotlib", "jaxtyping", "lazy_loader", "jinja2", "markupsafe"),
]


def equiview(backbone: str, adapter: str | None = None, **options: typing.Any) -> typing.Any:
    """Return a backbone, with an adapter where one is named, as a module: RGB in 0..1 to dense features.

    Args:
        backbone: A hub id (`facebook/dinov2-base`), a folder, `timm:NAME`, `hub:REPO:ENTRY` or `equiview/tiny`.
        adapter: A folder, or OWNER/NAME[@REVISION] on the Hugging Face hub.
        options: Further ones of `equiview.load`: `strength`, `device`, `blocks`, `long_side`, ...
    """
    return _package().load(backbone, adapter=adapter, **options)


def equiview_tiny(**options: typing.Any) -> typing.Any:
    """Return the small backbone that comes with the package; `options` are those of `equiview.load`."""
    return _package().load("equiview/tiny", **options)


def _package() -> typing.Any:
    """Import this checkout's package, or the one that is imported already."""
    source = str(pathlib.Path(__file__).resolve().parent / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
    import equiview as package

    return package
