"""From matches to a pose: PoseLib's LO-RANSAC, and how sure it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ...errors import bad_input
from ...geometry import transform

MIN_MATCHES = 4


@dataclass(frozen=True)
class PoseEstimate:
    """A camera found from matches between pixels and points.

    Attributes:
        cam_from_world: The pose, OpenCV axes, world units of the template.
        inliers: True for the matches that agree with it.
        n_matches: How many matches there were.
        covariance: Of a small turn (radians) and a small shift (world units) in the camera's frame, in this order:
            the inverse of the Gauss-Newton information matrix at the inliers, scaled with their residuals.
        residual_px: Root of the mean squared reprojection error of the inliers.
    """

    cam_from_world: Float[np.ndarray, "4 4"]
    inliers: Bool[np.ndarray, "m"]
    n_matches: int
    covariance: Float[np.ndarray, "6 6"]
    residual_px: float

    @property
    def n_inliers(self) -> int:
        return int(self.inliers.sum())

    @property
    def rotation_sd_deg(self) -> float:
        """Standard deviation of the rotation, degrees, as the covariance has it (it knows nothing of wrong matches)."""
        return float(np.degrees(np.sqrt(np.trace(self.covariance[:3, :3]))))


def check_intrinsics(intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Return the matrix in float64.

    Raises:
        EquiviewError: It is not a finite camera matrix.
    """
    matrix = np.asarray(intrinsics, np.float64)
    fine = matrix.shape == (3, 3) and np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not fine:
        found = f"{matrix.tolist()}" if matrix.size <= 9 else f"shape {matrix.shape}"
        raise bad_input("intrinsics", "a finite 3x3 camera matrix in pixels", found, "Check the calibration.")
    return matrix


def solve_pnp(
    xy: Float[np.ndarray, "m 2"],
    points_in_world: Float[np.ndarray, "m 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    *,
    threshold_px: float,
    min_inliers: int = 6,
    iterations: int = 10_000,
    seed: int = 0,
) -> PoseEstimate | None:
    """Find the pose most matches agree with. Deterministic for a seed.

    Args:
        xy: Pixels.
        points_in_world: The point matched with each.
        intrinsics: Of the picture, corner origin; skew is allowed.
        threshold_px: Reprojection error up to which a match agrees.
        min_inliers: Fewer are no pose.
        iterations: Of RANSAC, at most.
        seed: Of its samples.

    Returns:
        None with fewer than 4 matches or too few inliers.
    """
    intrinsics = check_intrinsics(intrinsics)
    if len(xy) < max(MIN_MATCHES, min_inliers):
        return None
    import poselib

    # PoseLib's pinhole has no skew, and its tolerances expect points of about unit size.
    centre = points_in_world.mean(0)
    scale = max(float(np.linalg.norm(points_in_world - centre, axis=1).max()), 1e-12)
    pose, info = poselib.estimate_absolute_pose(
        _without_skew(xy, intrinsics),
        (points_in_world - centre) / scale,
        _pinhole(intrinsics),
        {"max_reproj_error": threshold_px, "max_iterations": iterations, "min_iterations": 1000, "seed": seed},
        {"loss_type": "CAUCHY", "loss_scale": threshold_px / 2},
    )
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = pose.R
    cam_from_world[:3, 3] = scale * np.asarray(pose.t) - pose.R @ centre
    inliers = np.array(info["inliers"], bool)
    if inliers.sum() < min_inliers or not np.isfinite(cam_from_world).all():
        return None
    return estimate_at(cam_from_world, xy, points_in_world, intrinsics, inliers)


def _without_skew(xy: np.ndarray, intrinsics: np.ndarray) -> Float[np.ndarray, "m 2"]:
    """Return the pixels of a camera with the same focal lengths and centre but no skew."""
    rays = np.concatenate([xy, np.ones((len(xy), 1))], 1) @ np.linalg.inv(intrinsics).T
    return rays[:, :2] / rays[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]


def _pinhole(intrinsics: np.ndarray) -> dict:
    values = [float(intrinsics[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))]
    return {"model": "PINHOLE", "width": -1, "height": -1, "params": values}


def estimate_at(
    cam_from_world: Float[np.ndarray, "4 4"],
    xy: Float[np.ndarray, "m 2"],
    points_in_world: Float[np.ndarray, "m 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    inliers: Bool[np.ndarray, "m"],
) -> PoseEstimate:
    """Return a pose with the covariance its inliers give."""
    in_cam = transform(cam_from_world, points_in_world[inliers])
    projected = in_cam @ intrinsics.T
    residuals = projected[:, :2] / projected[:, 2:] - xy[inliers]
    jacobian = _jacobian(in_cam, intrinsics)
    information = np.einsum("nik,nil->kl", jacobian, jacobian)
    squared = float((residuals**2).sum())
    variance = squared / max(2 * len(in_cam) - 6, 1)
    # Scaled to a unit diagonal first: radians and world units may differ by many orders.
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    covariance = np.linalg.pinv(information / np.outer(size, size), hermitian=True) / np.outer(size, size) * variance
    rms = float(np.sqrt(squared / max(len(in_cam), 1)))
    return PoseEstimate(cam_from_world, inliers, len(xy), covariance, rms)


def _jacobian(in_cam: Float[np.ndarray, "n 3"], intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "n 2 6"]:
    """Derivative of the pixels by a turn and a shift in the camera's frame."""
    x, y, z = in_cam.T
    zero = np.zeros_like(z)
    ray = np.stack([np.stack([1 / z, zero, -x / z**2], -1), np.stack([zero, 1 / z, -y / z**2], -1)], 1)
    pixel = np.einsum("ij,njk->nik", intrinsics[:2, :2], ray)
    turn = np.stack([np.stack([zero, z, -y], -1), np.stack([-z, zero, x], -1), np.stack([y, -x, zero], -1)], 1)
    return np.concatenate([pixel @ turn, pixel], -1)
