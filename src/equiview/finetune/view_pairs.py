"""Which ordered pairs of views of an object share enough of it to learn from."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..data.correspond import correspond_in, sample_points
from ..errors import EquiviewError, bad_input
from ..types import Correspondences, View


def usable_pairs(
    views: Sequence[View], points: int, min_overlap: float, max_angle_deg: float, seed: int
) -> Iterator[tuple[int, int, Correspondences]]:
    """Yield the numbers of two views and what corresponds, for every ordered pair that can be used.

    Args:
        views: Views of one object.
        points: Surface points of the first view, at most.
        min_overlap: Pairs that share less of the surface (0-1) are left out.
        max_angle_deg: Pairs whose viewing directions differ more are left out.
        seed: Which points.
    """
    for i in range(len(views)):
        sampled = sample_points(views, i, points, int(np.random.SeedSequence([seed, i]).generate_state(1)[0]))
        for j in range(len(views)):
            truth = correspond_in(views, (i, j), sampled) if i != j else None
            if truth is None or truth.overlap < min_overlap or truth.angle_deg > max_angle_deg:
                continue
            yield i, j, truth


def no_usable_pair(min_overlap: float, max_angle_deg: float) -> EquiviewError:
    """Return the error to raise where no pair can be used."""
    expected = f"a pair that shares {min_overlap:.0%} of the surface within {max_angle_deg:g} degrees"
    return bad_input("training views", expected, "none", "Use more views, closer together.")
