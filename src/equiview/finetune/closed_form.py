"""A linear head from one object's correspondences, solved and not trained.

With S_n the covariance of features over unlabeled images (what tells things apart) and S_w the scatter within
correspondences (what changes with the view), the Wiener filter W = S_n (S_n + S_w / c)^-1 keeps the first and
suppresses the second. Features become W (f - m) and are compared by cosine. Where features are not centred, the mean m
matters as much as W: taken over the training object, and not over pictures, it makes the gain (docs/measurements.md).
Features centred on their own picture (`heads.CenterHead`) need none, and keep more of what they are good for elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from ..errors import bad_input
from ..models.heads import LinearHead, check_strength
from ..sampling import sample
from ..types import FeatureMap, View
from .view_pairs import no_usable_pair, usable_pairs


@dataclass(frozen=True)
class ClosedFormConfig:
    """How the head is solved.

    Attributes:
        c: Weight of the view scatter: smaller suppresses more.
        center: What m is the mean over: the training `objects`, or the unlabeled `pictures`; `none` subtracts nothing,
            for features that are centred already.
        points: Correspondences used of each ordered pair, at most.
        max_angle_deg: Pairs whose viewing directions differ more are left out.
        min_overlap: Pairs that share less of the surface (0-1) are left out.
        tokens_per_picture: Tokens drawn from each unlabeled image for S_n.
        strength: Of the head: 0 is the features as they were, 1 the head in full.
    """

    stage: str = field(default="closed_form", init=False)
    c: float = 8.0
    center: Literal["objects", "pictures", "none"] = "objects"
    points: int = 500
    max_angle_deg: float = 100.0
    min_overlap: float = 0.1
    tokens_per_picture: int = 200
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.c) and self.c > 0):
            raise bad_input("closed form c", "a number above 0", str(self.c), "8 is the default.")
        check_strength(self.strength, "recipe strength")
        if self.points < 1 or self.tokens_per_picture < 1:
            found = f"{self.points} points, {self.tokens_per_picture} tokens"
            raise bad_input("closed form", "at least one point and one token", found, "Raise it.")


@dataclass(frozen=True)
class PictureStatistics:
    """Mean and covariance of a backbone's features over unlabeled images; `n` tokens went in."""

    mean: Float[np.ndarray, "c"]
    covariance: Float[np.ndarray, "c c"]
    n: int


def picture_statistics(maps: Iterable[FeatureMap], tokens_per_picture: int = 200, seed: int = 0) -> PictureStatistics:
    """Accumulate mean and covariance over unlabeled images, one feature map in memory at a time.

    Raises:
        EquiviewError: No pictures.
    """
    total, outer, n = 0.0, 0.0, 0
    for number, fmap in enumerate(maps):
        tokens = fmap.tokens.flatten(1).T.cpu().double().numpy()
        chosen = np.random.default_rng([seed, number]).permutation(len(tokens))[:tokens_per_picture]
        total, outer, n = total + tokens[chosen].sum(0), outer + tokens[chosen].T @ tokens[chosen], n + len(chosen)
    if n == 0:
        raise bad_input("pictures", "at least one picture", "none", "Give a folder of photos, or leave --photos out.")
    mean = np.asarray(total) / n
    return PictureStatistics(mean, np.asarray(outer) / n - np.outer(mean, mean), n)


@dataclass(frozen=True)
class ViewStatistics:
    """What correspondences say: `scatter` = mean (a - b)(a - b)^T / 2, `mean` = mean of all a and b, `n` of them."""

    mean: Float[np.ndarray, "c"]
    scatter: Float[np.ndarray, "c c"]
    n: int


def view_statistics(
    objects: Iterable[tuple[Sequence[View], Sequence[FeatureMap]]], config: ClosedFormConfig, seed: int = 0
) -> ViewStatistics:
    """Accumulate the mean and the scatter of corresponding features, one pair of views at a time.

    Args:
        objects: For each training object its views and their feature maps.
        config: Which pairs and how many points.
        seed: Which points.

    Raises:
        EquiviewError: No pair of views overlaps enough.
    """
    total, outer, n = 0.0, 0.0, 0
    for views, maps in objects:
        for i, j, truth in usable_pairs(views, config.points, config.min_overlap, config.max_angle_deg, seed):
            a = sample(maps[i], torch.from_numpy(truth.xy0).float()).cpu().double().numpy()
            b = sample(maps[j], torch.from_numpy(truth.xy1).float()).cpu().double().numpy()
            total, outer, n = total + (a + b).sum(0) / 2, outer + (a - b).T @ (a - b) / 2, n + len(a)
    if n == 0:
        raise no_usable_pair(config.min_overlap, config.max_angle_deg)
    return ViewStatistics(np.asarray(total) / n, np.asarray(outer) / n, n)


def wiener_matrix(
    covariance: Float[np.ndarray, "c c"], scatter: Float[np.ndarray, "c c"], c: float = 1.0
) -> Float[np.ndarray, "c c"]:
    """Return S_n (S_n + S_w / c)^-1 in float64.

    A 1e-6 ridge relative to the mean variance keeps the solve defined when the features do not span all
    dimensions (few pictures, dead channels).
    """
    both = covariance + scatter / c
    ridge = 1e-6 * np.trace(both) / len(both) * np.eye(len(both))
    return np.linalg.solve((both + ridge).T, covariance.T).T


def solve_closed_form(pictures: PictureStatistics, views: ViewStatistics, config: ClosedFormConfig) -> LinearHead:
    """Return the Wiener head W (f - m), or part of the way there (see `LinearHead`)."""
    matrix = wiener_matrix(pictures.covariance, views.scatter, config.c)
    mean = {"objects": views.mean, "pictures": pictures.mean, "none": np.zeros_like(views.mean)}[config.center]
    return LinearHead(torch.from_numpy(matrix).float(), torch.from_numpy(mean).float(), config.strength)


def whitening_matrix(
    total: Float[np.ndarray, "c c"], scatter: Float[np.ndarray, "c c"], shrinkage: float = 0.1
) -> Float[np.ndarray, "c c"]:
    """Return (S_w + shrinkage mean(diag S_t) I)^(-1/2), symmetric: the older closed form, kept to be compared with.

    It matches across views about as well as the Wiener filter and costs more elsewhere, because it flattens the
    spectrum of what tells things apart.

    Args:
        total: Covariance S_t of all features that went into the scatter.
        scatter: S_w, see `view_statistics`.
        shrinkage: Share of the mean variance added to every direction.
    """
    values, vectors = np.linalg.eigh(scatter + shrinkage * np.trace(total) / len(total) * np.eye(len(total)))
    return (vectors / np.sqrt(values)) @ vectors.T
