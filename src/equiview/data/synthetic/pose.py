"""One-shot pose with exact truth: rendered objects, reference views of the paper's rig, queries from anywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ...errors import bad_input
from ...geometry import look_at, pixel_centers, unproject
from ...render import Mesh, RenderConfig, render_view
from ...render.rigs import intrinsics, paper_subset
from ...types import Camera, PosedImage, PoseScene, View
from .dead_leaves import dead_leaves
from .occluder import covers, draw_over, random_occluder
from .procedural import procedural_mesh

DISTANCE = (1.6, 2.6)  # of a query, object sizes; the references stand at 2
ROLL_DEG = 30.0
OFF_CENTER = 0.12  # how far from the object's centre a query looks, object sizes
MODEL_POINTS = 1000


@dataclass(frozen=True)
class PoseWorld:
    """What the pictures of a pose scene look like.

    Attributes:
        references: Pictures of the template, from the paper's rig, on black.
        queries: Pictures to be located.
        hw: Their size, pixels.
        clutter: Queries have a drawn background; without, black.
        occluded: Share (0 to 0.9) of the object's pixels that something in front hides in a query.
        relit: Queries have another light (fixed to the object, another ambient share, another exposure and tint).
        noise_deg: Standard deviation of the rotation error of the references' given cameras.
        noise_cm: Standard deviation, on each axis, of the error of their given translation.
        size_cm: Longest side of the object.
    """

    references: int = 16
    queries: int = 10
    hw: tuple[int, int] = (320, 320)
    clutter: bool = True
    occluded: float = 0.0
    relit: bool = False
    noise_deg: float = 0.0
    noise_cm: float = 0.0
    size_cm: float = 15.0

    def __post_init__(self) -> None:
        if not 0 <= self.occluded <= 0.9:
            raise bad_input("occluded", "a share from 0 to 0.9", str(self.occluded), "0.3 hides a good part.")
        for name in ("noise_deg", "noise_cm"):
            if not 0 <= getattr(self, name) < np.inf:
                raise bad_input(name, "0 or more", str(getattr(self, name)), "1 is a usual error.")
        if not 0 < self.size_cm < np.inf:
            raise bad_input("size_cm", "more than 0", str(self.size_cm), "15 is the default.")
        if self.queries < 1:
            raise bad_input("queries", "at least 1", str(self.queries), "10 is the default.")


CONDITIONS = {
    "plain": PoseWorld(clutter=False),
    "clutter": PoseWorld(),
    "occluders": PoseWorld(occluded=0.3),
    "lighting": PoseWorld(relit=True),
    "noise": PoseWorld(noise_deg=1.0, noise_cm=0.3),
}


def pose_scenes(seeds: Sequence[int], world: PoseWorld = PoseWorld()) -> list[PoseScene]:
    """Render one scene for each seed.

    Args:
        seeds: Of the objects (as in `procedural_mesh`) and of everything else; the same seed gives the same scene.
        world: What the pictures look like.

    Returns:
        Scenes whose cameras, masks and depth are exact, except that the references' cameras have the noise asked for.
        World is the object, longest side 1; depth is NaN outside the mask.

    Raises:
        EquiviewError: A negative seed, or more references than the rig has cameras.
    """
    return [_scene(seed, world) for seed in seeds]


def _scene(seed: int, world: PoseWorld) -> PoseScene:
    mesh = procedural_mesh(seed)
    references = [
        _reference(mesh, camera, np.random.default_rng([seed, 0x2EF, index]), index, world)
        for index, camera in enumerate(paper_subset(world.references, world.hw, seed))
    ]
    queries = [
        _query(mesh, np.random.default_rng([seed, 0x9E2, index]), index, world) for index in range(world.queries)
    ]
    points = surface_points(mesh, MODEL_POINTS, seed)
    return PoseScene(mesh.name, references, queries, points, world.size_cm)


def _reference(mesh: Mesh, camera: Camera, rng: np.random.Generator, index: int, world: PoseWorld) -> PosedImage:
    view = render_view(mesh, camera, RenderConfig(hw=world.hw))
    given = perturbed(camera, rng, world.noise_deg, world.noise_cm / world.size_cm)
    return PosedImage(view.rgb, given, f"reference-{index:02d}", view.mask, _depth(view))


def _query(mesh: Mesh, rng: np.random.Generator, index: int, world: PoseWorld) -> PosedImage:
    camera = query_camera(rng, world.hw)
    # Every condition draws the same numbers, so that a scene differs from its twin in that condition only.
    background = int(rng.integers(2**31))
    ambient = rng.uniform(0.2, 0.6)
    gain = rng.uniform(0.55, 1.1) * np.ones(3)
    gain *= rng.uniform(0.85, 1.1, 3)
    behind = dead_leaves(background, world.hw).astype(np.float32) if world.clutter else None
    config = RenderConfig(hw=world.hw, light="world", ambient=float(ambient)) if world.relit else RenderConfig()
    view = render_view(mesh, camera, config, behind=behind)
    rgb = np.clip(np.rint(view.rgb * gain), 0, 255).astype(np.uint8) if world.relit else view.rgb
    mask, depth = view.mask, _depth(view)
    if world.occluded > 0:
        rgb, hidden = _occlude(rgb, mask, rng, world.occluded)
        mask, depth = mask & ~hidden, np.where(hidden, np.nan, depth)
    return PosedImage(rgb, camera, f"query-{index:02d}", mask, depth)


def query_camera(rng: np.random.Generator, hw: tuple[int, int]) -> Camera:
    """Draw a camera: any direction, distance within `DISTANCE`, roll and aim a little off."""
    direction = rng.normal(size=3)
    eye = direction / np.linalg.norm(direction) * rng.uniform(*DISTANCE)
    upright = look_at(eye, rng.uniform(-OFF_CENTER, OFF_CENTER, 3), np.array([0.0, 0.0, 1.0]))
    return Camera(intrinsics(hw), turn(np.array([0, 0, 1.0]), rng.uniform(-ROLL_DEG, ROLL_DEG)) @ upright, hw)


def turn(axis: Float[np.ndarray, "3"], angle_deg: float) -> Float[np.ndarray, "4 4"]:
    """Return the rotation about an axis of unit length (Rodrigues' formula) as a rigid transform."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(angle_deg)
    rigid = np.eye(4)
    rigid[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rigid


def perturbed(camera: Camera, rng: np.random.Generator, noise_deg: float, noise: float) -> Camera:
    """Return the camera as a bad calibration gives it.

    Args:
        camera: The true one.
        rng: Decides the error.
        noise_deg: Standard deviation of the angle by which the object is turned, about a random axis.
        noise: Standard deviation of the translation on each axis of the camera, world units.
    """
    axis = rng.normal(size=3)
    angle = rng.normal() * noise_deg
    shift = rng.normal(size=3) * noise
    cam_from_world = camera.cam_from_world.copy()
    cam_from_world[:3, :3] = turn(axis / np.linalg.norm(axis), angle)[:3, :3] @ cam_from_world[:3, :3]
    cam_from_world[:3, 3] += shift
    return Camera(camera.intrinsics, cam_from_world, camera.hw)


def _occlude(
    rgb: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], rng: np.random.Generator, share: float
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Draw something over a random place of the object, just large enough to hide the share of it."""
    rows, cols = np.nonzero(mask)
    at = int(rng.integers(len(rows)))
    occluder = random_occluder(rng, (cols[at] + 0.5, rows[at] + 0.5), 1.0, (mask.shape[0], mask.shape[1]))
    centers = pixel_centers((mask.shape[0], mask.shape[1]))
    low, high = 0.0, 2.0 * max(mask.shape)
    for _ in range(20):
        middle = (low + high) / 2
        hidden = covers(replace(occluder, radius_px=middle), centers[mask]).mean()
        low, high = (middle, high) if hidden < share else (low, middle)
    occluder = replace(occluder, radius_px=high)
    return draw_over(rgb, occluder), covers(occluder, centers)


def _depth(view: View) -> Float[np.ndarray, "h w"]:
    axis = view.camera.cam_from_world[2]
    return view.points_in_world @ axis[:3] + axis[3]


def surface_points(mesh: Mesh, n: int, seed: int) -> Float[np.ndarray, "n 3"]:
    """Draw points uniformly on the surface, inner surfaces included."""
    rng = np.random.default_rng([seed, 0x5A3])
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(area), n, p=area / area.sum())]
    u, v = rng.random((2, n, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return chosen[:, 0] + u * (chosen[:, 1] - chosen[:, 0]) + v * (chosen[:, 2] - chosen[:, 0])


def posed_view(posed: PosedImage) -> View:
    """Return a picture with depth as a view: the 3D point behind every pixel, by the camera it is given with.

    The surface normals are not known and NaN.

    Raises:
        EquiviewError: It has no mask or depth, or is a file.
    """
    if posed.mask is None or posed.depth is None or not isinstance(posed.image, np.ndarray):
        raise bad_input(f"picture {posed.name!r}", "pixels in memory, a mask and depth", "less", "Use a rendered one.")
    points = unproject(posed.camera, pixel_centers(posed.camera.hw), np.where(posed.mask, posed.depth, np.nan))
    normals = np.full(points.shape, np.nan, np.float32)
    triangle_id = np.where(posed.mask, 0, -1).astype(np.int32)
    return View(posed.image, posed.mask, points, normals, triangle_id, posed.camera, posed.name)
