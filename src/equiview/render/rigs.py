"""Where the cameras stand. All look at the origin, at an object whose longest side is 1."""

import numpy as np

from ..errors import bad_input
from ..geometry import look_at
from ..types import Camera

RADIUS = 2.0
FOCAL_AT_512 = 560.0  # 35 mm focal length on a 32 mm sensor: 35 * 512 / 32

# The vertices of a once subdivided icosahedron lie on nine circles of latitude and two poles. For each circle, in the
# order of the released pose file: the height of the unit vector, and the azimuths in steps of 36 degrees.
_SQRT5 = np.sqrt(5.0)
_HIGH = np.sqrt((5 + _SQRT5) / 10)  # 0.85065
_MIDDLE = np.sqrt((5 - _SQRT5) / 10)  # 0.52573
_LOW = 1 / _SQRT5  # 0.44721
_CIRCLES = (
    (-_HIGH, (7, 3, 1, 9, 5)),
    (-_MIDDLE, (2, 8, 6, 4, 0)),
    (-_LOW, (7, 3, 1, 9, 5)),
    (0.0, (6.5, 5.5, 4.5, 3.5, 2.5, 1.5, 0.5, 9.5, 8.5, 7.5)),
    (_LOW, (0, 6, 4, 2, 8)),
    (_MIDDLE, (5, 1, 9, 7, 3)),
    (_HIGH, (0, 6, 4, 2, 8)),
)
_UP = np.array([0.0, 0.0, 1.0])


def paper42(hw: tuple[int, int] = (512, 512)) -> list[Camera]:
    """Return the paper's 42 cameras: icosphere vertices at radius 2, in the order of the released `obj_poses.npy`.

    The image's up is +z, at the two poles +y. Neighbouring viewing directions are 31.7 or 36.0 degrees apart.
    Intrinsics are f = 560 px at 512 (scaled with the shorter side) and the principal point in the middle of the
    image, 256 in corner coordinates. The released code has c = 256 as well but treats integer pixel indices as ray
    coordinates, so its picture is ours shifted by half a pixel: its pixel index i is our xy coordinate i.
    Source: released code of arXiv 2411.19458, poses recomputed from the geometry.
    """
    directions = [np.array([0.0, 0.0, -1.0])]
    for height, steps in _CIRCLES:
        radius = np.sqrt(1 - height**2)
        for step in steps:
            azimuth = np.deg2rad(36.0 * step)
            directions.append(np.array([radius * np.cos(azimuth), radius * np.sin(azimuth), height]))
    directions.append(np.array([0.0, 0.0, 1.0]))
    return [_camera(direction * RADIUS, hw) for direction in directions]


def ring(
    n: int,
    elevation_deg: float | tuple[float, ...] = 20.0,
    *,
    radius: float = RADIUS,
    start_deg: float = 0.0,
    hw: tuple[int, int] = (512, 512),
) -> list[Camera]:
    """Return `n` cameras evenly around the z axis at each elevation (degrees above the xy plane), +z up."""
    _check_count(n)
    elevations = elevation_deg if isinstance(elevation_deg, tuple) else (elevation_deg,)
    cameras = []
    for elevation in np.deg2rad(elevations):
        for azimuth in np.deg2rad(start_deg + np.arange(n) * 360.0 / n):
            flat = np.cos(elevation)
            direction = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
            cameras.append(_camera(direction * radius, hw))
    return cameras


def random_rig(
    n: int, seed: int, *, radius: tuple[float, float] = (RADIUS, RADIUS), hw: tuple[int, int] = (512, 512)
) -> list[Camera]:
    """Return `n` cameras in uniformly random directions, distances and rolls. Camera i depends on (seed, i) only."""
    _check_count(n)
    cameras = []
    for index in range(n):
        rng = np.random.default_rng((seed, index))
        direction = rng.normal(size=3)
        eye = direction / np.linalg.norm(direction) * rng.uniform(*radius)
        up = rng.normal(size=3)
        cameras.append(_camera(eye, hw, up))
    return cameras


def intrinsics(hw: tuple[int, int], focal_at_512: float = FOCAL_AT_512) -> np.ndarray:
    """Return the 3x3 matrix of the paper's camera for an image of this size."""
    h, w = hw
    if h < 1 or w < 1:
        raise bad_input("image size hw", "at least 1x1 pixels", f"{h}x{w}", "Choose a larger image.")
    focal = focal_at_512 * min(h, w) / 512
    return np.array([[focal, 0, w / 2], [0, focal, h / 2], [0, 0, 1.0]])


def _camera(eye: np.ndarray, hw: tuple[int, int], up: np.ndarray = _UP) -> Camera:
    if np.linalg.norm(np.cross(eye, up)) < 1e-9:
        up = np.array([0.0, 1.0, 0.0])
    return Camera(intrinsics(hw), look_at(eye, np.zeros(3), up), hw)


def _check_count(n: int) -> None:
    if n < 1:
        raise bad_input("number of cameras", "at least 1", str(n), "Ask for more.")


def paper_subset(n_views: int, hw: tuple[int, int], seed: int) -> list[Camera]:
    """Return all 42 cameras of the paper's rig in order, or the first `n_views` of a seeded permutation."""
    cameras = paper42(hw)
    if not 1 <= n_views <= len(cameras):
        fix = "The paper's rig has 42 cameras; `equiview render --rig ring` draws any number."
        raise bad_input("views", f"1 to {len(cameras)}", str(n_views), fix)
    if n_views == len(cameras):
        return cameras
    return [cameras[i] for i in np.random.default_rng(seed).permutation(len(cameras))[:n_views]]
