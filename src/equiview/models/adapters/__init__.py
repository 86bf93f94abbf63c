"""Adapters: LoRA on a backbone, and the folders that hold one together with its head.

The names stand in `__init__.pyi` and are imported when first used: an extractor knows LoRA, and a folder extractors.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
