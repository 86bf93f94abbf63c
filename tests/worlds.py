"""Hand-made worlds with exact answers: spheres and planes seen by pinhole cameras, no mesh and no renderer."""

import numpy as np

from equiview.geometry import inverse, look_at, pixel_centers, rays_through
from equiview.types import Camera, View


def camera_at(eye, hw=(64, 64), focal_px=70.0, up=(0.0, 0.0, 1.0)) -> Camera:
    intrinsics = np.array([[focal_px, 0, hw[1] / 2], [0, focal_px, hw[0] / 2], [0, 0, 1.0]])
    return Camera(intrinsics, look_at(np.asarray(eye, float), np.zeros(3), np.asarray(up, float)), hw)


def world_rays(camera: Camera):
    """Return the camera centre and the world direction (unit) through each pixel centre."""
    directions = rays_through(camera, pixel_centers(camera.hw)) @ inverse(camera.cam_from_world)[:3, :3].T
    return camera.center_in_world, directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def sphere_view(camera: Camera, radius=0.5, name="sphere") -> View:
    """See a sphere at the origin whose colour is its position."""
    origin, rays = world_rays(camera)
    b = rays @ origin
    discriminant = b * b - (origin @ origin - radius * radius)
    mask = discriminant > 0
    with np.errstate(invalid="ignore"):
        distance = -b - np.sqrt(discriminant)
    points = np.where(mask[..., None], origin + distance[..., None] * rays, np.nan)
    return make_view(camera, mask, points, points / radius, name)


def plane_view(camera: Camera, points, normals, mask, name="plane") -> View:
    return make_view(camera, mask, np.where(mask[..., None], points, np.nan), normals, name)


def make_view(camera: Camera, mask, points, normals, name) -> View:
    rgb = np.where(mask[..., None], np.nan_to_num(points) * 127 + 128, 0).astype(np.uint8)
    return View(
        rgb=rgb,
        mask=mask,
        points_in_world=points.astype(np.float32),
        normals_in_world=np.where(mask[..., None], normals, np.nan).astype(np.float32),
        triangle_id=np.where(mask, 0, -1).astype(np.int32),
        camera=camera,
        name=name,
    )


def ring_eyes(n: int, distance=2.0, height=0.4):
    return [(distance * np.cos(a), distance * np.sin(a), height) for a in np.linspace(0, 2 * np.pi, n, endpoint=False)]


def sphere_ring(n=6, hw=(64, 64), **kwargs) -> list[View]:
    return [sphere_view(camera_at(eye, hw, **kwargs), name=f"ring{i}") for i, eye in enumerate(ring_eyes(n))]


def moved(view: View, new_from_world) -> View:
    """Describe the same picture in another world frame."""
    rotation, translation = new_from_world[:3, :3], new_from_world[:3, 3]
    camera = Camera(view.camera.intrinsics, view.camera.cam_from_world @ inverse(new_from_world), view.camera.hw)
    points = view.points_in_world @ rotation.T + translation
    return make_view(camera, view.mask, points, view.normals_in_world @ rotation.T, view.name)
