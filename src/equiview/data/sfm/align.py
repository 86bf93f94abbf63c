"""Two sets of cameras of the same pictures, compared after the best similarity between their frames."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from ...errors import bad_input
from ...records import Settings

_ROUNDS, _KEEP_WITHIN = 10, 5.0
_TRIALS, _SPREAD = 300, 0.05


@dataclass(frozen=True)
class Similarity:
    """Moves points from frame a to frame b: `scale * rotation @ x_in_a + translation`.

    Attributes:
        scale: Units of b in one of a.
        rotation: 3x3, determinant +1.
        translation: In units of b.
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def __call__(self, x_in_a: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return the points in frame b."""
        return self.scale * x_in_a @ self.rotation.T + self.translation


def umeyama(x_in_a: Float[np.ndarray, "n 3"], x_in_b: Float[np.ndarray, "n 3"]) -> Similarity:
    """Return the similarity with the least squared distance between `b` and moved `a`.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991.

    Raises:
        EquiviewError: Fewer than three points, or all on a line: the rotation is not determined.
    """
    mean_a, mean_b = x_in_a.mean(0), x_in_b.mean(0)
    a, b = x_in_a - mean_a, x_in_b - mean_b
    spread = np.linalg.svd(a, compute_uv=False)
    if len(a) < 3 or spread[1] < 1e-9 * max(spread[0], 1e-300):
        found = f"{len(a)} in one place or on a line" if len(a) >= 3 else str(len(a))
        raise bad_input("camera centres to align", "three that are not on a line", found, "Compare more pictures.")
    rotation = Rotation.align_vectors(b, a)[0].as_matrix()
    scale = float((b * (a @ rotation.T)).sum() / (a**2).sum())
    return Similarity(scale, rotation, mean_b - scale * rotation @ mean_a)


def robust_umeyama(
    x_in_a: Float[np.ndarray, "n 3"], x_in_b: Float[np.ndarray, "n 3"]
) -> tuple[Similarity, Bool[np.ndarray, "n"]]:
    """Return the similarity of the cameras that agree, and which these are.

    It begins with the best of `umeyama` of all and of many of four (least median of squares), so that up to half may be
    wrong. Those further off than five times the median distance are left out of the next fit, until nothing changes.
    With cameras that agree all over, it is `umeyama` of all of them.
    """
    found = umeyama(x_in_a, x_in_b)
    rng = np.random.default_rng(0)
    for _ in range(_TRIALS if len(x_in_a) > 4 else 0):
        four = rng.choice(len(x_in_a), 4, replace=False)
        if np.linalg.svd(x_in_a[four] - x_in_a[four].mean(0), compute_uv=False)[1] > _SPREAD * np.ptp(x_in_a):
            tried = umeyama(x_in_a[four], x_in_b[four])
            if np.median(_distance(tried, x_in_a, x_in_b)) < np.median(_distance(found, x_in_a, x_in_b)):
                found = tried
    kept = np.zeros(len(x_in_a), bool)
    for _ in range(_ROUNDS):
        distance = _distance(found, x_in_a, x_in_b)
        # Below rounding errors every distance is as good as none.
        limit = max(_KEEP_WITHIN * float(np.median(distance)), 1e-9 * float(np.ptp(x_in_b, axis=0).max()))
        now = distance <= limit
        if (now == kept).all() or now.sum() < 3:
            break
        kept, found = now, umeyama(x_in_a[now], x_in_b[now])
    return found, kept


def _distance(
    b_from_a: Similarity, x_in_a: Float[np.ndarray, "n 3"], x_in_b: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n"]:
    return np.linalg.norm(b_from_a(x_in_a) - x_in_b, axis=1)


@dataclass(frozen=True)
class CameraDifference:
    """How recovered cameras differ from given ones after alignment.

    Attributes:
        images: Cameras compared.
        left_out: Cameras the alignment did not use because they disagree; the errors below count them all the same.
        scale: Given units in one recovered unit.
        scene_size: Diagonal of the bounding box of the given camera centres, given units.
        rotation_error_deg_median: Median angle between given and recovered rotation.
        rotation_error_deg_max: The largest.
        position_error_percent_median: Median distance of the camera centres, percent of `scene_size`.
        position_error_percent_max: The largest.
    """

    images: int
    left_out: int
    scale: float
    scene_size: float
    rotation_error_deg_median: float
    rotation_error_deg_max: float
    position_error_percent_median: float
    position_error_percent_max: float

    def as_json(self) -> Settings:
        """Return the numbers by name."""
        return asdict(self)


def compare_cameras(
    cam_from_given: Float[np.ndarray, "n 4 4"], cam_from_found: Float[np.ndarray, "n 4 4"]
) -> CameraDifference:
    """Compare the same pictures' cameras in two world frames.

    Args:
        cam_from_given: The reference.
        cam_from_found: The recovered ones, their frame arbitrary up to a similarity.

    Raises:
        EquiviewError: Fewer than three cameras, or all centres on a line.
    """
    given, found = _centers(cam_from_given), _centers(cam_from_found)
    given_from_found, kept = robust_umeyama(found, given)
    distance = _distance(given_from_found, found, given)
    size = float(np.linalg.norm(np.ptp(given, axis=0)))
    # cam_from_given should be cam_from_found @ found_from_given.
    expected = cam_from_found[:, :3, :3] @ given_from_found.rotation.T
    degrees = rotation_angles_deg(expected @ cam_from_given[:, :3, :3].transpose(0, 2, 1))
    percent = 100 * distance / size
    return CameraDifference(
        images=len(given),
        left_out=int((~kept).sum()),
        scale=given_from_found.scale,
        scene_size=size,
        rotation_error_deg_median=float(np.median(degrees)),
        rotation_error_deg_max=float(degrees.max()),
        position_error_percent_median=float(np.median(percent)),
        position_error_percent_max=float(percent.max()),
    )


def rotation_angles_deg(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n"]:
    """Return the angle of each rotation in degrees."""
    return np.degrees(Rotation.from_matrix(rotations).magnitude())


def _centers(cam_from_world: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 3"]:
    return -np.einsum("nji,nj->ni", cam_from_world[:, :3, :3], cam_from_world[:, :3, 3])
