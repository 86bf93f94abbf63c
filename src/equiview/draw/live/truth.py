"""Points whose true places in the other views are known: one a token, so that every click has one nearby.

Of a capture with sparse points it is the observed ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...data.correspond import correspond, correspond_in, sample_points, tracks_of
from ...sampling import token_centers
from ...types import FeatureMap, View

MAX_POINTS = 800


@dataclass(frozen=True)
class Truth:
    """Where points of each view are in every view.

    Attributes:
        xy: Points of each view, pixels.
        xy_true: Of each view, where its points are in every view, pixels; NaN where hidden or unknown.
    """

    xy: list[Float[np.ndarray, "n 2"]]
    xy_true: list[Float[np.ndarray, "v n 2"]]


def known_points(views: Sequence[View], maps: Sequence[FeatureMap]) -> Truth:
    """Return the pixel at the centre of every token on the object, and where its surface point is in every view.

    Args:
        views: Views with surface points, or a capture with tracks (observed points take the place of token centres).
        maps: Feature maps of them; only their grids are looked at.
    """
    if tracks_of(views) is not None:
        return _observed(views)
    xy = [_on_object(view, fmap) for view, fmap in zip(views, maps, strict=True)]
    found = []
    for source, points in zip(views, xy, strict=True):
        places = np.full((len(views), len(points), 2), np.nan)
        for number, target in enumerate(views):
            truth = correspond(source, target, points)
            places[number, truth.index] = truth.xy1
        found.append(places)
    return Truth(xy, found)


def _observed(views: Sequence[View]) -> Truth:
    """Return the observed points of each view, and where the views that saw them too did."""
    samples = [sample_points(views, number, MAX_POINTS, seed=0) for number in range(len(views))]
    found = []
    for number, sample in enumerate(samples):
        places = np.full((len(views), len(sample.xy), 2), np.nan)
        places[number] = sample.xy
        for other in range(len(views)):
            if other != number:
                truth = correspond_in(views, (number, other), sample)
                places[other, truth.index] = truth.xy1
        found.append(places)
    return Truth([sample.xy for sample in samples], found)


def no_points(n_views: int) -> Truth:
    """Return what is known of pictures without geometry: nothing."""
    return Truth([np.zeros((0, 2))] * n_views, [np.zeros((n_views, 0, 2))] * n_views)


def _on_object(view: View, fmap: FeatureMap) -> Float[np.ndarray, "n 2"]:
    cols, rows = np.floor(token_centers(fmap).cpu().double().numpy()).astype(int).T
    h, w = view.mask.shape
    inside = np.nonzero(view.mask[rows.clip(0, h - 1), cols.clip(0, w - 1)])[0]
    # A fine grid of a large object is thinned evenly: the page has a size.
    inside = inside[np.unique(np.linspace(0, len(inside) - 1, min(MAX_POINTS, len(inside))).astype(int))]
    return np.stack([cols[inside].clip(0, w - 1), rows[inside].clip(0, h - 1)], -1) + 0.5
