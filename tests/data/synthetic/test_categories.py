"""Categories: one layout for all instances, key points on the surface, and pairs that perfect features solve."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.ndimage import minimum_filter

from equiview.data.synthetic.categories import (
    CategoryView,
    CategoryWorld,
    category_pairs,
    category_views,
    instance_mesh,
    key_points_of,
    pairs_of,
)
from equiview.data.synthetic.category_instances import CATEGORIES
from equiview.data.synthetic.category_shapes import COLUMNS, ROWS, X, Y, Z, lathe, rounded, tube
from equiview.data.synthetic.grid_mesh import grid_faces, grid_normals
from equiview.errors import EquiviewError
from equiview.matching.match import match
from equiview.models.oracle import NoiseExtractor, PictureOracle
from equiview.sampling import descriptors

SEEDS = (0, 1)
WORLD = CategoryWorld(hw=(192, 192))


@pytest.fixture(scope="module")
def views() -> list[CategoryView]:
    return category_views(SEEDS, WORLD)


def average(low: float, high: float) -> float:
    return (low + high) / 2


@pytest.mark.parametrize("name", CATEGORIES)
def test_instances_share_one_layout(name):
    build = CATEGORIES[name][0]
    instances = [build(average), *(build(np.random.default_rng(seed).uniform) for seed in range(3))]
    assert 8 <= len(instances[0].key_points) <= 16
    for instance in instances:
        assert [g.shape for g in instance.grids] == [g.shape for g in instances[0].grids]
        assert instance.materials == instances[0].materials and instance.key_points == instances[0].key_points
        assert all(np.isfinite(g).all() for g in instance.grids)
    points = [key_points_of(m, instance_mesh(m, name)) for m in instances]
    assert all(np.linalg.norm(a - b, axis=1).max() > 0.05 for a, b in zip(points[1:], points[2:], strict=False))


def test_an_instance_is_the_same_in_any_company(views):
    alone = category_views((1, 7), CategoryWorld(categories=("plane",), hw=(192, 192)))[0]
    (same,) = (v for v in views if (v.category, v.seed) == ("plane", 1))
    assert (alone.view.rgb == same.view.rgb).all() and (alone.xy == same.xy).all() and (alone.seen == same.seen).all()


def test_every_ordered_pair_of_instances_is_there(views):
    pairs = pairs_of(views)
    assert len(pairs) == len(CATEGORIES) * len(list(permutations(SEEDS, 2)))
    assert len({p.name for p in pairs}) == len(pairs) and {p.category for p in pairs} == set(CATEGORIES)
    for pair in pairs:
        assert len(pair.xy0) == len(pair.xy1) == len(pair.visible)
        assert pair.visible.sum() >= 4, pair.name
        assert min(pair.box1_wh) > 20 and max(pair.box1_wh) <= 192


def test_key_points_are_seen_where_the_picture_has_their_surface(views):
    """The surface behind the pixel of a seen key point is the one the layout names, on the average instance too."""
    off, hidden = [], 0
    for one in views:
        build = CATEGORIES[one.category][0]
        places = key_points_of(build(average), instance_mesh(build(average), one.category))
        for xy, seen, place in zip(one.xy, one.seen, places, strict=True):
            column, row = np.clip(xy.astype(int), 0, 191)
            around = one.surface.points_in_world[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            apart = np.linalg.norm(around - place, axis=-1)
            if seen:
                off.append(float(np.nanmin(apart)))
            hidden += not seen
    assert hidden > 5
    assert np.median(off) < 0.02 and np.mean(np.array(off) < 0.08) > 0.95


def test_pictures_of_a_category_differ(views):
    for a, b in zip(views[::2], views[1::2], strict=True):
        assert a.category == b.category
        shared = a.view.mask & b.view.mask
        assert np.abs(a.view.rgb[shared].astype(int) - b.view.rgb[shared]).mean() > 15


@pytest.mark.parametrize("perfect", [True, False])
def test_bounds_of_transfer(views, perfect):
    """Perfect features: every key point that is a stride inside the object, and nearly every one at a thin tip."""
    stride = 3
    source = PictureOracle([v.surface for v in views], stride) if perfect else NoiseExtractor(32, stride_px=stride)
    inside = {v.view.rgb.tobytes(): minimum_filter(v.view.mask.astype(np.uint8), 2 * stride + 1) > 0 for v in views}
    hits, inner, errors = [], [], []
    for pair in pairs_of(views):
        map0, map1 = source.maps([pair.image0, pair.image1])
        xy0, xy1 = pair.xy0[pair.visible], pair.xy1[pair.visible]
        found = match(descriptors(map0, torch.from_numpy(xy0).float()), map1).xy1.numpy()
        errors += np.linalg.norm(found - xy1, axis=1).tolist()
        hits += (np.linalg.norm(found - xy1, axis=1) < 0.1 * 192).tolist()
        ends = ((pair.image0, xy0), (pair.image1, xy1))
        inner += np.all([inside[i.tobytes()][tuple(xy.astype(int).T[::-1])] for i, xy in ends], 0).tolist()
    if perfect:
        assert sum(inner) > 10 and np.array(hits)[inner].all()
        assert np.mean(hits) > 0.97 and np.median(np.array(errors)[inner]) < stride
    else:
        assert np.mean(hits) < 0.15


@pytest.mark.parametrize(
    "grid",
    [
        tube(np.array([[0, 0, 0], [0.5, 0, 0.2], [1, 0, 0]]), np.array([0.1, 0.2, 0.1]), Y),
        tube(np.stack([Z, 0.5 * Z, 0 * Z]), np.array([0.1, 0.2, 0.1]), X, 0.3),
        rounded(X, np.array([0.3, 0.2, 0.1])),
        rounded(X, np.array([0.3, 0.2, 0.1]), 0.3),
        lathe(np.array([0.1, 0.3, 0.2]), np.array([1.0, 0.5, 0.0])),
    ],
    ids=["tube", "flat tube", "ellipsoid", "box", "lathe"],
)
def test_shapes_are_closed_and_face_outwards(grid):
    assert grid.shape == (ROWS, COLUMNS, 3)
    np.testing.assert_array_equal(grid[:, 0], grid[:, -1])
    assert np.ptp(grid[0], axis=0).max() == 0 and np.ptp(grid[-1], axis=0).max() == 0
    points = grid.reshape(-1, 3)
    a, b, c = (points[grid_faces(ROWS, COLUMNS)[:, i]] for i in range(3))
    # The volume by the divergence theorem is positive when the faces look outwards.
    volume = np.einsum("nk,nk->n", a, np.cross(b, c)).sum() / 6
    assert 0 < volume < np.prod(np.ptp(points, axis=0))
    assert np.isfinite(grid_normals(grid)).all()


def test_columns_are_where_they_say():
    straight = tube(np.stack([0 * X, 0.5 * X, X]), np.full(3, 0.1), Y)
    np.testing.assert_allclose(straight[12, 0], [0.5, 0.1, 0], atol=1e-9)
    np.testing.assert_allclose(straight[12, 6], 0.5 * X + 0.1 * np.cross(Y, X), atol=1e-9)
    ball = rounded(np.zeros(3), np.ones(3))
    for (row, column), direction in {(0, 0): Z, (12, 0): X, (12, 6): Y, (12, 12): -X, (12, 18): -Y}.items():
        np.testing.assert_allclose(ball[row, column], direction, atol=1e-9)
    box = rounded(np.zeros(3), np.ones(3), 0.1)
    np.testing.assert_allclose(box[6, 3], np.ones(3), atol=0.1)


@pytest.mark.parametrize("seeds", [(1,), (1, 1), (-1, 2)])
def test_seeds_that_make_no_pairs_are_refused(seeds):
    with pytest.raises(EquiviewError, match="two or more different"):
        category_pairs(seeds)


@pytest.mark.parametrize("names", [(), ("plane", "boat")])
def test_unknown_categories_are_refused(names):
    with pytest.raises(EquiviewError, match="categories"):
        CategoryWorld(categories=names)
