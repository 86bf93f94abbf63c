"""The algebra of cameras and points. Everything here is a pure function on numpy arrays."""

import numpy as np
from jaxtyping import Float

from .types import Camera


def inverse(b_from_a: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Return a_from_b for a rigid transform."""
    a_from_b = np.eye(4)
    a_from_b[:3, :3] = b_from_a[:3, :3].T
    a_from_b[:3, 3] = -b_from_a[:3, :3].T @ b_from_a[:3, 3]
    return a_from_b


def transform(b_from_a: Float[np.ndarray, "4 4"], x_in_a: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Move points from frame a to frame b."""
    return x_in_a @ b_from_a[:3, :3].T + b_from_a[:3, 3]


def project(
    camera: Camera, points_in_world: Float[np.ndarray, "*n 3"]
) -> tuple[Float[np.ndarray, "*n 2"], Float[np.ndarray, "*n"]]:
    """Project points into the image.

    Returns:
        Pixels xy (corner origin) and depth along the optical axis. A pixel means something only where depth > 0.
    """
    in_cam = transform(camera.cam_from_world, points_in_world)
    depth = in_cam[..., 2]
    homogeneous = in_cam @ camera.intrinsics.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return homogeneous[..., :2] / homogeneous[..., 2:], depth


def unproject(
    camera: Camera, xy: Float[np.ndarray, "*n 2"], depth: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 3"]:
    """Return the world points at pixels `xy` and z-depth `depth`; the inverse of `project`."""
    rays_in_cam = rays_through(camera, xy)
    return transform(inverse(camera.cam_from_world), rays_in_cam * depth[..., None])


def rays_through(camera: Camera, xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
    """Return camera-frame directions with z = 1 through pixels `xy`."""
    ones = np.ones((*xy.shape[:-1], 1))
    return np.concatenate([xy, ones], -1) @ np.linalg.inv(camera.intrinsics).T


def pixel_centers(hw: tuple[int, int]) -> Float[np.ndarray, "h w 2"]:
    """Return the xy of every pixel centre: (0.5, 0.5) is the first."""
    ys, xs = np.meshgrid(np.arange(hw[0]) + 0.5, np.arange(hw[1]) + 0.5, indexing="ij")
    return np.stack([xs, ys], -1)


def look_at(
    eye: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"], up: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Return cam_from_world of a camera at `eye` looking at `target`, image up along `up`.

    When `up` is parallel to the viewing direction another axis is used, so the result is always a rotation.
    """
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, np.roll(up, 1))
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = np.stack([right, down, forward])
    cam_from_world[:3, 3] = -cam_from_world[:3, :3] @ eye
    return cam_from_world


def angle_between_deg(a: Float[np.ndarray, "*n 3"], b: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
    """Return the angle between two directions in degrees, exact near 0 and 180 (atan2 form)."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(cross, (a * b).sum(-1)))


def view_angle_deg(camera_0: Camera, camera_1: Camera, center_in_world: Float[np.ndarray, "3"]) -> float:
    """Return the angle between the two viewing directions, camera to object centre, in degrees."""
    return float(
        angle_between_deg(center_in_world - camera_0.center_in_world, center_in_world - camera_1.center_in_world)
    )
