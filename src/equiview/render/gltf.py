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
from .mesh import Material, Part, Wrap, srgb_from_linear

_SUPPORTED = {
    "KHR_texture_transform",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_mesh_quantization",
    "EXT_texture_webp",
    "KHR_lights_punctual",
}
_WRAP: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


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
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise bad_input(
            str(path),
            "a glTF 2.0 model that keeps to the specification",
            f"one that does not ({type(error).__name__}: {error})",
            "The file is corrupt; export it again.",
        ) from error


def _read(path: Path) -> tuple[list[Part], list[str]]:
    gltf = open_gltf(path)
    # Material extensions only change the look beyond base colour; geometry compression cannot be skipped.
    missing = [
        name
        for name in gltf.json.get("extensionsRequired", ())
        if name not in _SUPPORTED and not name.startswith("KHR_materials_")
    ]
    if missing:
        raise bad_input(
            str(path), "a model without compression", f"required extension {missing[0]}", "Export it uncompressed."
        )
    notes: list[str] = []
    materials: dict[int | None, Material] = {}
    uv_of: dict[int | None, tuple[int, np.ndarray]] = {}
    for index in [None, *range(len(gltf.json.get("materials", ())))]:
        materials[index], uv_of[index] = _material(gltf, index, notes)
    parts = []
    world_from = _world_from_nodes(gltf.json)
    for node_index, world_from_node in world_from.items():
        node = gltf.json["nodes"][node_index]
        if "mesh" not in node:
            continue
        mesh = gltf.json["meshes"][node["mesh"]]
        weights = node.get("weights", mesh.get("weights", ()))
        for primitive in mesh["primitives"]:
            index = primitive.get("material")
            part = _part(gltf, primitive, materials[index], uv_of[index], weights, notes)
            if part is not None:
                blend = _skin_matrices(gltf, node, primitive, world_from) if "skin" in node else world_from_node
                parts.append(_moved(part, blend))
    return parts, notes


def _world_from_nodes(json: dict[str, Any]) -> dict[int, np.ndarray]:
    nodes = json.get("nodes", [])
    if "scenes" in json and json["scenes"]:
        roots = json["scenes"][json.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", ())}
        roots = [i for i in range(len(nodes)) if i not in children]
    world_from: dict[int, np.ndarray] = {}
    queue = [(root, np.eye(4)) for root in roots]
    while queue:
        index, world_from_parent = queue.pop(0)
        if index in world_from:
            raise ValueError(f"node {index} is reached twice; nodes must form trees")
        world_from[index] = world_from_parent @ _local_matrix(nodes[index])
        queue += [(child, world_from[index]) for child in nodes[index].get("children", ())]
    return world_from


def _local_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _skin_matrices(
    gltf: GltfFile, node: dict[str, Any], primitive: dict[str, Any], world_from: dict[int, np.ndarray]
) -> np.ndarray:
    """Blended world_from_vertex per vertex [v 4 4] at the joints' default transforms; the node's own one is ignored."""
    skin = gltf.json["skins"][node["skin"]]
    world_from_joint = np.stack([world_from[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        inverse_bind = gltf.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        world_from_joint = world_from_joint @ inverse_bind[: len(world_from_joint)]
    attributes = primitive["attributes"]
    blended: Any = 0.0
    total: Any = 0.0
    for number in range(sum(name.startswith("JOINTS_") for name in attributes)):
        joints = gltf.accessor(attributes[f"JOINTS_{number}"]).astype(np.int64)
        weights = gltf.accessor(attributes[f"WEIGHTS_{number}"])
        blended = blended + np.einsum("vj,vjab->vab", weights, world_from_joint[joints])
        total = total + weights.sum(1)
    if np.ndim(total) == 0 or (total <= 0).any():
        raise ValueError("a skinned vertex without joint weights")
    return blended / total[:, None, None]


def _part(
    gltf: GltfFile,
    primitive: dict[str, Any],
    material: Material,
    uv_from: tuple[int, np.ndarray],
    weights: Any,
    notes: list[str],
) -> Part | None:
    mode = primitive.get("mode", 4)
    if mode < 4:
        notes.append("Points and lines were left out; only triangles are drawn.")
        return None
    attributes = primitive["attributes"]
    vertices = gltf.accessor(attributes["POSITION"])
    for weight, target in zip(weights, primitive.get("targets", ()), strict=False):
        if weight and "POSITION" in target:
            vertices = vertices + weight * gltf.accessor(target["POSITION"])
    order = gltf.accessor(primitive["indices"])[:, 0] if "indices" in primitive else np.arange(len(vertices))
    uv_set, matrix = uv_from
    uv = gltf.accessor(attributes[f"TEXCOORD_{uv_set}"]) if f"TEXCOORD_{uv_set}" in attributes else None
    return Part(
        vertices=vertices,
        faces=_triangles(order.astype(np.int64), mode),
        material=material,
        uv=None if uv is None else uv @ matrix[:, :2].T + matrix[:, 2],
        normals=gltf.accessor(attributes["NORMAL"]) if "NORMAL" in attributes else None,
        colors=_colors(gltf.accessor(attributes["COLOR_0"])) if "COLOR_0" in attributes else None,
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


def _material(gltf: GltfFile, index: int | None, notes: list[str]) -> tuple[Material, tuple[int, np.ndarray]]:
    """Return the material, and the UV set with the 2x3 matrix that its texture wants."""
    identity = np.eye(2, 3)
    if index is None:
        return Material(color=(1.0, 1.0, 1.0, 1.0), double_sided=False, name="default"), (0, identity)
    entry = gltf.json["materials"][index]
    name = entry.get("name", f"material {index}")
    gloss = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if gloss is not None:
        factor, info = gloss.get("diffuseFactor", (1, 1, 1, 1)), gloss.get("diffuseTexture")
    else:
        pbr = entry.get("pbrMetallicRoughness", {})
        factor, info = pbr.get("baseColorFactor", (1, 1, 1, 1)), pbr.get("baseColorTexture")
    mode = entry.get("alphaMode", "OPAQUE")
    if mode == "BLEND":
        notes.append(f"Material {name!r} is see-through; it is drawn where its alpha is at least 0.5.")
    texture: np.ndarray | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    uv_from = (0, identity)
    if info is not None:
        texture, wrap = _texture(gltf, info["index"], name, notes)
        transform = info.get("extensions", {}).get("KHR_texture_transform", {})
        uv_from = (transform.get("texCoord", info.get("texCoord", 0)), _uv_matrix(transform))
    red, green, blue = (round(float(c), 9) for c in srgb_from_linear(np.array(factor[:3], np.float64)))
    return Material(
        texture=texture,
        color=(red, green, blue, float(factor[3])),
        alpha_cutoff={"OPAQUE": None, "BLEND": 0.5}.get(mode, float(entry.get("alphaCutoff", 0.5))),
        double_sided=bool(entry.get("doubleSided", False)),
        wrap=wrap,
        name=name,
    ), uv_from


def _uv_matrix(transform: dict[str, Any]) -> np.ndarray:
    """KHR_texture_transform as a 2x3 matrix: scale, then turn counter-clockwise as seen (v grows down), then shift.

    The extension's text and the viewers agree on this sense; the GLSL printed beside the text turns the other way.
    """
    angle = float(transform.get("rotation", 0.0))
    cos, sin = np.cos(angle), np.sin(angle)
    scale = np.array(transform.get("scale", (1, 1)), np.float64)
    linear = np.array([[cos, sin], [-sin, cos]]) * scale
    return np.concatenate([linear, np.array(transform.get("offset", (0, 0)), np.float64)[:, None]], 1)


def _texture(gltf: GltfFile, index: int, name: str, notes: list[str]) -> tuple[np.ndarray | None, tuple[Wrap, Wrap]]:
    entry = gltf.json["textures"][index]
    sampler = gltf.json["samplers"][entry["sampler"]] if "sampler" in entry else {}
    wrap = (_WRAP[sampler.get("wrapS", 10497)], _WRAP[sampler.get("wrapT", 10497)])
    source = entry.get("extensions", {}).get("EXT_texture_webp", {}).get("source", entry.get("source"))
    if source is None:
        notes.append(f"The texture of material {name!r} is in a compressed GPU format; its plain colour is used.")
        return None, wrap
    return gltf.image(source), wrap
