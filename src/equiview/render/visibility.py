"""Which points of a surface a camera sees, one ray a point: exact between pixels too."""

import numpy as np
from jaxtyping import Bool, Float

from ..geometry import project
from ..types import Camera, View
from .mesh import Mesh
from .scene import scene_of

TOLERANCE = 2e-3  # of the mesh's radius: how much nearer another surface must be to hide a point
NEARBY = 0.05  # world units: a pixel shows a point's surface when what it shows is this near
_ASIDE = 1e-4 * np.array([0.36, -0.48, 0.8])


def inside_frame(xy: Float[np.ndarray, "n 2"], hw: tuple[int, int]) -> Bool[np.ndarray, "n"]:
    """Say which pixels lie in a picture of this size (corner origin: from 0 up to, not including, w and h)."""
    return np.all((xy >= 0) & (xy < (hw[1], hw[0])), axis=-1)


def points_seen(
    mesh: Mesh, camera: Camera, points_in_world: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """Project points of a mesh's surface and say which are in the frame with nothing nearer on their ray.

    Returns:
        Pixels xy of all points, and True where seen.
    """
    xy, depth = project(camera, points_in_world)
    seen = (depth > 0) & inside_frame(xy, camera.hw)
    scene = scene_of(mesh)
    eye = camera.center_in_world
    hidden = np.zeros(int(seen.sum()), bool)
    # A ray through an edge of the mesh, exactly, can slip past it: a second one beside it does not slip too.
    for aside in (np.zeros(3), _ASIDE * scene.radius):
        rays = points_in_world[seen] + aside - eye
        triangle = scene.cast(eye, rays)
        hit = triangle >= 0
        # A point is at t = 1 of its own ray; a ray past the silhouette meets nothing nearer.
        nearest = np.where(hit, scene.depth(eye, rays, np.where(hit, triangle, 0)), 1.0)
        hidden |= (1 - nearest) * np.linalg.norm(rays, axis=1) > TOLERANCE * scene.radius
    seen[seen] = ~hidden
    return xy, seen


def shown_by_pixels(
    view: View, xy: Float[np.ndarray, "n 2"], points_in_world: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, "n"]:
    """Say which points have their surface behind at least one of the four pixel centres around them.

    Args:
        view: A render.
        xy: Where it has the points, pixels.
        points_in_world: The points.
    """
    first = np.floor(xy - 0.5).astype(int)
    shown = np.zeros(len(xy), bool)
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cols, rows = np.clip(first + step, 0, np.array(view.mask.shape[::-1]) - 1).T
        apart = np.linalg.norm(view.points_in_world[rows, cols] - points_in_world, axis=1)
        shown |= view.mask[rows, cols] & (apart <= NEARBY)
    return shown


def covered_by_mesh(mesh: Mesh, camera: Camera, xy: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n"]:
    """Say which pixels (sub-pixel places) the mesh covers."""
    scene = scene_of(mesh)
    world_from_pixel = camera.cam_from_world[:3, :3].T @ np.linalg.inv(camera.intrinsics)
    rays = xy @ world_from_pixel[:, :2].T + world_from_pixel[:, 2]
    return scene.cast(camera.center_in_world, rays) >= 0
