"""From a mesh and cameras to views with exact geometry."""

from .embree import render_depth, render_view
from .mesh import Material, Mesh, load_mesh, normalize
from .rigs import paper42, random_rig, ring
from .shading import RenderConfig
from .store import ViewStore, open_views, render_views

__all__ = [
    "Material",
    "Mesh",
    "RenderConfig",
    "ViewStore",
    "load_mesh",
    "normalize",
    "open_views",
    "paper42",
    "random_rig",
    "render_depth",
    "render_view",
    "render_views",
    "ring",
]
