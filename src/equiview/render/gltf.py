"""glTF 2.0 and GLB.

Read here because general mesh libraries drop what changes the picture or the shape: texture transforms, the choice of
UV set, sampler wrap modes, skins, morph targets, alpha cut-off of textured materials and mirrored nodes.
Source: the glTF 2.0 specification and its ratified extensions.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EquiviewError, bad_input
from .gltf_buffers import GltfFile, open_gltf
from .gltf_extensions import check_extensions, draco_arrays
from .gltf_materials import GltfLook, gltf_look
from .gltf_nodes import instances, skin_matrices, world_from_nodes
from .mesh import Part, srgb_from_linear

MAX_TRIANGLES = 20_000_000
"""Of all instances of a mesh."""


def read_parts(path: Path) -> tuple[list[Part], list[str]]:
    """Read every triangle of the default scene, in world coordinates (+y up, as glTF has it), rest pose.

    Returns:
        One part per primitive of each node, and notes on what was left out.

    Raises:
        EquiviewError: Truncated, corrupt, or in need of an extension that is not supported.
    """
    try:
        return _read(path)
    except EquiviewError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise bad_input(
            str(path),
            "a glTF 2.0 model that keeps to the specification",
            f"one that does not ({type(error).__name__}: {error})",
            "The file is corrupt; export it again.",
        ) from error


def _read(path: Path) -> tuple[list[Part], list[str]]:
    gltf = open_gltf(path)
    notes: list[str] = []
    check_extensions(gltf, notes)
    looks = {index: gltf_look(gltf, index, notes) for index in [None, *range(len(gltf.json.get("materials", ())))]}
    world_from, hidden = world_from_nodes(gltf.json)
    parts: list[Part] = []
    for node_index in world_from:
        node = gltf.json["nodes"][node_index]
        if "mesh" in node and node_index not in hidden:
            parts += _node_parts(gltf, node_index, world_from, looks, notes)
    return parts, notes


def _node_parts(
    gltf: GltfFile,
    node_index: int,
    world_from: dict[int, np.ndarray],
    looks: dict[int | None, GltfLook],
    notes: list[str],
) -> list[Part]:
    """Return the mesh of a node in world coordinates, as often as it is drawn."""
    node = gltf.json["nodes"][node_index]
    mesh = gltf.json["meshes"][node["mesh"]]
    weights = node.get("weights", mesh.get("weights", ()))
    copies = instances(gltf, node)
    parts = []
    for primitive in mesh["primitives"]:
        part = _part(gltf, primitive, looks[primitive.get("material")], weights, notes)
        if part is None:
            continue
        if "skin" in node:
            parts.append(_moved(part, skin_matrices(gltf, node, primitive, world_from)))
        elif copies is None:
            parts.append(_moved(part, world_from[node_index]))
        elif len(copies) * len(part.faces) > MAX_TRIANGLES:
            found = f"{len(copies)} instances of {len(part.faces)}"
            raise bad_input(str(gltf.path), f"at most {MAX_TRIANGLES} triangles", found, "Export one object.")
        else:
            parts += [_moved(part, world_from[node_index] @ copy) for copy in copies]
    return parts


def _part(
    gltf: GltfFile,
    primitive: dict[str, Any],
    look: GltfLook,
    weights: Any,
    notes: list[str],
) -> Part | None:
    mode = primitive.get("mode", 4)
    if mode < 4:
        notes.append("Points and lines were left out; only triangles are drawn.")
        return None
    unpacked = draco_arrays(gltf, primitive)

    def read(name: str) -> np.ndarray | None:
        if unpacked is not None and name in unpacked:
            return unpacked[name]
        return gltf.accessor(primitive["attributes"][name]) if name in primitive["attributes"] else None

    vertices = read("POSITION")
    if vertices is None:
        raise KeyError("POSITION")
    for weight, target in zip(weights, primitive.get("targets", ()), strict=False):
        if weight and "POSITION" in target:
            vertices = vertices + weight * gltf.accessor(target["POSITION"])
    if unpacked is not None:
        order = unpacked["indices"][:, 0]
        mode = 4 if mode == 5 else mode  # Draco stores strips as triangles.
    else:
        order = gltf.accessor(primitive["indices"])[:, 0] if "indices" in primitive else np.arange(len(vertices))
    uv = read(f"TEXCOORD_{look.uv_set}")
    colors = read("COLOR_0")
    return Part(
        vertices=vertices,
        faces=_triangles(order.astype(np.int64), mode),
        material=look.material,
        uv=None if uv is None else uv @ look.uv_matrix[:, :2].T + look.uv_matrix[:, 2],
        normals=read("NORMAL"),
        colors=None if colors is None else _colors(colors),
    )


def _triangles(order: np.ndarray, mode: int) -> np.ndarray:
    if mode == 4:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    n = len(order) - 2
    if mode == 6:
        return np.stack([np.repeat(order[:1], n), order[1:-1], order[2:]], 1)
    strip = np.stack([order[:-2], order[1:-1], order[2:]], 1)
    strip[1::2] = strip[1::2][:, [1, 0, 2]]  # every second triangle of a strip turns the other way
    return strip


def _colors(linear: np.ndarray) -> np.ndarray:
    alpha = linear[:, 3:] if linear.shape[1] == 4 else np.ones((len(linear), 1))
    return np.concatenate([srgb_from_linear(linear[:, :3]), alpha], 1)


def _moved(part: Part, world_from_vertex: np.ndarray) -> Part:
    """Apply one 4x4, or one 4x4 per vertex. A mirroring turns the winding over, as glTF says."""
    linear, shift = world_from_vertex[..., :3, :3], world_from_vertex[..., :3, 3]
    vertices = np.einsum("...ab,...b->...a", linear, part.vertices) + shift
    # The cofactor matrix moves normals also under a singular scale; its sign follows the determinant.
    cofactor = np.stack([np.cross(linear[..., (i + 1) % 3, :], linear[..., (i + 2) % 3, :]) for i in range(3)], -2)
    determinant = np.median(np.linalg.det(linear))
    normals = part.normals
    if normals is not None:
        normals = np.einsum("...ab,...b->...a", cofactor, normals) * (-1 if determinant < 0 else 1)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    faces = part.faces[:, ::-1] if determinant < 0 else part.faces
    return Part(vertices, faces, part.material, part.uv, normals, part.colors)
