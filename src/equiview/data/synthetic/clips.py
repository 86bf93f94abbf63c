"""Clips with exact tracks: an object that turns and moves in front of a moving picture, and something passing by.

Three layers, each with a formula: the object is a mesh seen by a camera that moves around it (the same as the object
moving), the background is a picture under a similarity, the occluder an outline that slides. So the place of a point in
every frame, and what hides it there, are known exactly and not read off the pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ...errors import bad_input
from ...geometry import look_at, pixel_centers, project
from ...render import Mesh, RenderConfig, render_view
from ...render.rigs import RADIUS, intrinsics
from ...render.texture import bilinear
from ...render.visibility import covered_by_mesh, inside_frame, points_seen
from ...types import Camera, Clip, View
from .dead_leaves import dead_leaves
from .occluder import Occluder, covers, draw_over, picture_xy, random_occluder
from .pose import turn
from .procedural import procedural_mesh

BACKGROUND_SCALE = 1.7  # the background's picture is larger than the frame, so that it never ends


@dataclass(frozen=True)
class ClipWorld:
    """What a clip looks like.

    Attributes:
        frames: How many.
        hw: Their size, pixels.
        object_points: Tracks that start on the object in frame 0.
        background_points: Tracks that start beside it.
        turn_deg: How far the object turns in all.
        occluder: Something passes in front of the object.
        ambient: Share of the light that does not depend on the normal; with 1 a point keeps its colour.
    """

    frames: int = 24
    hw: tuple[int, int] = (256, 256)
    object_points: int = 24
    background_points: int = 6
    turn_deg: float = 60.0
    occluder: bool = True
    ambient: float = 0.6

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise bad_input("frames", "at least 2", str(self.frames), "24 is the default.")
        if min(self.object_points, self.background_points) < 0 or self.object_points + self.background_points < 1:
            found = f"{self.object_points} and {self.background_points}"
            raise bad_input(
                "points on object and background", "at least one in all", found, "24 and 6 are the default."
            )


@dataclass(frozen=True)
class Motion:
    """Where everything is in one frame.

    Attributes:
        camera: World is the object.
        background_from_frame: 2x3 matrix, pixels of the frame to pixels of the background's picture.
        occluder: What passes in front, or None.
    """

    camera: Camera
    background_from_frame: Float[np.ndarray, "2 3"]
    occluder: Occluder | None


@dataclass(frozen=True)
class RenderedClip:
    """A clip and all that is known about its pixels.

    Attributes:
        clip: What a tracker gets, and the truth.
        surfaces: Each frame as a view without holes for `OracleExtractor` (radius 2): in place of its 3D point, a pixel
            has a position that the same surface point has in every frame. The object has its own coordinates;
            background and occluder lie in two planes apart from it. `triangle_id` is the mesh's; these two have the
            two numbers after its last.
        motions: Where everything is, a frame each.
        mesh: The object.
    """

    clip: Clip
    surfaces: list[View]
    motions: list[Motion]
    mesh: Mesh


def clips(seeds: Sequence[int], world: ClipWorld = ClipWorld()) -> list[Clip]:
    """Render one clip for each seed, frames in memory.

    Args:
        seeds: Of the objects (as in `procedural_mesh`) and of everything else; the same seed gives the same clip.
        world: What the clips look like.

    Returns:
        Clips whose every point is known in every frame (in and out of the frame, hidden or not) and visible in frame 0.
        Tracks on the object come first.

    Raises:
        EquiviewError: A negative seed.
    """
    return [rendered_clip(seed, world).clip for seed in seeds]


def rendered_clip(seed: int, world: ClipWorld = ClipWorld()) -> RenderedClip:
    """Render one clip and keep what is known about its pixels."""
    mesh = procedural_mesh(seed)
    rng = np.random.default_rng([seed, 0xC11B])
    picture = dead_leaves(int(rng.integers(2**31)), _background_hw(world.hw))
    motions = _motions(rng, world)
    surfaces = [_draw(mesh, picture, motion, world, index) for index, motion in enumerate(motions)]
    points, anchors = _start(rng, surfaces[0], motions[0], world, len(mesh.faces))
    tracks = [_where(mesh, motion, points, anchors) for motion in motions]
    xy, visible = np.stack([t[0] for t in tracks], 1), np.stack([t[1] for t in tracks], 1)
    frames = tuple(view.rgb for view in surfaces)
    clip = Clip(f"clip-{seed}", frames, world.hw, xy, visible, np.ones(visible.shape, bool))
    return RenderedClip(clip, surfaces, motions, mesh)


def _background_hw(hw: tuple[int, int]) -> tuple[int, int]:
    return round(BACKGROUND_SCALE * hw[0]), round(BACKGROUND_SCALE * hw[1])


def _motions(rng: np.random.Generator, world: ClipWorld) -> list[Motion]:
    """Draw a smooth motion of all layers: the object along an arc, the background under a slow similarity."""
    h, w = world.hw
    eye, axis = rng.normal(size=(2, 3))
    first = look_at(eye / np.linalg.norm(eye), np.zeros(3), rng.normal(size=3))
    heading = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(heading), np.sin(heading), 0]) * rng.uniform(0.25, 0.5)
    arc = np.array([-np.sin(heading), np.cos(heading), 0]) * rng.uniform(-0.2, 0.2)
    nearer = rng.uniform(-0.25, 0.25)
    wobble = rng.uniform(0.15, 0.3)
    pan = rng.uniform(-0.12, 0.12, 2) * (w, h)
    spin = rng.uniform(-8, 8)
    zoom = rng.uniform(-0.1, 0.1)
    passer = random_occluder(rng, (0, 0), rng.uniform(0.11, 0.17) * min(h, w), world.hw)
    sideways = heading + np.pi / 2 + rng.uniform(-0.6, 0.6)
    motions = []
    for t in np.linspace(-0.5, 0.5, world.frames):
        place = [0, 0, RADIUS] + 2 * t * along + np.cos(2 * np.pi * t) * arc + [0, 0, 2 * t * nearer]
        cam_from_world = np.eye(4)
        # Not at constant speed, so that a tracker cannot get by with extrapolation.
        angle = world.turn_deg * (t + wobble / (2 * np.pi) * np.sin(2 * np.pi * t))
        cam_from_world[:3, :3] = (turn(axis / np.linalg.norm(axis), angle) @ first)[:3, :3]
        cam_from_world[:3, 3] = place
        camera = Camera(intrinsics(world.hw), cam_from_world, world.hw)
        middle = project(camera, np.zeros((1, 3)))[0][0]
        at = middle + 1.9 * t * min(h, w) * np.array([np.cos(sideways), np.sin(sideways)])
        occluder = replace(passer, center_xy=(float(at[0]), float(at[1]))) if world.occluder else None
        motions.append(Motion(camera, _similarity(2 * t * pan, 2 * t * spin, 1 + 2 * t * zoom, world.hw), occluder))
    return motions


def _similarity(
    shift: Float[np.ndarray, "2"], angle_deg: float, scale: float, hw: tuple[int, int]
) -> Float[np.ndarray, "2 3"]:
    """Return background_from_frame that turns and scales about both middles and then shifts."""
    c, s = scale * np.cos(np.deg2rad(angle_deg)), scale * np.sin(np.deg2rad(angle_deg))
    linear = np.array([[c, -s], [s, c]])
    middle, target = np.array(hw[::-1]) / 2, np.array(_background_hw(hw)[::-1]) / 2
    return np.concatenate([linear, (target + shift - linear @ middle)[:, None]], 1)


def _apply(matrix: Float[np.ndarray, "2 3"], xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    return xy @ matrix[:, :2].T + matrix[:, 2]


def _draw(mesh: Mesh, picture: UInt8[np.ndarray, "h w 3"], motion: Motion, world: ClipWorld, index: int) -> View:
    """Draw one frame, with the lasting position of the surface behind every pixel."""
    size = np.array(picture.shape[1::-1])
    centers = pixel_centers(world.hw)
    in_picture = _apply(motion.background_from_frame, centers)
    behind = 255 * bilinear(picture, (in_picture / size).reshape(-1, 2), ("mirror", "mirror")).reshape(*world.hw, 3)
    view = render_view(mesh, motion.camera, RenderConfig(ambient=world.ambient), index=index, behind=behind)
    points = np.where(view.mask[..., None], view.points_in_world, _plane(in_picture / size, 1.4))
    triangle_id = np.where(view.mask, view.triangle_id, len(mesh.faces)).astype(np.int32)
    rgb = view.rgb
    if motion.occluder is not None:
        covered = covers(motion.occluder, centers)
        rgb = draw_over(rgb, motion.occluder)
        own = picture_xy(motion.occluder, centers) / motion.occluder.picture.shape[1::-1]
        points = np.where(covered[..., None], _plane(np.clip(own, 0, 1), -1.4), points)
        triangle_id = np.where(covered, len(mesh.faces) + 1, triangle_id).astype(np.int32)
    return replace(view, rgb=rgb, mask=np.ones(world.hw, bool), points_in_world=points, triangle_id=triangle_id)


def _plane(unit_xy: Float[np.ndarray, "h w 2"], z: float) -> Float[np.ndarray, "h w 3"]:
    """Positions from -0.8 to 0.8 in a plane that the object (within 0.87 of the origin) does not reach."""
    return np.concatenate([1.6 * unit_xy - 0.8, np.full((*unit_xy.shape[:2], 1), z)], -1)


def _start(
    rng: np.random.Generator, frame: View, motion: Motion, world: ClipWorld, n_faces: int
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "m 2"]]:
    """Draw pixels of frame 0: 3D points on the object, and places in the background's picture."""
    chosen = []
    for where, n in ((frame.triangle_id < n_faces, world.object_points), (frame.triangle_id == n_faces, None)):
        rows, cols = np.nonzero(where)
        picked = rng.permutation(len(rows))[: world.background_points if n is None else n]
        chosen.append((rows[picked], cols[picked]))
    (rows, cols), (back_rows, back_cols) = chosen
    anchors = _apply(motion.background_from_frame, np.stack([back_cols, back_rows], 1) + 0.5)
    return frame.points_in_world[rows, cols], anchors


def _where(
    mesh: Mesh, motion: Motion, points: Float[np.ndarray, "n 3"], anchors: Float[np.ndarray, "m 2"]
) -> tuple[Float[np.ndarray, "k 2"], Bool[np.ndarray, "k"]]:
    """Return pixels and visibility of all tracks in one frame."""
    xy, seen = points_seen(mesh, motion.camera, points)
    linear = motion.background_from_frame[:, :2]
    at = (anchors - motion.background_from_frame[:, 2]) @ np.linalg.inv(linear).T
    free = inside_frame(at, motion.camera.hw) & ~covered_by_mesh(mesh, motion.camera, at)
    xy, seen = np.concatenate([xy, at]), np.concatenate([seen, free])
    return xy, seen if motion.occluder is None else seen & ~covers(motion.occluder, xy)
