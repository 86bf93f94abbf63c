"""Triangle meshes with materials, from GLB, glTF, OBJ and PLY files."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import bad_input
from ..io import MESH_SUFFIXES, require_file
from ..limits import MAX_VALUE

log = logging.getLogger(__name__)

Wrap = Literal["repeat", "clamp", "mirror"]
Up = Literal["y", "z"]

Y_UP_SUFFIXES = (".glb", ".gltf")


@dataclass(frozen=True, eq=False)
class Material:
    """What one group of triangles looks like.

    Attributes:
        texture: Base colour picture, sRGB with alpha, first row at v = 0; None is a plain colour.
        color: Base colour factor, sRGB-encoded RGBA from 0 to 1; multiplies the texture.
        alpha_cutoff: Surface with alpha below this does not exist (the ray goes on); None is opaque.
        double_sided: False hides triangles seen from behind (counter-clockwise is the front), as glTF demands.
        wrap: How the texture goes on outside 0 to 1, along u and v.
        name: For messages.
    """

    texture: UInt8[np.ndarray, "h w 4"] | None = None
    color: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 1.0)
    alpha_cutoff: float | None = None
    double_sided: bool = True
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    name: str = ""


@dataclass(frozen=True, eq=False)  # compared by identity: comparing arrays field by field has no truth value
class Mesh:
    """Triangles in object coordinates, every node transform and texture transform already applied.

    Attributes:
        vertices: Corners, object units.
        faces: Corner indices of each triangle.
        uv: Texture coordinates per vertex, origin at the TOP left of the picture (glTF); zeros where there are none.
        normals: Shading normals per vertex; a zero row means "use the triangle's own normal".
        face_material: Index into `materials` per triangle.
        materials: At least one.
        vertex_colors: sRGB-encoded RGBA from 0 to 1 per vertex (multiplies the material), or None.
        name: File stem.
        notes: What the reader had to leave out or assume, one sentence each.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "v 2"]
    normals: Float[np.ndarray, "v 3"]
    face_material: Int[np.ndarray, "f"]
    materials: tuple[Material, ...]
    vertex_colors: Float[np.ndarray, "v 4"] | None = None
    name: str = "mesh"
    notes: tuple[str, ...] = ()

    @cached_property
    def face_normals(self) -> Float[np.ndarray, "f 3"]:
        """Unit normals by the right-hand rule (counter-clockwise is outside)."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        cross = np.cross(b - a, c - a)
        return cross / np.linalg.norm(cross, axis=1, keepdims=True)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that changes a picture of this mesh."""
        digest = hashlib.sha256()
        for array in (self.vertices, self.faces, self.uv, self.normals, self.face_material, self.vertex_colors):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        for material in self.materials:
            digest.update(repr(replace(material, texture=None, name="")).encode())
            digest.update(b"none" if material.texture is None else np.ascontiguousarray(material.texture).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Part:
    """One group of triangles with one material, as a file reader hands it over."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    material: Material
    uv: Float[np.ndarray, "v 2"] | None = None
    normals: Float[np.ndarray, "v 3"] | None = None
    colors: Float[np.ndarray, "v 4"] | None = None


def load_mesh(path: str | Path, up: Up | None = None) -> Mesh:
    """Read a mesh file and turn it so that +z is up, as the rigs have it.

    Args:
        path: A `.glb`, `.gltf`, `.obj` or `.ply` file; pictures and buffers it names are looked up beside it.
        up: The file's axis that points up. None is what the format says: y for glTF (section 3.4 of its
            specification), z for OBJ and PLY, which do not say. With "z" the mesh keeps the file's own frame, as
            whoever holds poses in that frame needs.

    Returns:
        The mesh; what could not be read as meant is in `notes` and logged as a warning.

    Raises:
        EquiviewError: Missing, truncated or corrupt file, another format, no triangles, only degenerate
            triangles, or coordinates that are not finite.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        kinds = "a .glb, .gltf, .obj or .ply mesh"
        if not suffix:  # More often a folder or a mistyped name than another format.
            require_file(path, kinds)
        raise bad_input(str(path), kinds, f"suffix {suffix!r}", "Convert it to GLB.")
    require_file(path, "a mesh file")
    # Imported here because the readers need Part and Material from this file.
    from . import gltf, obj, ply

    readers = {".obj": obj.read_parts, ".ply": ply.read_parts}
    parts, notes = readers.get(suffix, gltf.read_parts)(path)
    mesh = merge_parts(parts, path.stem, notes, where=str(path))
    if (up or default_up(path)) == "y":
        mesh = _z_up(mesh)
    for note in mesh.notes:
        log.warning("%s: %s", path, note)
    return mesh


def default_up(path: str | Path) -> Up:
    """Return the axis of a mesh file that points up when nobody says."""
    return "y" if Path(path).suffix.lower() in Y_UP_SUFFIXES else "z"


def _z_up(mesh: Mesh) -> Mesh:
    """Turn a y-up mesh by 90 degrees about x: (x, y, z) becomes (x, -z, y), which rounds nothing."""
    order, signs = [0, 2, 1], np.array([1.0, -1.0, 1.0])
    return replace(mesh, vertices=mesh.vertices[:, order] * signs, normals=mesh.normals[:, order] * signs)


def merge_parts(parts: Sequence[Part], name: str, notes: Sequence[str] = (), where: str | None = None) -> Mesh:
    """Join parts into one checked mesh; degenerate triangles are dropped with a note.

    Args:
        parts: Groups of triangles.
        name: Name of the mesh.
        notes: Sentences to keep.
        where: What error messages call the mesh, usually its path.

    Raises:
        EquiviewError: As in `load_mesh`.
    """
    where = where or name
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise bad_input(where, "a mesh with triangles", "none", "Export the object as a triangle mesh.")
    notes = list(notes)
    parts = [_without_unusable_texture(part, notes) for part in parts]
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts]).astype(np.float64)
    faces = np.concatenate([part.faces + start for part, start in zip(parts, offsets, strict=False)]).astype(np.int64)
    face_material = np.concatenate([np.full(len(part.faces), i, np.int32) for i, part in enumerate(parts)])
    _check_vertices(where, vertices, faces)
    keep = _not_degenerate(where, vertices, faces)
    if not keep.all():
        notes.append(f"{int((~keep).sum())} of {len(keep)} triangles have no area and were dropped.")
    has_colors = any(part.colors is not None for part in parts)
    if not has_colors and all(part.material.texture is None for part in parts):
        notes.append("There is no texture; the object is drawn in its material colour, which leaves little to match.")
    return Mesh(
        vertices=vertices,
        faces=faces[keep].astype(np.int32),
        uv=np.concatenate([_or_constant(part.uv, len(part.vertices), 2, 0.0) for part in parts]),
        normals=np.concatenate([_or_constant(part.normals, len(part.vertices), 3, 0.0) for part in parts]),
        face_material=face_material[keep],
        materials=tuple(part.material for part in parts),
        vertex_colors=np.concatenate([_or_constant(part.colors, len(part.vertices), 4, 1.0) for part in parts])
        if has_colors
        else None,
        name=name,
        notes=tuple(dict.fromkeys(notes)),
    )


def normalize(mesh: Mesh) -> Mesh:
    """Scale the longest bounding-box side to 1 and put the box's centre at the origin (the paper's convention).

    Only vertices that a triangle uses count.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    low, high = used.min(0), used.max(0)
    return replace(mesh, vertices=(mesh.vertices - (low + high) / 2) / (high - low).max())


def srgb_from_linear(linear: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Encode linear light (0 to 1) as sRGB, IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-12) ** (1 / 2.4) - 0.055)


def linear_from_srgb(encoded: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Decode sRGB (0 to 1) to linear light, IEC 61966-2-1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _or_constant(array: np.ndarray | None, rows: int, columns: int, value: float) -> np.ndarray:
    if array is None:
        return np.full((rows, columns), value)
    return np.nan_to_num(np.asarray(array, np.float64))


def _without_unusable_texture(part: Part, notes: list[str]) -> Part:
    if part.material.texture is None or part.uv is not None:
        return part
    label = repr(part.material.name) if part.material.name else "(unnamed)"
    notes.append(f"Material {label} has a texture but the mesh has no UVs for it; its plain colour is used.")
    return replace(part, material=replace(part.material, texture=None))


def _check_vertices(where: str, vertices: np.ndarray, faces: np.ndarray) -> None:
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise bad_input(
            where,
            f"face indices below {len(vertices)}",
            f"index {faces.max()}",
            "The file is corrupt; export it again.",
        )
    bad = ~(np.abs(vertices[np.unique(faces)]) <= MAX_VALUE).all(1)
    if bad.any():
        raise bad_input(
            where,
            "finite vertex coordinates",
            f"{int(bad.sum())} vertices with NaN, infinity or values beyond {MAX_VALUE:g}",
            "Repair the mesh or export it again.",
        )


def _not_degenerate(where: str, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """True for triangles whose area is above rounding, relative to the size of the object."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    size = np.ptp(vertices[np.unique(faces)], axis=0).max()
    doubled_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    keep = doubled_area > 1e-14 * size**2
    if size == 0 or not keep.any():
        raise bad_input(
            where, "triangles with an area", f"{len(faces)} degenerate triangles", "Check the export's scale and faces."
        )
    return keep
