"""Semantic key points with exact truth: families of objects whose members differ in shape, paint and viewpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from ...errors import bad_input
from ...geometry import look_at
from ...render import Mesh, RenderConfig, render_view
from ...render.rigs import intrinsics
from ...render.scene import scene_of
from ...render.visibility import points_seen, shown_by_pixels
from ...types import Camera, KeypointPair, View
from .category_instances import FAMILIES, Member
from .category_paint import atlas, paint_member
from .dead_leaves import dead_leaves
from .grid_mesh import grid_mesh, grid_normals
from .pose import turn


@dataclass(frozen=True)
class FamilyWorld:
    """What the pictures of the families look like.

    Attributes:
        families: Which ones.
        hw: Size of a picture, pixels.
        spread_deg: How far the azimuth of a view may be from the family's usual one.
        clutter: A drawn background, softened; without, black.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    hw: tuple[int, int] = (320, 320)
    spread_deg: float = 25.0
    clutter: bool = True

    def __post_init__(self) -> None:
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families:
            raise bad_input(
                "families", f"some of {', '.join(FAMILIES)}", ", ".join(unknown) or "none", "Check the spelling."
            )


@dataclass(frozen=True)
class FamilyView:
    """One picture of one member.

    Attributes:
        family: The family.
        seed: The member's.
        view: The picture with its exact geometry.
        xy: The key points, pixels, hidden ones too.
        seen: True where a key point can be seen and one of the four pixels around it shows its surface.
        key_points: Their names.
        surface: The picture with, in place of the 3D point behind a pixel, the place that means the same on the
            family's average member (for `OracleExtractor`).
    """

    family: str
    seed: int
    view: View
    xy: Float[np.ndarray, "n 2"]
    seen: Bool[np.ndarray, "n"]
    key_points: tuple[str, ...]
    surface: View


def families(seeds: Sequence[int], world: FamilyWorld = FamilyWorld()) -> list[KeypointPair]:
    """Render one member of each family for each seed, and pair them.

    Args:
        seeds: Of the members; the same seed gives the same members in any company.
        world: What the pictures look like.

    Returns:
        Every ordered pair of different members of a family. Category is the family; every pair has all key points of
        the family, visible where both pictures show them (by ray casting, and in their pixels).

    Raises:
        EquiviewError: Fewer than two seeds, one twice, or a negative one.
    """
    return pairs_of(family_views(seeds, world))


def pairs_of(views: Sequence[FamilyView]) -> list[KeypointPair]:
    """Return every ordered pair of different members of a family."""
    return [
        KeypointPair(
            name=f"{source.family}-{source.seed}-{target.seed}",
            category=source.family,
            image0=source.view.rgb,
            image1=target.view.rgb,
            xy0=source.xy,
            xy1=target.xy,
            visible=source.seen & target.seen,
            box1_wh=_box_wh(target.view.mask),
        )
        for source in views
        for target in views
        if source.family == target.family and source.seed != target.seed
    ]


def family_views(seeds: Sequence[int], world: FamilyWorld = FamilyWorld()) -> list[FamilyView]:
    """Render one picture of one member of each family for each seed."""
    if len(seeds) < 2 or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise bad_input("seeds", "two or more different ones from 0", str(list(seeds)), "Use range(5).")
    return [_view(family, seed, world) for family in world.families for seed in seeds]


def _view(family: str, seed: int, world: FamilyWorld) -> FamilyView:
    build, azimuth_deg, elevation_deg = FAMILIES[family]
    rng = np.random.default_rng([seed, 0xFA3, list(FAMILIES).index(family)])
    member = build(rng.uniform)
    mesh = member_mesh(member, f"{family}-{seed}", rng)
    camera = _camera(rng, azimuth_deg, elevation_deg, world)
    behind = _background(rng, world.hw) if world.clutter else None
    view = render_view(mesh, camera, RenderConfig(light="world", ambient=0.4), behind=behind)
    key_points = key_points_of(member, mesh)
    xy, seen = points_seen(mesh, camera, key_points)
    # A tip thinner than a pixel may lie between pixels that all show what is behind it: nothing could find it there.
    seen &= shown_by_pixels(view, xy, key_points)
    average = member_mesh(build(lambda low, high: (low + high) / 2), family)
    surface = replace(view, points_in_world=_places(mesh, view, average.vertices))
    return FamilyView(family, seed, view, xy, seen, tuple(member.key_points), surface)


def member_mesh(member: Member, name: str, rng: np.random.Generator | None = None) -> Mesh:
    """Return a member as a normalised mesh; without a generator it is white."""
    normals = [grid_normals(grid) for grid in member.grids]
    size = float(np.ptp(np.concatenate([grid.reshape(-1, 3) for grid in member.grids]), axis=0).max())
    rects = atlas(len(member.grids))
    texture = np.full((2, 2, 4), 255, np.uint8) if rng is None else paint_member(rng, member, size)
    return grid_mesh(member.grids, normals, rects, texture, name)


def key_points_of(member: Member, mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    """Return where the key points are on the mesh of a member."""
    starts = np.cumsum([0, *(grid.shape[0] * grid.shape[1] for grid in member.grids)])
    index = [starts[p] + row * member.grids[p].shape[1] + column for p, row, column in member.key_points.values()]
    return mesh.vertices[index]


def _camera(
    rng: np.random.Generator, azimuth_deg: float, elevation_deg: tuple[float, float], world: FamilyWorld
) -> Camera:
    azimuth = np.deg2rad(azimuth_deg + rng.uniform(-world.spread_deg, world.spread_deg))
    elevation = np.deg2rad(rng.uniform(*elevation_deg))
    flat = np.cos(elevation)
    eye = rng.uniform(1.6, 2.1) * np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    upright = look_at(eye, rng.uniform(-0.1, 0.1, 3), np.array([0.0, 0.0, 1.0]))
    return Camera(intrinsics(world.hw), turn(np.array([0, 0, 1.0]), rng.uniform(-8, 8)) @ upright, world.hw)


def _background(rng: np.random.Generator, hw: tuple[int, int]) -> Float[np.ndarray, "h w 3"]:
    """A drawn picture, softened and with less contrast: things stand in front of it."""
    small = Image.fromarray(dead_leaves(int(rng.integers(2**31)), (max(1, hw[0] // 2), max(1, hw[1] // 2))))
    picture = np.asarray(small.resize((hw[1], hw[0]), Image.Resampling.BICUBIC), np.float32)
    return 0.6 * picture + 0.4 * picture.mean((0, 1))


def _places(mesh: Mesh, view: View, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "h w 3"]:
    """Return the point of other vertices (of the same faces) that is behind each pixel; NaN outside the mask."""
    triangle = view.triangle_id[view.mask]
    weights = scene_of(mesh).barycentric(view.points_in_world[view.mask], triangle)
    places = np.full(view.points_in_world.shape, np.nan)
    places[view.mask] = np.einsum("nk,nkc->nc", weights, vertices[mesh.faces[triangle]])
    return places


def _box_wh(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    rows, cols = np.nonzero(mask)
    return float(np.ptp(cols) + 1), float(np.ptp(rows) + 1)
