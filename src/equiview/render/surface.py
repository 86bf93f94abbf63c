"""What a surface is, however it is written down: a few numbers that copies of a mesh share and other objects do not.

They are integrals over the surface, so that neither the frame, the scale, the order of triangles nor how quads are cut
matters, and quantiles of its colours, which a picture that was compressed again hardly moves.
"""

import numpy as np
from jaxtyping import Float

from .mesh import Mesh
from .texture import bilinear

_SHARES = np.linspace(0.1, 0.9, 9)
SHAPE_NUMBERS, COLOR_NUMBERS = 4, 3 * len(_SHARES)
SHAPE_TOLERANCE, COLOR_TOLERANCE = 1e-3, 2 / 255
"""Relative, and of colours from 0 to 1: exporters round coordinates, and compress pictures."""


def surface_numbers(mesh: Mesh) -> Float[np.ndarray, "31"]:
    """Return what two files of one surface agree in.

    Args:
        mesh: In any frame and scale.

    Returns:
        The three second moments of the surface about its centre, and the fourth of the distance, both in units of its
        area; then nine quantiles of red, green and blue.
    """
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    weight = area / area.sum()
    center = (weight[:, None] * corners.mean(1)).sum(0)
    corners = (corners - center) / np.sqrt(area.sum())
    # The midpoints of the edges integrate second moments exactly.
    middle = (corners + np.roll(corners, 1, axis=1)) / 2
    second = np.einsum("f,fki,fkj->ij", weight / 3, middle, middle)
    return np.concatenate([np.linalg.eigvalsh(second), [_fourth(corners, weight)], _colors(mesh, weight)])


def _fourth(corners: Float[np.ndarray, "f 3 3"], weight: Float[np.ndarray, "f"]) -> float:
    """Return the mean fourth power of the distance from the centre, exactly (Strang and Fix, six points)."""
    total = 0.0
    for a, share in ((0.445948490915965, 0.223381589678011), (0.091576213509771, 0.109951743655322)):
        for spare in range(3):
            mix = np.full(3, a)
            mix[spare] = 1 - 2 * a
            squared = (np.einsum("fki,k->fi", corners, mix) ** 2).sum(1)
            total += share * float(weight @ squared**2)
    return total


def _colors(mesh: Mesh, weight: Float[np.ndarray, "f"]) -> Float[np.ndarray, "27"]:
    """Return quantiles of the colours at the triangles' centres, by area."""
    colors = np.ones((len(mesh.faces), 3))
    if mesh.vertex_colors is not None:
        colors *= mesh.vertex_colors[mesh.faces, :3].mean(1)
    uv = mesh.uv[mesh.faces].mean(1)
    for number, material in enumerate(mesh.materials):
        own = mesh.face_material == number
        colors[own] *= np.array(material.color[:3])
        if material.texture is not None and own.any():
            colors[own] *= bilinear(material.texture, uv[own], material.wrap)[:, :3]
    quantiles = []
    for channel in colors.T:
        order = np.argsort(channel)
        quantiles.append(np.interp(_SHARES, np.cumsum(weight[order]), channel[order]))
    return np.concatenate(quantiles)


def same_surface(one: Float[np.ndarray, "31"], other: Float[np.ndarray, "31"]) -> bool:
    """Say whether two surfaces are one, to what exporters round."""
    shape = np.abs(one - other)[:SHAPE_NUMBERS] <= SHAPE_TOLERANCE * np.abs(one[:SHAPE_NUMBERS]).max()
    color = np.abs(one - other)[SHAPE_NUMBERS:] <= COLOR_TOLERANCE
    return bool(shape.all() and color.all())
