"""Which glTF extensions are read, and what is said of the others; Draco's compressed primitives.

Source: the registry of the Khronos group, https://github.com/KhronosGroup/glTF/tree/main/extensions.
"""

from typing import Any

import numpy as np

from ..errors import bad_input
from .gltf_buffers import GltfFile

DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
UNLIT = "KHR_materials_unlit"

# Read here, or without influence on a picture of one object under our light.
_NO_NOTE = {
    *("KHR_texture_transform", "KHR_materials_pbrSpecularGlossiness", "KHR_mesh_quantization", "KHR_node_visibility"),
    *("EXT_mesh_gpu_instancing", "EXT_texture_webp", "MSFT_texture_dds", "KHR_materials_emissive_strength"),
    *("KHR_lights_punctual", "EXT_lights_image_based", "EXT_lights_ies", "KHR_xmp", "KHR_xmp_json_ld", "MSFT_lod"),
    *("KHR_animation_pointer", "KHR_node_selectability", "KHR_node_hoverability", "KHR_accessor_float64"),
    *(
        "EXT_mesh_manifold",
        "EXT_mesh_features",
        "EXT_structural_metadata",
        "EXT_instance_features",
        "KHR_interactivity",
    ),
    *("KHR_audio_emitter", "MSFT_audio_emitter", "KHR_rigid_bodies", "KHR_implicit_shapes", "KHR_physics_rigid_bodies"),
    *(
        "MSFT_packing_occlusionRoughnessMetallic",
        "MSFT_packing_normalRoughnessMetallic",
        "CESIUM_RTC",
        "VRM",
        "VRMC_vrm",
    ),
    # Said where they are met, with the material or the primitive.
    *("KHR_texture_basisu", "EXT_texture_avif", DRACO, *MESHOPT),
}
_GLOSS = "the shine it describes is left out"
_CLEAR = "what it makes see-through is drawn opaque"
_NOTES = {
    UNLIT: "its surfaces are drawn with light, as all others",
    "KHR_materials_variants": "the look without a variant is drawn",
    **dict.fromkeys(
        ("KHR_materials_transmission", "KHR_materials_volume", "KHR_materials_diffuse_transmission"), _CLEAR
    ),
    **dict.fromkeys(
        (
            *("KHR_materials_clearcoat", "KHR_materials_sheen", "KHR_materials_specular", "KHR_materials_iridescence"),
            *(
                "KHR_materials_anisotropy",
                "KHR_materials_ior",
                "KHR_materials_dispersion",
                "ADOBE_materials_thin_transparency",
            ),
        ),
        _GLOSS,
    ),
}
_READ_IF_REQUIRED = _NO_NOTE - set(MESHOPT) - {"KHR_accessor_float64", "CESIUM_RTC"}


def check_extensions(gltf: GltfFile, notes: list[str]) -> None:
    """Add a note for every extension that changes what is seen and is not drawn.

    Raises:
        EquiviewError: The file cannot be read without an extension that is not supported.
    """
    for name in gltf.json.get("extensionsRequired", ()):
        if name in MESHOPT:
            raise compressed(gltf, name)
        if name not in _READ_IF_REQUIRED and name not in _NOTES and not name.startswith("KHR_materials_"):
            expected = "a model that can be read without extensions that are not supported"
            raise bad_input(str(gltf.path), expected, f"one that needs {name}", "Export it without that extension.")
    for name in sorted(_present(gltf.json)):
        if name not in _NO_NOTE:
            notes.append(f"Extension {name}: {_NOTES.get(name, 'it is not known, and what it changes is left out')}.")


def compressed(gltf: GltfFile, name: str, found: str = "") -> Exception:
    """Return the error of a model whose geometry cannot be unpacked."""
    fix = "Export it uncompressed."
    if name == DRACO and not found:
        fix = "Install the extra `mesh` (pip install 'equiview[mesh]'), or export it uncompressed."
    return bad_input(str(gltf.path), "a model that can be unpacked", f"one compressed with {name}{found}", fix)


def _present(content: dict[str, Any]) -> set[str]:
    """Return the extensions that anything in the file uses, declared or not; a mere declaration changes nothing."""
    found: set[str] = set()
    queue: list[Any] = [content]
    while queue:
        value = queue.pop()
        if isinstance(value, dict):
            extensions = value.get("extensions")
            found |= set(extensions) if isinstance(extensions, dict) else set()
            queue += [inner for key, inner in value.items() if key != "extras"]
        elif isinstance(value, list) and value and isinstance(value[0], dict | list):
            queue += value
    return found


def draco_arrays(gltf: GltfFile, primitive: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the arrays of a primitive that Draco compressed: by attribute, and `indices`.

    Returns:
        None where there is no such compression, or where the file holds the plain arrays too and DracoPy is missing.

    Raises:
        EquiviewError: DracoPy is needed and missing, or the data does not decode.
    """
    entry = primitive.get("extensions", {}).get(DRACO)
    if entry is None:
        return None
    try:
        import DracoPy
    except ImportError as error:
        if gltf.is_stored(primitive["attributes"]["POSITION"]):
            return None
        raise compressed(gltf, DRACO) from error
    try:
        mesh = DracoPy.decode(gltf.view_bytes(entry["bufferView"]))
        arrays = {
            name: np.asarray(mesh.get_attribute_by_unique_id(number)["data"])
            for name, number in entry["attributes"].items()
        }
    except (DracoPy.FileTypeException, ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        raise compressed(gltf, DRACO, f" whose data does not decode ({str(error)[:80]})") from error
    if not hasattr(mesh, "faces"):
        raise compressed(gltf, DRACO, " that holds points only")
    made = {
        name: gltf.converted(primitive["attributes"][name], values.reshape(len(values), -1))
        for name, values in arrays.items()
        if name in primitive["attributes"]
    }
    return {**made, "indices": np.asarray(mesh.faces, np.int64).reshape(-1, 1)}
