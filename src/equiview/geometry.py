"""The algebra of cameras and points. Everything here is a pure function on numpy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .errors import bad_input
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


def cropped_camera(camera: Camera, box: tuple[int, int, int, int]) -> Camera:
    """Return the camera of a part of its picture.

    Args:
        camera: Of the whole picture.
        box: Left, top, right and bottom edge, whole pixels.
    """
    left, top, right, bottom = box
    shift = np.array([[0, 0, left], [0, 0, top], [0, 0, 0]])
    return Camera(camera.intrinsics - shift, camera.cam_from_world, (bottom - top, right - left))


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


def essential_matrix(camera_0: Camera, camera_1: Camera) -> Float[np.ndarray, "3 3"]:
    """Return E with ray_1 . E ray_0 = 0 for the camera-frame rays of one point: [t]x R of cam1_from_cam0.

    Source: Hartley and Zisserman, Multiple View Geometry, 9.6. It is zero where both cameras stand in one place.
    """
    cam1_from_cam0 = camera_1.cam_from_world @ inverse(camera_0.cam_from_world)
    return np.cross(cam1_from_cam0[:3, 3], cam1_from_cam0[:3, :3].T).T


def fundamental_matrix(camera_0: Camera, camera_1: Camera) -> Float[np.ndarray, "3 3"]:
    """Return F of two posed pictures: (xy1, 1) . F (xy0, 1) = 0 for the pixels of one point, and |F| = 1.

    F (xy0, 1) is the line (a, b, c) in picture 1 on which the point lies; with the cameras swapped F is transposed.

    Raises:
        EquiviewError: The cameras stand in one place, as far as double precision can tell: there are no such lines.
    """
    centers = camera_0.center_in_world, camera_1.center_in_world
    baseline = float(np.linalg.norm(centers[1] - centers[0]))
    if baseline <= 1e-9 * max(float(np.abs(one).max()) for one in centers) or baseline == 0:
        fix = "Take two pictures from different places; a turn alone shows no depth."
        raise bad_input("epipolar geometry", "two cameras apart from each other", f"a baseline of {baseline:g}", fix)
    # In units of the baseline: its size changes nothing but the precision.
    essential = essential_matrix(camera_0, camera_1) / baseline
    fundamental = np.linalg.inv(camera_1.intrinsics).T @ essential @ np.linalg.inv(camera_0.intrinsics)
    return fundamental / np.linalg.norm(fundamental)


def epipolar_lines(camera_0: Camera, camera_1: Camera, xy0: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
    """Return the line (a, b, c) in picture 1 on which each pixel's point lies; a^2 + b^2 = 1, zero without baseline."""
    rays = rays_through(camera_0, xy0)
    return unit_lines(rays @ essential_matrix(camera_0, camera_1).T @ np.linalg.inv(camera_1.intrinsics))


def unit_lines(lines: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Scale lines so that a x + b y + c is a distance in pixels; a line that is zero or at infinity stays finite."""
    return lines / np.maximum(np.linalg.norm(lines[..., :2], axis=-1, keepdims=True), 1e-12)


def symmetric_distance_px(
    fundamental: Float[np.ndarray, "3 3"],
    xy0: Float[np.ndarray, "*n 2"],
    xy1: Float[np.ndarray, "*n 2"],
    scale: tuple[float, float] = (1.0, 1.0),
) -> Float[np.ndarray, "*n"]:
    """Return how far matches are from their epipolar lines: the larger of the distances in the two pictures.

    Swapping the pictures (and transposing F) changes nothing.

    Args:
        fundamental: (xy1, 1) . F (xy0, 1) = 0 for true matches, see `fundamental_matrix`.
        xy0: Pixels of picture 0; shapes are broadcast against `xy1`.
        xy1: Pixels of picture 1.
        scale: Multiplies the distances in picture 0 and in picture 1, to give pixels of one common size.

    Source: Hartley and Zisserman, Multiple View Geometry, 11.4 (there the two are added in squares).
    """
    lines_1 = unit_lines(homogeneous(xy0) @ fundamental.T)
    lines_0 = unit_lines(homogeneous(xy1) @ fundamental)
    in_1 = np.abs((lines_1 * homogeneous(xy1)).sum(-1)) * scale[1]
    in_0 = np.abs((lines_0 * homogeneous(xy0)).sum(-1)) * scale[0]
    return np.maximum(in_0, in_1)


def homogeneous(xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
    """Append a 1 to every pixel."""
    return np.concatenate([xy, np.ones((*xy.shape[:-1], 1))], -1)


@dataclass(frozen=True)
class Triangulation:
    """Points found from several views, and what speaks for them.

    Attributes:
        points_in_world: The points; NaN where fewer than two views see one.
        error_px: Largest distance between a point's projection and its observation.
        parallax_deg: Largest angle between two of its viewing rays.
        in_front: True where the point lies in front of every camera that sees it (cheirality).
    """

    points_in_world: Float[np.ndarray, "n 3"]
    error_px: Float[np.ndarray, "n"]
    parallax_deg: Float[np.ndarray, "n"]
    in_front: Bool[np.ndarray, "n"]

    def accepted(self, max_error_px: float, min_parallax_deg: float) -> Bool[np.ndarray, "n"]:
        """Return which points are in front, reproject well and are seen from directions that differ enough."""
        fits = (self.error_px <= max_error_px) & (self.parallax_deg >= min_parallax_deg)
        return fits & self.in_front & np.isfinite(self.points_in_world).all(-1)


def triangulate(
    cameras: Sequence[Camera], xy: Float[np.ndarray, "v n 2"], seen: Bool[np.ndarray, "v n"] | None = None
) -> Triangulation:
    """Find points from their pixels in two views or more: the linear solution (DLT) in normalised coordinates.

    Source: Hartley and Zisserman, Multiple View Geometry, 12.2, with every row divided by the length of its ray.

    Args:
        cameras: One a view.
        xy: Pixels of each point in each view.
        seen: Which views see which points; where False the pixel is not looked at. All when None.

    Raises:
        EquiviewError: Fewer than two views, or the shapes do not fit together.
    """
    xy = np.asarray(xy, np.float64)
    if len(cameras) < 2 or xy.ndim != 3 or len(xy) != len(cameras):
        found = f"{len(cameras)} cameras and pixels of shape {xy.shape}"
        raise bad_input("triangulation", "two cameras or more and pixels [views, n, 2]", found, "Add a view.")
    seen = np.isfinite(xy).all(-1) & (np.ones(xy.shape[:2], bool) if seen is None else seen)
    rows, rays = [], []
    for camera, at in zip(cameras, np.where(seen[..., None], xy, 0.0), strict=True):
        ray = rays_through(camera, at)
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        matrix = camera.cam_from_world[:3]
        rows += [ray[:, i : i + 1] * matrix[2] - ray[:, 2:] * matrix[i] for i in range(2)]
        rays.append(ray @ camera.cam_from_world[:3, :3])
    system = np.stack(rows, 1) * np.repeat(seen.T, 2, axis=1)[..., None]
    solution = np.linalg.svd(system)[2][:, -1] if len(system) else np.zeros((0, 4))
    with np.errstate(divide="ignore", invalid="ignore"):
        points = solution[:, :3] / solution[:, 3:]
    points[seen.sum(0) < 2] = np.nan
    error, front = _reprojection(cameras, points, xy, seen)
    return Triangulation(points, error, _parallax_deg(np.stack(rays), seen), front)


def _reprojection(
    cameras: Sequence[Camera], points: np.ndarray, xy: np.ndarray, seen: np.ndarray
) -> tuple[Float[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Return the largest error over the views that see a point, and whether it is in front of all of them."""
    error, front = np.zeros(len(points)), np.ones(len(points), bool)
    for camera, at, visible in zip(cameras, xy, seen, strict=True):
        projected, depth = project(camera, points)
        error = np.where(visible, np.maximum(error, np.linalg.norm(projected - at, axis=-1)), error)
        front &= ~visible | (depth > 0)
    return error, front


def _parallax_deg(rays: Float[np.ndarray, "v n 3"], seen: Bool[np.ndarray, "v n"]) -> Float[np.ndarray, "n"]:
    largest = np.zeros(rays.shape[1])
    for i in range(len(rays)):
        for j in range(i):
            both = seen[i] & seen[j]
            largest = np.where(both, np.maximum(largest, angle_between_deg(rays[i], rays[j])), largest)
    return largest
