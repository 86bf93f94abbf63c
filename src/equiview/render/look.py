"""What an object looks like, in a few numbers that tell whether two meshes are one object.

A mesh that was copied, exported again, turned or scaled keeps its surface. What is compared does not depend on how the
surface is cut into triangles, on axes, units or the order of anything: moments of the surface about its centre, which
are exact integrals over the triangles, and mean and spread of its colours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float

from .mesh import Mesh, linear_from_srgb, srgb_from_linear
from .texture import bilinear

# Formats that store 11 bits of a coordinate, or JPEG textures, stay within these; other objects do not come near.
_SAME_SHAPE, _SAME_COLOUR = 2e-3, 0.02
# Points and weights that integrate polynomials of degree 4 over a triangle (Dunavant 1985, 6 points).
_A, _B = 0.445948490915965, 0.091576213509771
_CORNERS = np.array([p for s in (_A, _B) for p in ((1 - 2 * s, s, s), (s, 1 - 2 * s, s), (s, s, 1 - 2 * s))])
_WEIGHTS = np.repeat([0.223381589678011, 0.109951743655322], 3)


@dataclass(frozen=True)
class Look:
    """What an object looks like, in a few numbers.

    Attributes:
        sha256: Of everything in the mesh.
        shape: Area, second to fourth moments of the surface about its centre, in units of its size.
        colour: Mean and standard deviation of red, green and blue over the surface, 0 to 1; as they are, and once more
            and once less encoded as sRGB, for exporters confuse the two.
    """

    sha256: str
    shape: Float[np.ndarray, "6"]
    colour: Float[np.ndarray, "3 6"]

    def record(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"mesh_sha256": self.sha256, "shape": self.shape.tolist(), "colour": self.colour.tolist()}

    def same_object(self, other: "Look") -> bool:
        """Return whether both are one object but for export, axes and units."""
        if self.sha256 == other.sha256:
            return True
        shape = np.allclose(self.shape, other.shape, rtol=_SAME_SHAPE, atol=_SAME_SHAPE)
        return shape and bool((np.abs(self.colour[0] - other.colour) < _SAME_COLOUR).all(1).any())


_MEASURED: WeakKeyDictionary[Mesh, Look] = WeakKeyDictionary()


def look_of(mesh: Mesh) -> Look:
    """Measure a mesh, once as long as it is kept: drawing it asks each time."""
    if mesh not in _MEASURED:
        _MEASURED[mesh] = _measured(mesh)
    return _MEASURED[mesh]


def _measured(mesh: Mesh) -> Look:
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    weight = (area[:, None] * _WEIGHTS).ravel() / area.sum()
    points = np.einsum("qk,fkx->fqx", _CORNERS, corners).reshape(-1, 3)
    points = points - weight @ points
    squared = (points**2).sum(1)
    size = weight @ squared
    spread = np.linalg.eigvalsh((points * weight[:, None]).T @ points) / size
    skew = np.linalg.norm((weight * squared) @ points) / size**1.5
    shape = np.array([area.sum() / size, *spread, weight @ squared**2 / size**2, skew])
    colours = [_mean_and_spread(weight, one) for one in _colours(mesh)]
    return Look(mesh.sha256, shape, np.stack(colours))


def _mean_and_spread(weight: Float[np.ndarray, "n"], colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "6"]:
    mean = weight @ colours
    return np.concatenate([mean, np.sqrt(np.maximum(weight @ (colours - mean) ** 2, 0))])


def _colours(mesh: Mesh) -> list[Float[np.ndarray, "n 3"]]:
    """Return the colour at each of the points, without light, in each of the encodings.

    Factors, texels and vertices are encoded first.
    """
    encodings: tuple[Callable[[np.ndarray], np.ndarray], ...] = (np.asarray, srgb_from_linear, linear_from_srgb)
    found = [np.ones((len(mesh.faces), len(_CORNERS), 3)) for _ in encodings]
    for number, material in enumerate(mesh.materials):
        own = np.flatnonzero(mesh.face_material == number)
        texels = None
        if material.texture is not None and len(own):
            uv = np.einsum("qk,fkx->fqx", _CORNERS, mesh.uv[mesh.faces[own]]).reshape(-1, 2)
            texels = bilinear(material.texture, uv, material.wrap)[:, :3]
        for colours, encoded in zip(found, encodings, strict=True):
            colours[own] *= encoded(np.array(material.color[:3]))
            if texels is not None:
                colours[own] *= encoded(texels).reshape(len(own), -1, 3)
    if mesh.vertex_colors is not None:
        for number, encoded in enumerate(encodings):
            found[number] *= np.einsum("qk,fkx->fqx", _CORNERS, encoded(mesh.vertex_colors[:, :3])[mesh.faces])
    return [colours.reshape(-1, 3) for colours in found]
