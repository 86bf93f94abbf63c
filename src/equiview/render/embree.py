"""The default renderer: ray casting on the CPU, exact at every pixel centre."""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import binary_dilation

from ..geometry import project
from ..types import Camera, View
from .mesh import Mesh
from .scene import Scene, scene_of
from .shading import RenderConfig, background, shade

_DEFAULT = RenderConfig()


def render_view(
    mesh: Mesh,
    camera: Camera,
    config: RenderConfig = _DEFAULT,
    *,
    index: int = 0,
    behind: Float[np.ndarray, "h w 3"] | None = None,
) -> View:
    """Draw a mesh.

    Geometry comes from one ray through each pixel centre. Colour is the mean of supersample^2 rays per pixel (so a
    pixel outside the mask can hold a little of the object at its edge, and the other way round).

    Args:
        mesh: The object, in the units the camera stands in (see `mesh.normalize`).
        camera: Decides the size of the picture.
        config: Light, background, anti-aliasing.
        index: Number of the view, for the random background and the name.
        behind: Picture behind the object, 0 to 255, of the camera's size, in place of the config's background.

    Returns:
        The view; points are float64, normals float32 and turned to the camera.
    """
    scene = scene_of(mesh)
    h, w = camera.hw
    triangle_id = np.full((h, w), -1, np.int32)
    points = np.full((h, w, 3), np.nan)
    normals = np.full((h, w, 3), np.nan, np.float32)
    (x, y), directions, triangle = _seen(scene, camera)
    triangle_id[y, x] = triangle
    depth = scene.depth(camera.center_in_world, directions, triangle)
    points[y, x] = camera.center_in_world + directions * depth[:, None]
    flat = mesh.face_normals[triangle]
    normals[y, x] = np.where(np.einsum("nk,nk->n", flat, directions)[:, None] > 0, -flat, flat)
    mask = triangle_id >= 0
    return View(
        rgb=_picture(scene, camera, config, mask, background(config, (h, w), index) if behind is None else behind),
        mask=mask,
        points_in_world=points,
        normals_in_world=normals,
        triangle_id=triangle_id,
        camera=camera,
        name=f"{mesh.name}/{index:03d}",
    )


def render_depth(mesh: Mesh, camera: Camera) -> Float[np.ndarray, "h w"]:
    """Return the distance along the camera's z axis at each pixel centre, object units; 0 where there is no object."""
    scene = scene_of(mesh)
    depth = np.zeros(camera.hw)
    (x, y), directions, triangle = _seen(scene, camera)
    # Directions have z = 1 in the camera, so the ray's parameter is the z-depth.
    depth[y, x] = scene.depth(camera.center_in_world, directions, triangle)
    return depth


def _seen(
    scene: Scene, camera: Camera
) -> tuple[Int[np.ndarray, "2 n"], Float[np.ndarray, "n 3"], Int[np.ndarray, "n"]]:
    """Return the pixels (x, y) whose centres show the object, the rays through them and the triangles these meet."""
    xy = _window(scene, camera)
    directions = _directions(camera, xy, (0.5, 0.5))
    triangle = scene.cast(camera.center_in_world, directions)
    hit = np.flatnonzero(triangle >= 0)
    return xy[hit].T, directions[hit], triangle[hit]


def _window(scene: Scene, camera: Camera) -> Int[np.ndarray, "n 2"]:
    """Pixels that can see the object: its projected bounding box, or all if it reaches behind the camera."""
    xy, depth = project(camera, scene.used_vertices)
    h, w = camera.hw
    low, high = np.zeros(2), np.array([w, h])
    if (depth > 1e-9).all():
        low, high = np.clip(np.floor(xy.min(0)), 0, high), np.clip(np.ceil(xy.max(0)), 0, high)
    xs, ys = np.meshgrid(np.arange(int(low[0]), int(high[0])), np.arange(int(low[1]), int(high[1])))
    return np.stack([xs.ravel(), ys.ravel()], 1)


def _directions(camera: Camera, xy: Int[np.ndarray, "n 2"], shift: tuple[float, float]) -> Float[np.ndarray, "n 3"]:
    """World directions with z = 1 in the camera, through the place `shift` (0 to 1) inside each pixel."""
    world_from_pixel = camera.cam_from_world[:3, :3].T @ np.linalg.inv(camera.intrinsics)
    return (xy + np.array(shift)) @ world_from_pixel[:, :2].T + world_from_pixel[:, 2]


def _picture(
    scene: Scene,
    camera: Camera,
    config: RenderConfig,
    mask: Bool[np.ndarray, "h w"],
    behind: Float[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Mean colour of supersample^2 rays per pixel, over the background.

    Only pixels of the mask and their neighbours get rays: beyond, nothing but slivers thinner than a pixel is lost.
    """
    side = config.supersample
    y, x = np.nonzero(binary_dilation(mask, np.ones((3, 3), bool)))
    xy = np.stack([x, y], 1)
    color = np.zeros((len(xy), 3), np.float32)
    coverage = np.zeros((len(xy), 1), np.float32)
    for number in range(side**2):
        directions = _directions(camera, xy, ((number % side + 0.5) / side, (number // side + 0.5) / side))
        triangle = scene.cast(camera.center_in_world, directions)
        hit = np.flatnonzero(triangle >= 0)
        color[hit] += _shaded(scene, camera, config, directions[hit], triangle[hit])
        coverage[hit] += 1
    rgb = np.array(behind, np.float32)
    rgb[y, x] = color * (255 / side**2) + (1 - coverage / side**2) * rgb[y, x]
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


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
