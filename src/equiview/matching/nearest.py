"""Nearest-neighbour search over tokens: fast, and bounded in memory whatever the image size."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int

from ..sampling import token_centers
from ..types import FeatureMap

# Similarities are formed for this many (query, token) pairs at a time: 16 MB in float32.
CHUNK_SIMILARITIES = 4_000_000


def token_mask(fmap: FeatureMap, mask: Bool[torch.Tensor, "h w"]) -> Bool[torch.Tensor, "hw"]:
    """Return True for the tokens whose centre pixel lies in an image mask."""
    column_row = token_centers(fmap).floor().long()
    cols = column_row[:, 0].clamp(0, mask.shape[1] - 1)
    rows = column_row[:, 1].clamp(0, mask.shape[0] - 1)
    return mask.to(fmap.tokens.device)[rows, cols]


def similarity_chunks(
    descriptors: Float[torch.Tensor, "n c"], target: FeatureMap
) -> Iterator[Float[torch.Tensor, "k hw"]]:
    """Yield the cosine of every descriptor and token, some descriptors at a time and in order.

    Memory: `CHUNK_SIMILARITIES` floats, whatever the number of descriptors.

    Args:
        descriptors: L2-normalised.
        target: Its tokens are L2-normalised here.
    """
    tokens = F.normalize(target.tokens.float().flatten(1), dim=0, eps=1e-12)
    for chunk in descriptors.to(tokens).split(max(1, CHUNK_SIMILARITIES // tokens.shape[1])):
        yield chunk @ tokens


def mutual_nearest(
    descriptors_0: Float[torch.Tensor, "n c"],
    descriptors_1: Float[torch.Tensor, "m c"],
    allowed: Callable[[slice], Bool[torch.Tensor, "k m"]] | None = None,
) -> tuple[Int[torch.Tensor, "p"], Int[torch.Tensor, "p"], Float[torch.Tensor, "p"]]:
    """Find the pairs that are each other's most similar: bounded memory, one pass over blocks of rows.

    Args:
        descriptors_0: One set; similarities are dot products, cosines for unit vectors.
        descriptors_1: The other.
        allowed: Given a slice of rows of set 0, which columns they may be matched with (an epipolar band, say); all
            when None. A row or column without an allowed partner has no match.

    Returns:
        Indices into set 0 (ascending), indices into set 1, and the similarities. Of equal similarities the first wins.

    Memory: `CHUNK_SIMILARITIES` floats besides the descriptors, whatever n and m.
    """
    n, m = len(descriptors_0), len(descriptors_1)
    device = descriptors_0.device
    if n == 0 or m == 0:
        empty = torch.zeros(0, dtype=torch.long, device=device)
        return empty, empty.clone(), torch.zeros(0, device=device)
    best_of_0 = torch.zeros(n, dtype=torch.long, device=device)
    score_of_0 = torch.empty(n, dtype=descriptors_0.dtype, device=device)
    best_of_1 = torch.zeros(m, dtype=torch.long, device=device)
    score_of_1 = torch.full((m,), -torch.inf, dtype=descriptors_0.dtype, device=device)
    step = max(1, CHUNK_SIMILARITIES // m)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        similarity = descriptors_0[rows] @ descriptors_1.T
        if allowed is not None:
            similarity = similarity.masked_fill(~allowed(rows), -torch.inf)
        score_of_0[rows], best_of_0[rows] = similarity.max(dim=1)
        score, row = similarity.max(dim=0)
        better = score > score_of_1
        best_of_1 = torch.where(better, row + start, best_of_1)
        score_of_1 = torch.where(better, score, score_of_1)
    index_0 = torch.arange(n, device=device)
    mutual = (best_of_1[best_of_0] == index_0) & torch.isfinite(score_of_0)
    return index_0[mutual], best_of_0[mutual], score_of_0[mutual]
