"""equiview: measure and improve the multiview equivariance of Vision Transformer features.

The public names stand in `__init__.pyi`; each is imported when it is first used, so that `import equiview` is fast.
"""

import lazy_loader

__version__ = "0.3.0.dev0"

__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_names, "__version__"])  # noqa: PLE0605


def __dir__() -> list[str]:
    return __all__
