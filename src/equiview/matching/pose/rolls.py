"""Pictures turned by quarters: features of a Vision Transformer are not the same for an upside-down object."""

import numpy as np
from jaxtyping import Float, UInt8

from ...types import Camera

_QUARTER = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x to the right becomes y up


def rolled_image(rgb: UInt8[np.ndarray, "h w 3"], roll: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Turn a picture counterclockwise by `roll` quarters."""
    return np.ascontiguousarray(np.rot90(rgb, roll))


def rolled_camera(camera: Camera, roll: int) -> Camera:
    """Return the camera that takes the turned picture: same centre, its own axes, pixels of the turned picture."""
    matrix = camera.intrinsics
    turn = np.eye(4)
    h, w = camera.hw
    for _ in range(roll % 4):
        to_turned = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, w], [0.0, 0.0, 1.0]])
        matrix = to_turned @ matrix @ _QUARTER.T
        turn[:3, :3] = _QUARTER @ turn[:3, :3]
        h, w = w, h
    return Camera(matrix, turn @ camera.cam_from_world, (h, w))


def unrolled_xy(xy: Float[np.ndarray, "n 2"], hw: tuple[int, int], roll: int) -> Float[np.ndarray, "n 2"]:
    """Return the pixels of the picture (of size `hw`) that pixels of its turned copy show."""
    x, y = xy[:, 0], xy[:, 1]
    h, w = hw
    turned = ((x, y), (w - y, x), (w - x, h - y), (y, h - x))[roll % 4]
    return np.stack(turned, 1)


def upright_roll(camera_0: Camera, camera_1: Camera) -> int:
    """Return by how many quarters the second picture must be turned to look most like the first."""
    relative = camera_1.cam_from_world[:3, :3] @ camera_0.cam_from_world[:3, :3].T
    angle = np.arctan2(relative[1, 0] - relative[0, 1], relative[0, 0] + relative[1, 1])
    return int(np.round(angle / (np.pi / 2))) % 4
