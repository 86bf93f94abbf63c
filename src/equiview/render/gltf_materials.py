"""The materials of a glTF file: what is drawn of them, and which texture coordinates their texture wants."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .gltf_buffers import GltfFile
from .mesh import Material, Wrap, srgb_from_linear

_WRAP: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_DARK = 0.01  # A base colour below this shows nothing of its texture.
_READ_SOURCES = ("EXT_texture_webp", "MSFT_texture_dds")
_OTHER_SOURCES = ("KHR_texture_basisu", "EXT_texture_avif")


@dataclass(frozen=True)
class GltfLook:
    """A material as it is drawn.

    Attributes:
        material: Base colour, or emission where the base is black.
        uv_set: Number of the texture coordinates that its texture wants.
        uv_matrix: 2x3, applied to them.
    """

    material: Material
    uv_set: int = 0
    uv_matrix: np.ndarray = field(default_factory=lambda: np.eye(2, 3))


def gltf_look(gltf: GltfFile, index: int | None, notes: list[str]) -> GltfLook:
    """Return material `index`, or the default one of a primitive without; what is lost is added to the notes.

    Raises:
        EquiviewError: Its picture is missing or does not open.
    """
    if index is None:
        return GltfLook(Material(color=(1.0, 1.0, 1.0, 1.0), double_sided=False, name="default"))
    entry = gltf.json["materials"][index]
    name = entry.get("name", f"material {index}")
    factor, info = _base_color(entry, name, notes)
    light, light_info = _emission(entry)
    if max(light) > 0:
        if max(factor[:3]) <= _DARK:
            factor, info = (*light, factor[3]), light_info
            notes.append(f"Material {name!r} is black and emits light; what it emits is drawn as its colour.")
        elif light_info is not None or max(light) > _DARK:
            notes.append(f"Material {name!r}: its emission is left out.")
    mode = entry.get("alphaMode", "OPAQUE")
    if mode == "BLEND":
        notes.append(f"Material {name!r} is see-through; it is drawn where its alpha is at least 0.5.")
    texture: np.ndarray | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    transform: dict[str, Any] = {}
    if info is not None:
        texture, wrap = _texture(gltf, info["index"], name, notes)
        transform = info.get("extensions", {}).get("KHR_texture_transform", {})
    red, green, blue = (round(float(c), 9) for c in srgb_from_linear(np.array(factor[:3], np.float64)))
    cutoff = float(entry.get("alphaCutoff", 0.5))
    material = Material(
        texture=texture,
        color=(red, green, blue, factor[3]),
        alpha_cutoff={"MASK": cutoff if np.isfinite(cutoff) else 0.5, "BLEND": 0.5}.get(str(mode)),  # Else opaque.
        double_sided=bool(entry.get("doubleSided", False)),
        wrap=wrap,
        name=name,
    )
    return GltfLook(material, transform.get("texCoord", (info or {}).get("texCoord", 0)), _uv_matrix(transform))


def _base_color(entry: dict[str, Any], name: str, notes: list[str]) -> tuple[tuple[float, ...], dict[str, Any] | None]:
    """Return the linear base colour factor and the texture's entry; white, with a note, for what is no colour."""
    gloss = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if gloss is not None:
        factor, info = gloss.get("diffuseFactor", (1, 1, 1, 1)), gloss.get("diffuseTexture")
    else:
        pbr = entry.get("pbrMetallicRoughness", {})
        factor, info = pbr.get("baseColorFactor", (1, 1, 1, 1)), pbr.get("baseColorTexture")
    values = np.array(factor, np.float64)
    if values.shape != (4,) or not np.isfinite(values).all():
        notes.append(f"Material {name!r}: its base colour {str(factor)[:40]} is none; white is used.")
        values = np.ones(4)
    return tuple(values.tolist()), info


def _emission(entry: dict[str, Any]) -> tuple[tuple[float, float, float], dict[str, Any] | None]:
    """Return the linear emission factor, 0 to 1, and the texture's entry."""
    strength = entry.get("extensions", {}).get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
    values = np.nan_to_num(np.array(entry.get("emissiveFactor", (0, 0, 0)), np.float64) * float(strength))
    red, green, blue = np.clip(values, 0, 1).tolist()
    return (red, green, blue), entry.get("emissiveTexture")


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
    extensions = entry.get("extensions", {})
    sources = [extensions.get(name, {}).get("source") for name in _READ_SOURCES] + [entry.get("source")]
    source = next((one for one in sources if one is not None), None)
    if source is None:
        other = next((one for one in _OTHER_SOURCES if one in extensions), "an unknown format")
        notes.append(
            f"The texture of material {name!r} is in a format that is not read ({other}); its plain colour is used."
        )
        return None, wrap
    return gltf.image(source), wrap
