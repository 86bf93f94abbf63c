"""Where views come from."""

from .meshes import open_mesh, open_object
from .procedural import procedural_mesh

__all__ = ["open_mesh", "open_object", "procedural_mesh"]
