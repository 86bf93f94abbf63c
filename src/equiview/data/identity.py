"""Whether two sources show one object, whatever their files are called: by geometry and colours, or by the pictures.

A mesh that was copied, exported again, turned or scaled keeps its surface. What is compared does not depend on how the
surface is cut into triangles, on axes, units or the order of anything: moments of the surface about its centre, which
are exact integrals over the triangles, and mean and spread of its colours.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..io import require_file
from ..render import Mesh
from ..render.mesh import linear_from_srgb, srgb_from_linear
from ..render.texture import bilinear
from .meshes import open_mesh

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

    def same_object(self, other: "Look") -> bool:
        """Return whether both are one object but for export, axes and units."""
        if self.sha256 == other.sha256:
            return True
        shape = np.allclose(self.shape, other.shape, rtol=_SAME_SHAPE, atol=_SAME_SHAPE)
        return shape and bool((np.abs(self.colour[0] - other.colour) < _SAME_COLOUR).all(1).any())


def look_of(mesh: Mesh) -> Look:
    """Measure a mesh."""
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
    encodings = (np.asarray, srgb_from_linear, linear_from_srgb)
    return Look(
        mesh.sha256, shape, np.stack([_mean_and_spread(weight, _colours(mesh, encoded)) for encoded in encodings])
    )


def _mean_and_spread(weight: Float[np.ndarray, "n"], colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "6"]:
    mean = weight @ colours
    return np.concatenate([mean, np.sqrt(np.maximum(weight @ (colours - mean) ** 2, 0))])


def _colours(mesh: Mesh, encoded: Callable[[np.ndarray], np.ndarray]) -> Float[np.ndarray, "n 3"]:
    """Return the colour at each of the points, without light; factors, texels and vertices are encoded first."""
    colours = np.ones((len(mesh.faces), len(_CORNERS), 3))
    for number, material in enumerate(mesh.materials):
        faces = np.flatnonzero(mesh.face_material == number)
        colours[faces] *= encoded(np.array(material.color[:3]))
        if material.texture is not None and len(faces):
            uv = np.einsum("qk,fkx->fqx", _CORNERS, mesh.uv[mesh.faces[faces]]).reshape(-1, 2)
            texels = bilinear(material.texture, uv, material.wrap)[:, :3]
            colours[faces] *= encoded(texels).reshape(len(faces), -1, 3)
    if mesh.vertex_colors is not None:
        colours *= np.einsum("qk,fkx->fqx", _CORNERS, encoded(mesh.vertex_colors[:, :3])[mesh.faces])
    return colours.reshape(-1, 3)


def mesh_look(source: str) -> Look:
    """Return the look of a mesh file or of an object made at run time; a file is measured once.

    Raises:
        EquiviewError: It does not open.
    """
    path = Path(source.partition("@up=")[0])
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
    return _mesh_look(source, stamp)


@lru_cache(maxsize=256)
def _mesh_look(source: str, _stamp: tuple[int, int] | None) -> Look:
    return look_of(open_mesh(source))


def picture_hashes(files: Iterable[Path]) -> set[str]:
    """Return the hash of each file's content: a copy has the same under another name.

    Raises:
        EquiviewError: One is missing.
    """
    return {_file_sha256(str(path), path.stat().st_mtime_ns) for path in files if require_file(path, "a picture")}


@lru_cache(maxsize=4096)
def _file_sha256(path: str, _changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
