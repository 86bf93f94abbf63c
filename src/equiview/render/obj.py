"""Wavefront OBJ.

Read here because general mesh libraries drop colours beside texture coordinates, all material files but the first,
and textures that do not open, without a word.
Source: Wavefront's description of the format, "Object Files (.obj)", 1995; colours after a vertex as MeshLab has them.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..errors import EquiviewError, bad_input
from .mesh import Material, Part
from .mtl import ObjMaterial, read_materials, statements
from .polygons import Ragged, fans
from .references import find_file

# Which numbers a corner has, by its slashes: `1`, `1/2`, `1//3`, `1/2/3`.
_COLUMNS = {(0, False): [0], (1, False): [0, 1], (2, True): [0, 2], (2, False): [0, 1, 2]}
_BROKEN = "The file is truncated or corrupt; export it again."


@dataclass
class _Obj:
    """What the lines of a file hold, the words of all faces one behind the other."""

    positions: list[list[str]] = field(default_factory=list)
    uv: list[list[str]] = field(default_factory=list)
    normals: list[list[str]] = field(default_factory=list)
    corners: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)  # Corners of each face.
    material_of: list[str] = field(default_factory=list)  # Of each face.
    libraries: list[str] = field(default_factory=list)
    has_lines: bool = False


def read_parts(path: Path) -> tuple[list[Part], list[str]]:
    """Read an OBJ: one part per material, and notes on what is lost of its looks.

    Texture v grows upwards and is turned over here. The format does not say whether a surface has two sides, so all
    are double-sided: a wrong winding then leaves no hole.

    Raises:
        EquiviewError: The file does not parse, or a texture that is there does not open.
    """
    try:
        obj = _parse(path)
        positions = _numbers(obj.positions, 3)
        uv, normals = _numbers(obj.uv, 2), _numbers(obj.normals, 3)
        triangles, face_of, _ = fans(Ragged(np.array(obj.counts, np.int64), np.arange(len(obj.corners))))
        corners = _corner_numbers(obj.corners)[triangles] if obj.corners else np.zeros((0, 3, 3), np.int64)
    except EquiviewError:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise bad_input(
            str(path), "a complete OBJ mesh", f"one that does not parse ({error})"[:160], _BROKEN
        ) from error
    notes = ["Points and lines were left out; only triangles are drawn."] if obj.has_lines else []
    colors = _colors(obj.positions, notes)
    if not obj.corners:
        return [], notes
    materials = _materials(path, obj, notes)
    _check_corners(path, corners, (len(positions), len(uv), len(normals)))
    names = list(dict.fromkeys(obj.material_of))
    number = {name: i for i, name in enumerate(names)}
    group = np.array([number[name] for name in obj.material_of])[face_of]
    parts = []
    for i, name in enumerate(names):
        material = materials.get(name) or ObjMaterial(Material(name=name or path.stem))
        parts.append(_part(corners[group == i], (positions, uv, normals, colors), material, notes))
    return parts, notes


def _parse(path: Path) -> _Obj:
    obj, material = _Obj(), ""
    for key, rest in statements(path.read_bytes()):
        if key == "v":
            obj.positions.append(rest.split())
        elif key == "vt":
            obj.uv.append(rest.split())
        elif key == "vn":
            obj.normals.append(rest.split())
        elif key in ("f", "fo"):
            words = rest.partition("#")[0].split()
            if len(words) < 3:
                raise bad_input(str(path), "faces of at least 3 corners", f"f {rest}"[:80], _BROKEN)
            obj.corners += [_counted_from_1(word, obj) for word in words] if "-" in rest else words
            obj.counts.append(len(words))
            obj.material_of.append(material)
        elif key == "usemtl":
            material = rest
        elif key == "mtllib":
            obj.libraries.append(rest)
        elif key in ("l", "p"):
            obj.has_lines = True
    return obj


def _counted_from_1(word: str, obj: _Obj) -> str:
    """Return the corner `-4/-2` with numbers that count from the first line; negative ones count back from here."""
    known = (len(obj.positions), len(obj.uv), len(obj.normals))
    made = []
    for part, count in zip(word.split("/"), known, strict=False):
        if part.startswith("-") and int(part) < -count:
            raise ValueError(f"corner {word}: numbers count from 1, or back from -1")
        made.append(str(count + 1 + int(part)) if part.startswith("-") else part)
    return "/".join(made)


def _corner_numbers(words: list[str]) -> Int[np.ndarray, "n 3"]:
    """Return the numbers of position, texture coordinate and normal of corners as `7/2/1`, from 0; -1 is none."""
    made = np.zeros((len(words), 3), np.int64)
    shapes = {(word.count("/"), "//" in word) for word in words}
    columns = _COLUMNS.get(shapes.pop()) if len(shapes) == 1 else None
    numbers = [int(number) for number in " ".join(words).replace("/", " ").split()] if columns else []
    if columns and len(numbers) == len(columns) * len(words):  # All alike: at once.
        made[:, columns] = np.array(numbers, np.int64).reshape(len(words), -1)
        lowest = min(numbers)
    else:
        rows = [[int(part or 0) for part in (*word.split("/"), "", "")[:3]] for word in words]
        made[:] = rows
        lowest = min(int(part) for word in words for part in word.split("/") if part)
    if lowest < 1:
        raise ValueError("a corner with number 0: numbers count from 1, or back from -1")
    return made - 1


def _numbers(rows: list[list[str]], columns: int) -> Float[np.ndarray, "n c"]:
    if not rows:
        return np.zeros((0, columns))
    if columns == 2 and any(len(row) < 2 for row in rows):  # A texture may have one coordinate; v is 0 then.
        rows = [[*row, "0"] for row in rows]
    return np.array([row[:columns] for row in rows]).astype(np.float64)


def _colors(rows: list[list[str]], notes: list[str]) -> Float[np.ndarray, "n 4"] | None:
    """Return the colours that stand behind the coordinates of `v x y z r g b`, or None."""
    has = np.array([len(row) >= 6 for row in rows], bool)
    if not has.any():
        return None
    try:
        values = np.array([row[3:6] for row in rows if len(row) >= 6]).astype(np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
        notes.append("The colours of the vertices are not numbers from 0 to 1 or 0 to 255; they are left out.")
        return None
    if not has.all():
        notes.append(f"{int((~has).sum())} of {len(has)} vertices have no colour; they are white.")
    colors = np.ones((len(rows), 4))
    colors[has, :3] = values / (255 if values.max() > 1 else 1)
    return colors


def _materials(path: Path, obj: _Obj, notes: list[str]) -> dict[str, ObjMaterial]:
    materials: dict[str, ObjMaterial] = {}
    used = set(obj.material_of)
    libraries = dict(one for words in obj.libraries for one in _libraries(words, path.parent))
    for name, library in libraries.items():
        if library is None:
            notes.append(f"The material file {name} was not found; what it describes is drawn in grey.")
        else:
            materials = read_materials(library, path.parent, used, notes) | materials
    missing = ", ".join(repr(name) for name in sorted(used - materials.keys() - {""}))[:80]
    if missing and None not in libraries.values():
        where = ", ".join(libraries) or "any material file: none is named"
        notes.append(f"Material {missing} is not in {where}; it is drawn in grey.")
    return materials


def _libraries(words: str, folder: Path) -> list[tuple[str, Path | None]]:
    """Return the files of one `mtllib`: one name with spaces, or several names."""
    whole = find_file(words, folder)
    if whole is not None:
        return [(words, whole)]
    found: list[tuple[str, Path | None]] = []
    names = words.replace('"', " ").split()
    while names:
        # The longest run of words that is a file; a missing one ends with its suffix.
        runs = range(len(names), 0, -1)
        ends = [n for n in runs if names[n - 1].lower().endswith(".mtl")] or [len(names)]
        length = next((n for n in runs if find_file(" ".join(names[:n]), folder)), ends[-1])
        name = " ".join(names[:length])
        found.append((name, find_file(name, folder)))
        names = names[length:]
    return found


def _check_corners(path: Path, corners: Int[np.ndarray, "f 3 3"], counts: tuple[int, int, int]) -> None:
    for place, (kind, count) in enumerate(zip(("vertex", "texture coordinate", "normal"), counts, strict=True)):
        highest = int(corners[..., place].max())
        if highest >= count:
            raise bad_input(str(path), f"faces of {count} of kind {kind}", f"number {highest + 1}", _BROKEN)
    if (corners[..., 0] < 0).any():
        raise bad_input(str(path), "faces whose corners have a vertex", "one without", _BROKEN)


def _part(
    corners: Int[np.ndarray, "f 3 3"],
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None],
    material: ObjMaterial,
    notes: list[str],
) -> Part:
    """Return triangles whose vertices have one position, texture coordinate and normal each."""
    positions, uv, normals, colors = arrays
    flat = corners.reshape(-1, 3)
    # Two numbers at a time become one, which sorts as the three do and much faster; a product of three could overflow.
    _, pair = np.unique(flat[:, 0] * (len(uv) + 1) + flat[:, 1] + 1, return_inverse=True)
    _, first, faces = np.unique(pair * (len(normals) + 1) + flat[:, 2] + 1, return_index=True, return_inverse=True)
    unique = flat[first]
    look, has_uv, has_normals = material.material, (unique[:, 1] >= 0).any(), (unique[:, 2] >= 0).any()
    painted = colors is not None and (look.texture is None or not has_uv)
    if painted and look.texture is not None:
        notes.append(
            f"Material {look.name!r} has a texture but the mesh has no UVs for it; its vertices' colours are used."
        )
    if colors is not None and not painted:
        notes.append(f"Material {look.name!r} has a texture; the colours of its vertices are left out.")
    chosen_uv = _rows(uv, unique[:, 1])
    chosen_uv = material.moved(chosen_uv)
    return Part(
        vertices=positions[unique[:, 0]],
        faces=faces.reshape(-1, 3),
        material=Material(color=(1.0, 1.0, 1.0, 1.0), name=look.name) if painted else look,
        uv=np.stack([chosen_uv[:, 0], 1 - chosen_uv[:, 1]], 1) if has_uv else None,
        normals=_rows(normals, unique[:, 2]) if has_normals else None,
        colors=colors[unique[:, 0]] if colors is not None and painted else None,
    )


def _rows(values: np.ndarray, numbers: Int[np.ndarray, "n"]) -> np.ndarray:
    """Return rows by their number, zeros for -1."""
    padded = np.concatenate([values, np.zeros((1, values.shape[1]))])
    return padded[numbers]
