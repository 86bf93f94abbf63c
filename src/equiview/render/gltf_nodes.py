"""Where the nodes of a glTF scene stand: transforms, instances, skins, and which nodes are seen."""

from typing import Any

import numpy as np

from ..errors import bad_input
from ..limits import MAX_VALUE
from .gltf_buffers import GltfFile

INSTANCING = "EXT_mesh_gpu_instancing"
VISIBILITY = "KHR_node_visibility"
MAX_INSTANCES = 100_000
"""More are refused; a mesh that is drawn so often is no object."""


def world_from_nodes(json: dict[str, Any]) -> tuple[dict[int, np.ndarray], set[int]]:
    """Return the 4x4 world_from_node of every node of the default scene, and which nodes are hidden."""
    nodes = json.get("nodes", [])
    if "scenes" in json and json["scenes"]:
        roots = json["scenes"][json.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", ())}
        roots = [i for i in range(len(nodes)) if i not in children]
    world_from: dict[int, np.ndarray] = {}
    hidden: set[int] = set()
    queue = [(root, np.eye(4), False) for root in roots]
    while queue:
        index, world_from_parent, is_hidden = queue.pop(0)
        if index in world_from:
            raise ValueError(f"node {index} is reached twice; nodes must form trees")
        world_from[index] = world_from_parent @ _local_matrix(nodes[index])
        is_hidden = is_hidden or not _extension(nodes[index], VISIBILITY).get("visible", True)
        if is_hidden:
            hidden.add(index)
        queue += [(child, world_from[index], is_hidden) for child in nodes[index].get("children", ())]
    return world_from, hidden


def _extension(node: dict[str, Any], name: str) -> dict[str, Any]:
    return node.get("extensions", {}).get(name, {})


def instances(gltf: GltfFile, node: dict[str, Any]) -> np.ndarray | None:
    """Return node_from_instance [n 4 4] of a node whose mesh is drawn n times; None of any other.

    Raises:
        EquiviewError: More than `MAX_INSTANCES`.
    """
    attributes = _extension(node, INSTANCING).get("attributes")
    if not attributes:
        return None
    arrays = {
        name: gltf.accessor(attributes[name]) for name in ("TRANSLATION", "ROTATION", "SCALE") if name in attributes
    }
    count = len(gltf.accessor(next(iter(attributes.values()))))
    if count > MAX_INSTANCES:
        raise bad_input(
            str(gltf.path), f"at most {MAX_INSTANCES} instances of a mesh", str(count), "Export one object."
        )
    fields = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
    made = [_local_matrix({fields[name]: rows[i] for name, rows in arrays.items()}) for i in range(count)]
    return np.stack(made) if made else np.zeros((0, 4, 4))


def _local_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return _finite(node["matrix"]).reshape(4, 4).T
    x, y, z, w = _finite(node.get("rotation", (0, 0, 0, 1)))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * _finite(node.get("scale", (1, 1, 1)))
    matrix[:3, 3] = _finite(node.get("translation", (0, 0, 0)))
    return matrix


def _finite(values: Any) -> np.ndarray:
    found = np.array(values, np.float64)
    if not (np.abs(found) <= MAX_VALUE).all():
        raise ValueError("a node's transform with NaN, infinity or values far too large")
    return found


def skin_matrices(
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
