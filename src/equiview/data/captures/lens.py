"""Lens models: what a lens does to the ideal (pinhole) image, and how to undo it.

A model moves normalised ideal points (x / z, y / z) to normalised distorted ones. The kinds:

=================== ======================= ==========================================================
kind                coefficients            name elsewhere
=================== ======================= ==========================================================
perspective         k1 k2 p1 p2 k3 k4 k5 k6 OpenCV (rational), COLMAP SIMPLE_RADIAL, RADIAL, OPENCV, FULL_OPENCV
polynomial          k1 k2 p1 p2 k3 k4       nerfstudio (k4 is the factor of r^8, not a denominator)
fisheye             k1 k2 k3 k4             OpenCV fisheye, COLMAP OPENCV_FISHEYE and its shorter forms
fov                 omega                   COLMAP FOV
division            k                       COLMAP SIMPLE_DIVISION, DIVISION
thin_prism_fisheye  k1 k2 p1 p2 k3 k4 s1 s2 COLMAP THIN_PRISM_FISHEYE
=================== ======================= ==========================================================

Missing coefficients are 0, so the short models are the beginning of the long ones. The tests compare every kind
that COLMAP has with pycolmap, and the first and third with OpenCV.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from ...errors import bad_input
from ...limits import MAX_VALUE
from ...types import SMALLEST_FOCAL_PX

Points = Float[np.ndarray, "n 2"]
_STEP = 1e-6  # of the numerical derivative, in normalised units
_ITERATIONS = 40
_LARGEST_SIDE = 2**20  # Far above any picture that is read; sizes beyond it are broken files.
_SOLVED = 1e-10


def _perspective(xy: Points, k: tuple[float, ...]) -> Points:
    r2 = (xy**2).sum(-1, keepdims=True)
    radial = (1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))) / (1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])))
    return xy * radial + _tangential(xy, k[2], k[3])


def _polynomial(xy: Points, k: tuple[float, ...]) -> Points:
    r2 = (xy**2).sum(-1, keepdims=True)
    return xy * (1 + r2 * (k[0] + r2 * (k[1] + r2 * (k[4] + r2 * k[5])))) + _tangential(xy, k[2], k[3])


def _tangential(xy: Points, p1: float, p2: float) -> Points:
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    return np.stack([2 * p1 * x * y + p2 * (r2 + 2 * x * x), p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1)


def _equidistant(xy: Points) -> Points:
    """Return the points at the angle from the axis (radians) instead of its tangent."""
    r = np.linalg.norm(xy, axis=-1, keepdims=True)
    return xy * np.divide(np.arctan(r), r, out=np.ones_like(r), where=r > 1e-9)


def _fisheye(xy: Points, k: tuple[float, ...]) -> Points:
    turned = _equidistant(xy)
    t2 = (turned**2).sum(-1, keepdims=True)
    return turned * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))


def _thin_prism_fisheye(xy: Points, k: tuple[float, ...]) -> Points:
    turned = _equidistant(xy)
    t2 = (turned**2).sum(-1, keepdims=True)
    radial = 1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[4] + t2 * k[5])))
    return turned * radial + _tangential(turned, k[2], k[3]) + t2 * np.array([k[6], k[7]])


def _fov(xy: Points, k: tuple[float, ...]) -> Points:
    r = np.linalg.norm(xy, axis=-1, keepdims=True)
    slope = 2 * np.tan(k[0] / 2)
    return xy * np.divide(np.arctan(r * slope), r * k[0], out=np.full_like(r, slope / k[0]), where=r > 1e-9)


def _division(xy: Points, k: tuple[float, ...]) -> Points:
    r2 = (xy**2).sum(-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # Beyond the largest ray of the model nothing is seen: NaN.
        return xy * 2 / (1 + np.sqrt(1 - 4 * k[0] * r2))


# Kind -> number of coefficients, and what moves normalised ideal points to distorted ones.
KINDS: dict[str, tuple[int, Callable[[Points, tuple[float, ...]], Points]]] = {
    "perspective": (8, _perspective),
    "polynomial": (6, _polynomial),
    "fisheye": (4, _fisheye),
    "fov": (1, _fov),
    "division": (1, _division),
    "thin_prism_fisheye": (8, _thin_prism_fisheye),
}


@dataclass(frozen=True)
class Lens:
    """What a camera does to rays: a lens model and the intrinsics behind it.

    Attributes:
        intrinsics: 3x3 matrix in pixels, corner origin, for distorted points.
        hw: Height and width of the pictures this lens takes.
        kind: One of `KINDS`.
        coefficients: In the order of the table above; those left out at the end are 0.

    Raises:
        EquiviewError: An unknown kind, too many coefficients, a value that is not finite or far too large, or a
            focal length or a size of 0.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    hw: tuple[int, int]
    kind: str = "perspective"
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise bad_input("lens", f"one of {', '.join(KINDS)}", repr(self.kind), "Undistort the pictures first.")
        if min(self.hw) < 1 or max(self.hw) > _LARGEST_SIDE:
            expected = "pictures of at least 1x1 pixel" + f", {_LARGEST_SIDE} at most" * (min(self.hw) >= 1)
            raise bad_input("lens", expected, f"{self.hw[1]}x{self.hw[0]}", "Check the camera.")
        count = KINDS[self.kind][0]
        values = tuple(float(value) for value in self.coefficients)
        numbers = np.array([*self.intrinsics.ravel(), *values])
        usable = (np.abs(numbers) <= MAX_VALUE).all() and min(np.diag(self.intrinsics)) >= SMALLEST_FOCAL_PX
        if len(values) > count or not usable:  # NaN is not usable.
            expected = f"positive focal lengths and at most {count} coefficients, all finite"
            found = f"focal lengths {self.intrinsics[0, 0]:g} and {self.intrinsics[1, 1]:g}, coefficients {values}"
            raise bad_input(f"{self.kind} lens", expected, found, "Check the calibration.")
        if self.kind == "fov" and not any(values):  # An angle of view of 0 is a pinhole; its formula divides by it.
            object.__setattr__(self, "kind", "perspective")
            values, count = (), KINDS["perspective"][0]
        object.__setattr__(self, "coefficients", values + (0.0,) * (count - len(values)))

    @property
    def is_pinhole(self) -> bool:
        """True where distorted points are the ideal ones."""
        return self.kind in ("perspective", "polynomial", "division") and not any(self.coefficients)

    def scaled(self, hw: tuple[int, int]) -> "Lens":
        """Return the lens of the same picture at another size: one multiplication, for pixels count from the corner."""
        factors = np.diag([hw[1] / self.hw[1], hw[0] / self.hw[0], 1.0])
        return replace(self, intrinsics=factors @ self.intrinsics, hw=hw)


def pinhole(intrinsics: Float[np.ndarray, "3 3"], hw: tuple[int, int]) -> Lens:
    """Return a lens without distortion."""
    return Lens(intrinsics, hw)


def distort(lens: Lens, ideal: Points) -> Points:
    """Move normalised ideal points (x / z, y / z) to normalised distorted ones."""
    return KINDS[lens.kind][1](np.asarray(ideal, np.float64), lens.coefficients)


def jacobian(lens: Lens, ideal: Points) -> Float[np.ndarray, "n 2 2"]:
    """Return the derivative of `distort` (central differences); [..., i, j] is d out_i / d in_j."""
    columns = []
    for axis in np.eye(2) * _STEP:
        columns.append((distort(lens, ideal + axis) - distort(lens, ideal - axis)) / (2 * _STEP))
    return np.stack(columns, -1)


def one_to_one(lens: Lens, ideal: Points) -> Bool[np.ndarray, "n"]:
    """Return where the lens keeps the picture's orientation: a polynomial folds back beyond some angle."""
    found = jacobian(lens, ideal)
    with np.errstate(invalid="ignore"):
        turns = found[..., 0, 0] * found[..., 1, 1] - found[..., 0, 1] * found[..., 1, 0]
        return (turns > 1e-6) & np.isfinite(turns)


def undistort(lens: Lens, distorted: Points) -> Points:
    """Return the normalised ideal points of normalised distorted ones: Newton's method with shortened steps.

    NaN where no ideal point maps there, or only one where the model has folded back.
    """
    distorted = np.asarray(distorted, np.float64)
    if lens.is_pinhole:
        return distorted.copy()
    ideal = _first_guess(lens, distorted)
    error = distort(lens, ideal) - distorted
    for _ in range(_ITERATIONS):
        if (np.abs(error) < 1e-15).all():
            break
        step = _solved(jacobian(lens, ideal), error)
        length = np.ones((len(ideal), 1))
        for _ in range(6):  # Shorter until the error falls; a full step is almost always right.
            tried = ideal - length * step
            new = distort(lens, tried) - distorted
            worse = ~(np.linalg.norm(new, axis=-1) < np.linalg.norm(error, axis=-1))
            if not worse.any():
                break
            length[worse] /= 2
        ideal, error = np.where(worse[:, None], ideal, tried), np.where(worse[:, None], error, new)
    found = (np.linalg.norm(error, axis=-1) < _SOLVED) & one_to_one(lens, ideal)
    return np.where(found[:, None], ideal, np.nan)


def _first_guess(lens: Lens, distorted: Points) -> Points:
    if "fisheye" not in lens.kind:
        return distorted
    angle = np.linalg.norm(distorted, axis=-1, keepdims=True)
    return distorted * np.tan(np.minimum(angle, 1.4)) / np.maximum(angle, 1e-9)


def _solved(matrix: Float[np.ndarray, "n 2 2"], right: Points) -> Points:
    (a, b), (c, d) = np.moveaxis(matrix, 0, -1)
    turns = a * d - b * c
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.stack([d * right[:, 0] - b * right[:, 1], a * right[:, 1] - c * right[:, 0]], -1) / turns[:, None]
    return np.where(np.isfinite(step), step, 0.0)


def apply(matrix: Float[np.ndarray, "3 3"], xy: Points) -> Points:
    """Move points by an affine 3x3 matrix, such as intrinsics or their inverse."""
    return xy @ matrix[:2, :2].T + matrix[:2, 2]
