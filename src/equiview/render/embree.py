"""The default renderer: ray casting on the CPU, exact at every pixel centre."""

import numpy as np
from jaxtyping import Float, Int

from ..geometry import project, rays_through
from ..types import Camera, View
from .mesh import Mesh
from .scene import Scene, scene_of
from .shading import RenderConfig, background, shade

_DEFAULT = RenderConfig()


def render_view(mesh: Mesh, camera: Camera, config: RenderConfig = _DEFAULT, *, index: int = 0) -> View:
    """Draw a mesh.

    Geometry comes from one ray through each pixel centre. Colour is the mean of supersample^2 rays per pixel (so a
    pixel outside the mask can hold a little of the object at its edge, and the other way round).

    Args:
        mesh: The object, in the units the camera stands in (see `mesh.normalize`).
        camera: Decides the size of the picture.
        config: Light, background, anti-aliasing.
        index: Number of the view, for the random background and the name.

    Returns:
        The view; points are float64, normals float32 and turned to the camera.
    """
    scene = scene_of(mesh)
    h, w = camera.hw
    rows, columns = _window(scene, camera)
    triangle_id = np.full((h, w), -1, np.int32)
    points = np.full((h, w, 3), np.nan)
    normals = np.full((h, w, 3), np.nan, np.float32)
    rgb = background(config, camera.hw, index)
    if len(rows) and len(columns):
        window = np.ix_(rows, columns)
        triangle_id[window], points[window], normals[window] = _geometry(scene, camera, rows, columns)
        color, coverage = _color(scene, camera, config, rows, columns)
        rgb[window] = color + (1 - coverage[..., None]) * rgb[window]
    return View(
        rgb=np.clip(np.rint(rgb), 0, 255).astype(np.uint8),
        mask=triangle_id >= 0,
        points_in_world=points,
        normals_in_world=normals,
        triangle_id=triangle_id,
        camera=camera,
        name=f"{mesh.name}/{index:03d}",
    )


def _window(scene: Scene, camera: Camera) -> tuple[Int[np.ndarray, "r"], Int[np.ndarray, "c"]]:
    """Rows and columns that can see the object: its projected bounding box, or all if it reaches behind the camera."""
    xy, depth = project(camera, scene.used_vertices)
    h, w = camera.hw
    if (depth <= 1e-9).any():
        return np.arange(h), np.arange(w)
    # One pixel more on each side, so that edge pixels are anti-aliased.
    low, high = np.floor(xy.min(0)) - 1, np.ceil(xy.max(0)) + 1
    (x0, y0), (x1, y1) = np.clip(low, 0, (w, h)).astype(int), np.clip(high, 0, (w, h)).astype(int)
    return np.arange(y0, y1), np.arange(x0, x1)


def _directions(camera: Camera, rows: np.ndarray, columns: np.ndarray, shift: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """World directions with z = 1 in the camera, through `shift` (0 to 1) inside each pixel of the window."""
    ys, xs = np.meshgrid(rows + shift[1], columns + shift[0], indexing="ij")
    in_cam = rays_through(camera, np.stack([xs, ys], -1).reshape(-1, 2))
    return in_cam @ camera.cam_from_world[:3, :3]


def _geometry(
    scene: Scene, camera: Camera, rows: np.ndarray, columns: np.ndarray
) -> tuple[Int[np.ndarray, "r c"], Float[np.ndarray, "r c 3"], Float[np.ndarray, "r c 3"]]:
    eye = camera.center_in_world
    directions = _directions(camera, rows, columns, np.array([0.5, 0.5]))
    triangle = scene.cast(eye, directions)
    hit = np.flatnonzero(triangle >= 0)
    depth = scene.depth(eye, directions[hit], triangle[hit])
    points = np.full((len(triangle), 3), np.nan)
    points[hit] = eye + directions[hit] * depth[:, None]
    normals = np.full((len(triangle), 3), np.nan, np.float32)
    flat = scene.mesh.face_normals[triangle[hit]]
    normals[hit] = np.where((flat * directions[hit]).sum(1, keepdims=True) > 0, -flat, flat)
    shape = (len(rows), len(columns))
    return triangle.reshape(shape), points.reshape(*shape, 3), normals.reshape(*shape, 3)


def _color(
    scene: Scene, camera: Camera, config: RenderConfig, rows: np.ndarray, columns: np.ndarray
) -> tuple[Float[np.ndarray, "r c 3"], Float[np.ndarray, "r c"]]:
    """Mean colour (0 to 255, background counted as black) and the covered share of each pixel of the window."""
    side = config.supersample
    color = np.zeros((len(rows) * len(columns), 3), np.float32)
    coverage = np.zeros(len(color), np.float32)
    for number in range(side**2):
        shift = (np.array([number % side, number // side]) + 0.5) / side
        directions = _directions(camera, rows, columns, shift)
        triangle = scene.cast(camera.center_in_world, directions)
        hit = np.flatnonzero(triangle >= 0)
        color[hit] += _shaded(scene, camera, config, directions[hit], triangle[hit])
        coverage[hit] += 1
    shape = (len(rows), len(columns))
    return (color * (255 / side**2)).reshape(*shape, 3), (coverage / side**2).reshape(shape)


def _shaded(
    scene: Scene, camera: Camera, config: RenderConfig, directions: np.ndarray, triangle: np.ndarray
) -> Float[np.ndarray, "n 3"]:
    eye = camera.center_in_world
    depth = scene.depth(eye, directions, triangle)
    points = eye + directions * depth[:, None]
    weights = scene.barycentric(points, triangle)
    # Directions have z = 1 in the camera, so depth / focal is the size of a pixel on a surface facing the camera.
    sample_size = np.abs(depth) / (camera.intrinsics[0, 0] * config.supersample)
    color = scene.base_color(triangle, weights, scene.texel_density[triangle] * sample_size)
    normals = scene.shading_normals(directions, triangle, weights)
    return color[:, :3] * shade(config, camera, points, normals)[:, None]
