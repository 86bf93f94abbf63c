"""Pairs of feature maps with the places that belong together: views of one object, and instances of one category."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree

from ..data.synthetic.categories import CategoryView, category_views
from ..types import FeatureMap, View
from .view_pairs import no_usable_pair, usable_pairs

POINTS = 300
"""Surface points of a view that pairs are made from."""
SAME_PLACE = 0.02
"""Places of two instances count as the same below this distance, in units of the average instance."""
FIRST_INSTANCE = 7000
"""Seeds of the instances trained on; the rendered data sets use others (`data.synthetic.rendered.set_seeds`)."""


@dataclass(frozen=True)
class TrainingPair:
    """Two maps of one object and where the same surface points are in them."""

    source: FeatureMap
    target: FeatureMap
    xy0: Float[torch.Tensor, "n 2"]
    xy1: Float[torch.Tensor, "n 2"]


def object_pairs(
    views: Sequence[View],
    maps: Sequence[FeatureMap],
    *,
    min_overlap: float = 0.1,
    max_angle_deg: float = 120.0,
    seed: int = 0,
) -> list[TrainingPair]:
    """Return the ordered pairs of views of one object that can be used.

    Args:
        views: Views of the object.
        maps: Their feature maps.
        min_overlap: Pairs that share less of the surface (0-1) are left out.
        max_angle_deg: Pairs whose viewing directions differ more are left out.
        seed: Which points.

    Raises:
        EquiviewError: There is no such pair.
    """
    pairs = [
        TrainingPair(maps[i], maps[j], _float(truth.xy0), _float(truth.xy1))
        for i, j, truth in usable_pairs(views, POINTS, min_overlap, max_angle_deg, seed)
        if len(truth)
    ]
    if not pairs:
        raise no_usable_pair(min_overlap, max_angle_deg)
    return pairs


def instance_views(count: int) -> list[CategoryView]:
    """Return one picture of each of `count` instances of every rendered category."""
    return category_views(range(FIRST_INSTANCE, FIRST_INSTANCE + count))


def category_pairs(pictures: Sequence[CategoryView], maps: Sequence[FeatureMap], seed: int = 0) -> list[TrainingPair]:
    """Return the ordered pairs of instances of one category that show 20 common places or more.

    Two pixels belong together when what they show lies at the same place of the category's average instance.

    Args:
        pictures: From `instance_views`.
        maps: Their feature maps.
        seed: Which points.
    """
    rng = np.random.default_rng([seed, 0xFA])
    places = [_places(picture) for picture in pictures]
    trees = [KDTree(where) for _, where in places]
    pairs = []
    for i, source in enumerate(pictures):
        for j, target in enumerate(pictures):
            if i == j or source.category != target.category:
                continue
            chosen = rng.permutation(len(places[i][0]))[:POINTS]
            xy0, where = (of_pixels[chosen] for of_pixels in places[i])
            distance, nearest = trees[j].query(where)
            same = distance < SAME_PLACE
            if same.sum() >= 20:
                xy1 = places[j][0][nearest[same]]
                pairs.append(TrainingPair(maps[i], maps[j], _float(xy0[same]), _float(xy1)))
    return pairs


def _places(picture: CategoryView) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 3"]]:
    """Return the pixel centres on the instance and the places on the average instance they show."""
    rows, cols = np.nonzero(picture.view.mask)
    return np.stack([cols + 0.5, rows + 0.5], 1), picture.surface.points_in_world[rows, cols]


def _float(array: np.ndarray) -> Float[torch.Tensor, "n 2"]:
    return torch.from_numpy(np.array(array, dtype=np.float32))
