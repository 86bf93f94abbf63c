"""Semantic key points with exact truth: categories of objects whose instances differ in shape, paint and viewpoint."""

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
from .category_instances import CATEGORIES, Instance
from .category_paint import atlas, paint_instance
from .dead_leaves import dead_leaves
from .grid_mesh import grid_mesh, grid_normals
from .pose import turn


@dataclass(frozen=True)
class CategoryWorld:
    """Which categories are rendered, and what their pictures look like.

    Attributes:
        categories: Names of the categories.
        hw: Size of a picture, pixels.
        spread_deg: How far the azimuth of a view may be from the category's usual one.
        clutter: A drawn background, softened; without, black.
    """

    categories: tuple[str, ...] = tuple(CATEGORIES)
    hw: tuple[int, int] = (320, 320)
    spread_deg: float = 25.0
    clutter: bool = True

    def __post_init__(self) -> None:
        unknown = sorted(set(self.categories) - set(CATEGORIES))
        if unknown or not self.categories:
            raise bad_input(
                "categories", f"some of {', '.join(CATEGORIES)}", ", ".join(unknown) or "none", "Check the spelling."
            )


@dataclass(frozen=True)
class CategoryView:
    """One picture of one instance.

    Attributes:
        category: Name of the category.
        seed: Seed of the instance.
        view: The picture with its exact geometry.
        xy: The key points, pixels, hidden ones too.
        seen: True where a key point can be seen and one of the four pixels around it shows its surface.
        key_points: Their names.
        surface: The picture with, in place of the 3D point behind a pixel, the place that means the same on the
            category's average instance (for `OracleExtractor`).
    """

    category: str
    seed: int
    view: View
    xy: Float[np.ndarray, "n 2"]
    seen: Bool[np.ndarray, "n"]
    key_points: tuple[str, ...]
    surface: View


def category_pairs(seeds: Sequence[int], world: CategoryWorld = CategoryWorld()) -> list[KeypointPair]:
    """Render one instance of each category for each seed, and pair them.

    Args:
        seeds: Of the instances; the same seed gives the same instances, whatever other seeds are given.
        world: What the pictures look like.

    Returns:
        Every ordered pair of different instances of a category. A pair has all key points of its category; they are
        visible where both pictures show them (by ray casting, and in their pixels).

    Raises:
        EquiviewError: Fewer than two seeds, one twice, or a negative one.
    """
    return pairs_of(category_views(seeds, world))


def pairs_of(views: Sequence[CategoryView]) -> list[KeypointPair]:
    """Return every ordered pair of different instances of a category."""
    return [
        KeypointPair(
            name=f"{source.category}-{source.seed}-{target.seed}",
            category=source.category,
            image0=source.view.rgb,
            image1=target.view.rgb,
            xy0=source.xy,
            xy1=target.xy,
            visible=source.seen & target.seen,
            box1_wh=_box_wh(target.view.mask),
        )
        for source in views
        for target in views
        if source.category == target.category and source.seed != target.seed
    ]


def category_views(seeds: Sequence[int], world: CategoryWorld = CategoryWorld()) -> list[CategoryView]:
    """Render one picture of one instance of each category for each seed."""
    if len(seeds) < 2 or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise bad_input("seeds", "two or more different ones from 0", str(list(seeds)), "Use range(5).")
    return [_view(category, seed, world) for category in world.categories for seed in seeds]


def _view(category: str, seed: int, world: CategoryWorld) -> CategoryView:
    build, azimuth_deg, elevation_deg = CATEGORIES[category]
    rng = np.random.default_rng([seed, 0xFA3, list(CATEGORIES).index(category)])
    instance = build(rng.uniform)
    mesh = instance_mesh(instance, f"{category}-{seed}", rng)
    camera = _camera(rng, azimuth_deg, elevation_deg, world)
    behind = _background(rng, world.hw) if world.clutter else None
    view = render_view(mesh, camera, RenderConfig(light="world", ambient=0.4), behind=behind)
    key_points = key_points_of(instance, mesh)
    xy, seen = points_seen(mesh, camera, key_points)
    # A tip thinner than a pixel may lie between pixels that all show what is behind it: nothing could find it there.
    seen &= shown_by_pixels(view, xy, key_points)
    average = instance_mesh(build(lambda low, high: (low + high) / 2), category)
    surface = replace(view, points_in_world=_places(mesh, view, average.vertices))
    return CategoryView(category, seed, view, xy, seen, tuple(instance.key_points), surface)


def instance_mesh(instance: Instance, name: str, rng: np.random.Generator | None = None) -> Mesh:
    """Return an instance as a normalised mesh; without a generator it is white."""
    normals = [grid_normals(grid) for grid in instance.grids]
    size = float(np.ptp(np.concatenate([grid.reshape(-1, 3) for grid in instance.grids]), axis=0).max())
    rects = atlas(len(instance.grids))
    texture = np.full((2, 2, 4), 255, np.uint8) if rng is None else paint_instance(rng, instance, size)
    return grid_mesh(instance.grids, normals, rects, texture, name)


def key_points_of(instance: Instance, mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    """Return where the key points are on the mesh of an instance."""
    starts = np.cumsum([0, *(grid.shape[0] * grid.shape[1] for grid in instance.grids)])
    index = [starts[p] + row * instance.grids[p].shape[1] + column for p, row, column in instance.key_points.values()]
    return mesh.vertices[index]


def _camera(
    rng: np.random.Generator, azimuth_deg: float, elevation_deg: tuple[float, float], world: CategoryWorld
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
