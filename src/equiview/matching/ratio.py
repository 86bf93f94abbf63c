"""One-way matches of two sets of descriptors: nearest neighbour, ratio test, and the most certain ones are kept."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from ..errors import bad_input
from .nearest import CHUNK_SIMILARITIES

_SMALLEST = 1e-9
"""Distances are not told apart below this: two equal neighbours at distance 0 make a match that is worth nothing."""


@dataclass(frozen=True)
class RatioMatches:
    """Matches, the most certain first.

    Attributes:
        index_0: Into the first set.
        index_1: Into the second set: the nearest descriptor there.
        weight: 1 - d1 / d2, d1 and d2 being the cosine distances (1 - cosine) of the nearest and the second nearest;
            without the ratio test -d1.
    """

    index_0: Int[torch.Tensor, "n"]
    index_1: Int[torch.Tensor, "n"]
    weight: Float[torch.Tensor, "n"]


def ratio_matches(
    descriptors_0: Float[torch.Tensor, "n c"],
    descriptors_1: Float[torch.Tensor, "m c"],
    count: int,
    *,
    ratio_test: bool = True,
) -> RatioMatches:
    """Match each descriptor of one set with the nearest of the other, and keep the `count` matches of largest weight.

    No match need be mutual: several descriptors may share a partner. Source: El Banani et al., CVPR 2024 (Probe3D).
    Its code without the ratio test keeps the matches that lie furthest apart; here the nearest are kept.

    Args:
        descriptors_0: L2-normalised.
        descriptors_1: L2-normalised, two or more.
        count: How many are kept; all, if there are fewer.
        ratio_test: Order by how much nearer the nearest is than the second, else by how near it is.

    Raises:
        EquiviewError: Fewer than two descriptors to choose from.

    Memory: `CHUNK_SIMILARITIES` floats besides the descriptors, whatever n and m.
    """
    if len(descriptors_1) < 2:
        fix = "Look at more of the surface: a smaller step, or views that show it."
        raise bad_input("ratio test", "two descriptors to choose from", str(len(descriptors_1)), fix)
    distances, nearest = [], []
    for chunk in descriptors_0.split(max(1, CHUNK_SIMILARITIES // len(descriptors_1))):
        best, index = (chunk @ descriptors_1.T).topk(2, dim=1)
        distances.append((1 - best).clamp(min=_SMALLEST))
        nearest.append(index[:, 0])
    first, second = torch.cat(distances).unbind(1)
    weight = 1 - first / second if ratio_test else -first
    kept, index_0 = weight.topk(min(count, len(weight)))
    return RatioMatches(index_0, torch.cat(nearest)[index_0], kept)
