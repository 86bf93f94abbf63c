"""PLY meshes: polygons of any number of corners, triangle strips, colours of vertices and faces, several textures.

Read here because general mesh libraries refuse binary files with triangles and quads, or lose looks without a word.
Source: Greg Turk, "The PLY Polygon File Format", 1994; `comment TextureFile` and texture coordinates per face as
MeshLab has them.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import bad_input
from .mesh import Material, Part
from .ply_elements import Element, read_ply
from .polygons import Ragged, fans
from .references import find_file, read_texture

_UV_NAMES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"), ("tx", "ty"), ("texture_s", "texture_t"))
_COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_CORNERS = ("vertex_indices", "vertex_index")


def read_parts(path: Path) -> tuple[list[Part], list[str]]:
    """Read a PLY: one part per texture, and notes on what is lost of its looks.

    Texture v grows upwards and is turned over here. The format does not say whether a surface has two sides, so all
    are double-sided: a wrong winding then leaves no hole.

    Raises:
        EquiviewError: The file is truncated or corrupt, has no positions, or a texture that is there does not open.
    """
    elements, texture_names = read_ply(path)
    vertex = elements.get("vertex")
    if vertex is None or not {"x", "y", "z"} <= vertex.scalars.keys():
        found = ", ".join(vertex.scalars)[:80] if vertex is not None else "no vertices"
        raise bad_input(str(path), "vertices with x, y and z", found or "none of them", "Export it as a triangle mesh.")
    notes: list[str] = []
    polygons, face = _polygons(elements)
    triangles, polygon_of, corner_of = fans(polygons)
    n_vertices = len(vertex.scalars["x"])
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= n_vertices):
        wrong = int(triangles.min() if triangles.min() < 0 else triangles.max())
        raise bad_input(
            str(path), f"corners from 0 to {n_vertices - 1}", str(wrong), "The file is corrupt; export it again."
        )
    uv = _corner_uv(vertex, face, triangles, polygon_of, corner_of, notes)
    colors = _corner_colors(vertex, face, triangles, polygon_of)
    textures, texture_of = _textures(path, texture_names, face, len(polygons.counts), uv is not None, notes)
    parts = []
    for number, look in textures.items():
        chosen = texture_of[polygon_of] == number
        if chosen.any():
            parts.append(_part(vertex, triangles[chosen], _of(uv, chosen), _of(colors, chosen), look, notes))
    return parts, notes


def _of(array: np.ndarray | None, chosen: Bool[np.ndarray, "f"]) -> np.ndarray | None:
    return None if array is None else array[chosen]


def _polygons(elements: dict[str, Element]) -> tuple[Ragged, Element]:
    """Return the corners of every polygon with the element of the faces; strips become triangles."""
    face = elements.get("face", Element({}, {}))
    found = next((face.lists[name] for name in _CORNERS if name in face.lists), None)
    if found is not None and len(found.counts):
        return found, face
    strips = elements.get("tristrips", Element({}, {}))
    rows = next((strips.lists[name] for name in _CORNERS if name in strips.lists), Ragged.empty())
    triangles = [_strip(rows.row(i)) for i in range(len(rows.counts))]
    flat = np.concatenate(triangles or [np.zeros((0, 3), np.int64)])
    return Ragged(np.full(len(flat), 3), flat.reshape(-1)), Element({}, {})


def _strip(numbers: np.ndarray) -> Int[np.ndarray, "n 3"]:
    """Return the triangles of strips that -1 parts; every second one turns the other way."""
    numbers = numbers.astype(np.int64)
    made = [np.zeros((0, 3), np.int64)]
    for part in np.split(numbers, np.flatnonzero(numbers < 0)):
        run = part[part >= 0]
        if len(run) >= 3:
            triangles = np.stack([run[:-2], run[1:-1], run[2:]], 1)
            triangles[1::2] = triangles[1::2][:, [1, 0, 2]]
            made.append(triangles)
    return np.concatenate(made)


def _corner_uv(
    vertex: Element,
    face: Element,
    triangles: np.ndarray,
    polygon_of: np.ndarray,
    corner_of: np.ndarray,
    notes: list[str],
) -> Float[np.ndarray, "f 3 2"] | None:
    """Return texture coordinates of every triangle's corners, origin at the top left, or None."""
    per_face = face.lists.get("texcoord")
    if per_face is not None and per_face.counts.sum():
        corners = face.lists[next(name for name in _CORNERS if name in face.lists)].counts
        whole = per_face.counts >= 2 * corners
        if not whole.all():
            notes.append(f"{int((~whole).sum())} of {len(whole)} faces have no texture coordinates.")
        place = per_face.starts[polygon_of][:, None] + 2 * corner_of
        place = np.where(whole[polygon_of][:, None], place, 0)
        uv = np.stack([per_face.values[place], per_face.values[place + 1]], -1).astype(np.float64)
    else:
        names = next((pair for pair in _UV_NAMES if set(pair) <= vertex.scalars.keys()), None)
        if names is None:
            return None
        uv = np.stack([vertex.scalars[name] for name in names], 1).astype(np.float64)[triangles]
    uv[..., 1] = 1 - uv[..., 1]
    return uv


def _corner_colors(
    vertex: Element, face: Element, triangles: np.ndarray, polygon_of: np.ndarray
) -> Float[np.ndarray, "f 3 4"] | None:
    """Return the colours of every triangle's corners: those of the vertices, else of the faces, or None."""
    of_vertices = _rgba(vertex)
    if of_vertices is not None:
        return of_vertices[triangles]
    of_faces = _rgba(face)
    return None if of_faces is None else np.repeat(of_faces[polygon_of][:, None], 3, 1)


def _rgba(element: Element) -> Float[np.ndarray, "n 4"] | None:
    """Return the colours of an element, 0 to 1; alpha is 1, because a surface without material has no cut-out."""
    names = next((three for three in _COLOR_NAMES if set(three) <= element.scalars.keys()), None)
    if names is None:
        return None
    columns = [element.scalars[name] for name in names]
    values = np.stack([column.astype(np.float64) for column in columns], 1)
    kind = columns[0].dtype
    if kind.kind in "iu":
        top = float(np.iinfo(kind).max) if kind.itemsize < 4 else 255.0
    else:
        top = 255.0 if np.nanmax(values, initial=0.0) > 1 else 1.0
    values = np.clip(np.nan_to_num(values) / top, 0, 1)
    return np.concatenate([values, np.ones((len(values), 1))], 1)


def _textures(
    path: Path, names: list[str], face: Element, n_polygons: int, has_uv: bool, notes: list[str]
) -> tuple[dict[int, Material], Int[np.ndarray, "p"]]:
    """Return the materials by number, and which one each polygon has."""
    looks = {0: Material(name=path.stem)}
    if names and not has_uv:
        notes.append(f"The texture {', '.join(names)} is named but there are no texture coordinates for it.")
        names = []
    for number, name in enumerate(names):
        found = find_file(name, path.parent)
        if found is None:
            notes.append(f"The texture {name} was not found; a plain colour is used.")
            looks[number] = Material(name=name)
        else:
            looks[number] = Material(read_texture(found, str(found)), (1.0, 1.0, 1.0, 1.0), name=name)
    chosen = face.scalars.get("texnumber")
    if chosen is None or len(names) < 2:
        if len(names) > 1:
            notes.append(f"{len(names)} textures are named and no face says which is its own; {names[0]} is used.")
        return looks, np.zeros(n_polygons, np.int64)
    numbers = chosen.astype(np.int64)
    outside = (numbers < 0) | (numbers >= len(names))
    if outside.any():
        notes.append(f"{int(outside.sum())} of {len(numbers)} faces have no texture; a plain colour is used.")
        looks[-1] = Material(name=path.stem)
    return looks, np.where(outside, -1, numbers)


def _part(
    vertex: Element,
    triangles: np.ndarray,
    uv: np.ndarray | None,
    colors: np.ndarray | None,
    look: Material,
    notes: list[str],
) -> Part:
    """Return triangles with one look; vertices stay as the file has them unless corners of one disagree."""
    if colors is not None and look.texture is not None:
        notes.append(f"There is a texture ({look.name}); the colours beside it are left out.")
        colors = None
    elif colors is not None:
        look = Material(color=(1.0, 1.0, 1.0, 1.0), name=look.name)
    n_vertices = len(vertex.scalars["x"])
    extra = [array.reshape(-1, array.shape[-1]) for array in (uv, colors) if array is not None]
    columns = np.concatenate([triangles.reshape(-1, 1), *extra], 1) if extra else triangles.reshape(-1, 1)
    first = np.zeros(n_vertices, np.int64)
    first[triangles.reshape(-1)] = np.arange(triangles.size)
    agree = not extra or np.array_equal(columns, columns[first[triangles.reshape(-1)]])
    if agree:  # One look per vertex: all vertices are kept, in their order.
        source, faces, at = np.arange(n_vertices), triangles, first
    else:
        _, at, faces = np.unique(columns, axis=0, return_index=True, return_inverse=True)
        source, faces = triangles.reshape(-1)[at], faces.reshape(-1, 3)
    names = ("nx", "ny", "nz")
    has_normals = set(names) <= vertex.scalars.keys()
    return Part(
        vertices=np.stack([vertex.scalars[name] for name in "xyz"], 1).astype(np.float64)[source],
        faces=faces,
        material=look,
        uv=None if uv is None else uv.reshape(-1, 2)[at],
        normals=np.stack([vertex.scalars[name] for name in names], 1).astype(np.float64)[source]
        if has_normals
        else None,
        colors=None if colors is None else colors.reshape(-1, 4)[at],
    )
