"""Where views come from."""

from .builtin import BUILTINS, builtin_mesh
from .meshes import check_made, is_made, open_mesh, open_object
from .procedural import procedural_mesh

__all__ = ["BUILTINS", "builtin_mesh", "check_made", "is_made", "open_mesh", "open_object", "procedural_mesh"]
