"""A mesh made ready for ray casting: the embree tree, texture pyramids and what is needed per triangle."""

from functools import lru_cache

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from jaxtyping import Float, Int

from .mesh import Mesh
from .texture import build_pyramid, sample_pyramid

_MAX_LAYERS = 64
_STEP = 1e-5  # how far past a rejected surface a ray starts again; the object's radius is 1


class Scene:
    """Ray casting against one mesh. Build it once and use it for all views (`scene_of`).

    embree works in float32. The tree is therefore built in a frame where the object is a unit ball at the origin, rays
    start where they enter that ball, and only the triangle's number is taken from embree: points are recomputed in
    float64 from the ray and the triangle's plane.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        corners = mesh.vertices[mesh.faces]
        self.corner = corners[:, 0]
        edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        # Vectors whose dot product with (point - corner 0) is the weight of corner 1 and of corner 2.
        a, b, c = (x[:, None] for x in (_dot(edge_1, edge_1), _dot(edge_1, edge_2), _dot(edge_2, edge_2)))
        doubled_area = np.linalg.norm(np.cross(edge_1, edge_2), axis=1)
        self._toward_1 = (c * edge_1 - b * edge_2) / doubled_area[:, None] ** 2
        self._toward_2 = (a * edge_2 - b * edge_1) / doubled_area[:, None] ** 2
        used = mesh.vertices[np.unique(mesh.faces)]
        self.used_vertices = used
        self.center: Float[np.ndarray, "3"] = (used.min(0) + used.max(0)) / 2
        self.radius = float(np.linalg.norm(used - self.center, axis=1).max())
        self._embree = rtcore_scene.EmbreeScene(robust=True)
        unit = ((mesh.vertices - self.center) / self.radius).astype(np.float32)
        TriangleMesh(self._embree, unit, mesh.faces.astype(np.int32))
        self.pyramids = [None if m.texture is None else build_pyramid(m) for m in mesh.materials]
        self._cutoff = np.array([-1.0 if m.alpha_cutoff is None else m.alpha_cutoff for m in mesh.materials])
        self._single_sided = np.array([not m.double_sided for m in mesh.materials])
        self._needs_check = bool((self._cutoff >= 0).any() or self._single_sided.any())
        self.texel_density = self._texel_density(doubled_area)

    def _texel_density(self, doubled_area: Float[np.ndarray, "f"]) -> Float[np.ndarray, "f"]:
        """Texels of the full picture per object unit, per triangle (0 where there is no texture)."""
        uv = self.mesh.uv[self.mesh.faces]
        size = np.array([(0, 0) if m.texture is None else m.texture.shape[1::-1] for m in self.mesh.materials])
        a, b = ((uv[:, i] - uv[:, 0]) * size[self.mesh.face_material] for i in (1, 2))
        texels = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
        return np.sqrt(texels / doubled_area)

    def cast(self, eye: Float[np.ndarray, "3"], directions: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n"]:
        """Return the first triangle that each ray from `eye` sees, -1 for none.

        Surface under the material's alpha cut-off, and the back of a single-sided material, let the ray through.
        """
        start = (eye - self.center) / self.radius
        # Start just before the unit ball (constant, since all rays come from one point): exact for far cameras too.
        longest = float(np.sqrt(_dot(directions, directions).max())) if len(directions) else 1.0
        start = start[None] + directions * (max(float(np.linalg.norm(start)) - 1.01, 0.0) / longest)
        triangle = self._run(start, directions)
        if not self._needs_check:
            return triangle
        through = self._rejected(eye, directions, triangle)
        step = _STEP
        for _ in range(_MAX_LAYERS):
            if not len(through):
                break
            ray, before = directions[through], triangle[through]
            behind = eye + ray * self.depth(eye, ray, before)[:, None]
            unit = ray / np.linalg.norm(ray, axis=1, keepdims=True)
            triangle[through] = self._run((behind - self.center) / self.radius + step * unit, unit)
            # Rounding can make a grazing ray meet the surface it has just left: then step further.
            step = step * 2 if (triangle[through] == before).any() else _STEP
            through = through[self._rejected(eye, ray, triangle[through])]
        triangle[through] = -1
        return triangle

    def _run(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        ids = self._embree.run(origins.astype(np.float32), directions.astype(np.float32))
        return np.asarray(ids, np.int32).copy()

    def _rejected(self, eye: np.ndarray, directions: np.ndarray, triangle: np.ndarray) -> Int[np.ndarray, "m"]:
        """Which of the rays hit something that is not there."""
        hit = np.flatnonzero(triangle >= 0)
        material = self.mesh.face_material[triangle[hit]]
        from_behind = _dot(self.mesh.face_normals[triangle[hit]], directions[hit]) > 0
        gone = from_behind & self._single_sided[material]
        tested = np.flatnonzero(~gone & (self._cutoff[material] >= 0))
        if len(tested):
            at = hit[tested]
            depth = self.depth(eye, directions[at], triangle[at])
            points = eye + directions[at] * depth[:, None]
            alpha = self.base_color(triangle[at], self.barycentric(points, triangle[at]))[:, 3]
            gone[tested] = alpha < self._cutoff[material[tested]]
        return hit[gone]

    def depth(
        self, eye: Float[np.ndarray, "3"], directions: Float[np.ndarray, "n 3"], triangle: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """Return t of eye + t * direction on the triangle's plane, in float64."""
        normal = self.mesh.face_normals[triangle]
        return _dot(self.corner[triangle] - eye, normal) / _dot(directions, normal)

    def barycentric(self, points: Float[np.ndarray, "n 3"], triangle: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 3"]:
        """Return the weights of the triangle's corners at points of its plane, clipped to the triangle."""
        offset = points - self.corner[triangle]
        w1 = np.clip(_dot(offset, self._toward_1[triangle]), 0, 1)
        w2 = np.clip(_dot(offset, self._toward_2[triangle]), 0, 1 - w1)
        return np.stack([1 - w1 - w2, w1, w2], 1)

    def shading_normals(
        self,
        directions: Float[np.ndarray, "n 3"],
        triangle: Int[np.ndarray, "n"],
        weights: Float[np.ndarray, "n 3"],
    ) -> Float[np.ndarray, "n 3"]:
        """Return interpolated vertex normals where the file has them, else triangle normals, turned to the camera."""
        flat = self.mesh.face_normals[triangle]
        sign = np.where(_dot(flat, directions) > 0, -1.0, 1.0)[:, None]
        smooth = _mix(weights, self.mesh.normals, self.mesh.faces[triangle])
        length = np.linalg.norm(smooth, axis=1, keepdims=True)
        # A normal that disagrees with its triangle by more than a right angle comes from a wrong export.
        usable = (length > 0.1) & (_dot(smooth, flat)[:, None] > 0)
        return sign * np.where(usable, smooth / np.maximum(length, 1e-12), flat)

    def base_color(
        self,
        triangle: Int[np.ndarray, "n"],
        weights: Float[np.ndarray, "n 3"],
        texels_per_sample: Float[np.ndarray, "n"] | None = None,
    ) -> Float[np.ndarray, "n 4"]:
        """Return sRGB and alpha, 0 to 1. `texels_per_sample` chooses the pyramid level; None is the full picture."""
        faces = self.mesh.faces[triangle]
        uv = _mix(weights, self.mesh.uv, faces)
        level = np.zeros(len(triangle), np.int64)
        if texels_per_sample is not None:
            level = np.rint(np.log2(np.maximum(texels_per_sample, 1.0))).astype(np.int64)
        out = np.ones((len(triangle), 4), np.float32)
        material_of = self.mesh.face_material[triangle]
        for number, material in enumerate(self.mesh.materials):
            where = slice(None) if len(self.mesh.materials) == 1 else np.flatnonzero(material_of == number)
            color = np.array(material.color, np.float32)
            pyramid = self.pyramids[number]
            if pyramid is None:
                out[where] = color
                continue
            texel = sample_pyramid(pyramid, uv[where], level[where], material.wrap)
            if material.alpha_cutoff is not None:
                texel[:, :3] /= np.maximum(texel[:, 3:], 1e-6)
            out[where] = texel * color
        if self.mesh.vertex_colors is not None:
            out *= _mix(weights, self.mesh.vertex_colors, faces)
        return out


def _dot(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    return np.einsum("nk,nk->n", a, b)


def _mix(
    weights: Float[np.ndarray, "n 3"], per_vertex: Float[np.ndarray, "v k"], faces: Int[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n k"]:
    """Weighted mean of the values at the three corners."""
    return sum(weights[:, i : i + 1] * per_vertex[faces[:, i]] for i in range(3))


@lru_cache(maxsize=2)
def scene_of(mesh: Mesh) -> Scene:
    """Return the scene of a mesh; the last two are kept, since views of one object come in a row."""
    return Scene(mesh)
