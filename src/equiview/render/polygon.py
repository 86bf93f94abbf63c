"""OBJ and PLY files, parsed by trimesh."""

import io
import re
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.resolvers import FilePathResolver

from ..errors import EquiviewError, bad_input
from .mesh import Material, Part


def read_parts(path: Path) -> tuple[list[Part], list[str]]:
    """Read an OBJ (one part per material) or a PLY.

    Texture v grows upwards in these formats and is turned over here. Neither format says whether a surface has two
    sides, so all are double-sided: a wrong winding then leaves no hole.

    Raises:
        EquiviewError: The file does not parse.
    """
    data = path.read_bytes()
    if path.suffix.lower() == ".obj":
        data = _utf8(data)
    else:
        _check_complete(path, data)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(data),
            file_type=path.suffix[1:].lower(),
            resolver=_Utf8Resolver(str(path)),
            process=False,
        )
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError, UnicodeDecodeError) as error:
        raise bad_input(
            str(path),
            f"a complete {path.suffix[1:].upper()} mesh",
            f"one that does not parse ({type(error).__name__}: {error})",
            "The file is truncated or corrupt; export it again.",
        ) from error
    notes = _missing_files(path) if path.suffix.lower() == ".obj" else []
    parts = []
    for node in scene.graph.nodes_geometry:
        world_from_node, name = scene.graph[node]
        geometry = scene.geometry[name]
        if isinstance(geometry, trimesh.Trimesh):
            parts.append(_part(path, geometry, world_from_node))
    return parts, notes


def _check_complete(path: Path, data: bytes) -> None:
    """Refuse a PLY in text form that ends early: trimesh would read what is left of it."""
    head, end, body = data.partition(b"end_header")
    if not end:
        raise bad_input(str(path), "a PLY header", "a file that ends within it", "Export it again.")
    if b"format ascii" not in head:
        return
    # One line an element (the PLY description of Greg Turk, 1994).
    declared = sum(int(count) for count in re.findall(rb"^element\s+\S+\s+(\d+)", head, re.MULTILINE))
    found = sum(1 for line in body.splitlines() if line.strip())
    if found < declared:
        fix = "The file is truncated; export it again."
        raise bad_input(str(path), f"{declared} lines of vertices and faces", str(found), fix)


class _Utf8Resolver(FilePathResolver):
    """Finds the files beside an OBJ."""

    def get(self, name: str) -> bytes:
        data = super().get(name.strip())
        return _utf8(data) if name.lower().endswith(".mtl") else data


def _utf8(text: bytes) -> bytes:
    """Comments and names in OBJ files come in any encoding; trimesh would want a package to guess which."""
    return text.decode("utf-8", errors="replace").encode()


def _part(path: Path, geometry: trimesh.Trimesh, world_from_node: np.ndarray) -> Part:
    visual = geometry.visual
    colors = uv = None
    material = Material(name=path.stem)
    if isinstance(visual, trimesh.visual.TextureVisuals):
        uv = None if visual.uv is None else np.asarray(visual.uv, np.float64)
        material = _material(path, visual.material)
    elif visual is not None and visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors, np.float64) / 255
        material = Material(color=(1.0, 1.0, 1.0, 1.0), name=path.stem)
    # Normals that were not in the file would be trimesh's own average over shared corners, wrong on a box.
    in_file = "vertex_normals" in geometry._cache.cache
    normals = np.asarray(geometry.vertex_normals, np.float64) if in_file else None
    return Part(
        vertices=trimesh.transform_points(geometry.vertices, world_from_node),
        faces=np.asarray(geometry.faces),
        material=material,
        uv=None if uv is None else np.stack([uv[:, 0], 1 - uv[:, 1]], 1),
        normals=normals,
        colors=colors,
    )


def _material(path: Path, material: object) -> Material:
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        material = material.to_simple()
    if not isinstance(material, trimesh.visual.material.SimpleMaterial):
        raise EquiviewError(f"{path}: material of an unknown kind ({type(material).__name__}).")
    image = material.image
    # A texture takes the place of the diffuse colour, as most viewers have it: many files leave Kd out or black.
    color = (255, 255, 255) if image is not None else material.diffuse
    return Material(
        texture=None if image is None else np.asarray(_opened(path, image).convert("RGBA")),
        color=(float(color[0]) / 255, float(color[1]) / 255, float(color[2]) / 255, 1.0),
        name=str(getattr(material, "name", "") or ""),
    )


def _missing_files(path: Path) -> list[str]:
    """Notes on material files and textures an OBJ names that are not there: trimesh passes over them in silence."""
    notes = []
    for library in _arguments(path, "mtllib"):
        mtl = path.parent / library.removeprefix("./")
        if not mtl.is_file():
            notes.append(f"The material file {library} was not found; the mesh is drawn in grey.")
            continue
        notes += [
            f"The texture {picture} was not found; the plain colour of its material is used."
            for picture in _arguments(mtl, "map_kd")
            if not (path.parent / picture.replace("\\", "/")).is_file()
        ]
    return notes


def _arguments(path: Path, keyword: str) -> list[str]:
    """What follows the keyword, on every line of a text file that starts with it."""
    with path.open(errors="replace") as lines:
        split = (line.strip().split(maxsplit=1) for line in lines)
        return [words[1] for words in split if len(words) == 2 and words[0].lower() == keyword]


def _opened(path: Path, image: Image.Image) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise bad_input(str(path), "a texture that opens", str(error), "Export the picture again.") from error
    return image
