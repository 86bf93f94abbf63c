"""Nearest tokens with a sub-token fit: fast, and bounded in memory whatever the image size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int

from ..errors import bad_input
from ..sampling import pixel_from_token, token_centers
from ..types import FeatureMap, Matches

# Similarities are formed for this many (query, token) pairs at a time: 16 MB in float32.
CHUNK_SIMILARITIES = 4_000_000


def token_mask(fmap: FeatureMap, mask: Bool[torch.Tensor, "h w"]) -> Bool[torch.Tensor, "hw"]:
    """Return True for the tokens whose centre pixel lies in an image mask."""
    column_row = token_centers(fmap).floor().long()
    cols = column_row[:, 0].clamp(0, mask.shape[1] - 1)
    rows = column_row[:, 1].clamp(0, mask.shape[0] - 1)
    return mask.to(fmap.tokens.device)[rows, cols]


def match(
    descriptors: Float[torch.Tensor, "n c"],
    target: FeatureMap,
    allowed: Bool[torch.Tensor, "hw"] | None = None,
    *,
    subtoken: bool = True,
) -> Matches:
    """Find each descriptor's best place in the target: arg-max over tokens, then a local sub-token fit.

    Args:
        descriptors: L2-normalised query descriptors.
        target: Target tokens; they are L2-normalised here, so scores are cosines.
        allowed: Tokens that may win (see `token_mask`); all when None. The sub-token fit may still look at the
            winner's neighbours outside.
        subtoken: Fit a parabola through the winner and its neighbours, per axis. False keeps token centres.

    Returns:
        Pixels in the target image and the winners' cosine.

    Raises:
        EquiviewError: No token is allowed.
    """
    return match_regions(descriptors, target, [allowed], subtoken=subtoken)[0]


def match_regions(
    descriptors: Float[torch.Tensor, "n c"],
    target: FeatureMap,
    regions: Sequence[Bool[torch.Tensor, "hw"] | None],
    *,
    subtoken: bool = True,
) -> list[Matches]:
    """Do what `match` does for several search regions of one target, with the similarities formed once."""
    for allowed in regions:
        if allowed is not None and not bool(allowed.any()):
            raise bad_input(
                "search region",
                "at least one token centre inside the mask",
                "none",
                "The object is smaller than a token: use a larger --long-side or search the whole image.",
            )
    found: list[list[Matches]] = [[] for _ in regions]
    for similarity in similarity_chunks(descriptors, target):
        for parts, allowed in zip(found, regions, strict=True):
            parts.append(_best(similarity, target, allowed, subtoken))
    return [_joined(parts) for parts in found]


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


def _joined(parts: Sequence[Matches]) -> Matches:
    return Matches(torch.cat([p.xy1 for p in parts]), torch.cat([p.score for p in parts]))


def _best(
    similarity: Float[torch.Tensor, "n hw"],
    target: FeatureMap,
    allowed: Bool[torch.Tensor, "hw"] | None,
    subtoken: bool,
) -> Matches:
    searched = similarity if allowed is None else similarity.masked_fill(~allowed, -torch.inf)
    score, best = searched.max(dim=1)
    rows, cols = target.hw
    token_xy = torch.stack([best % cols, best // cols], -1).to(similarity)
    if subtoken:
        token_xy = token_xy + torch.stack(
            [_parabola(similarity, best, 1, best % cols, cols), _parabola(similarity, best, cols, best // cols, rows)],
            -1,
        )
    return Matches(pixel_from_token(target, token_xy), score)


def _parabola(
    similarity: Float[torch.Tensor, "n hw"],
    best: Int[torch.Tensor, "n"],
    step: int,
    position: Int[torch.Tensor, "n"],
    size: int,
) -> Float[torch.Tensor, "n"]:
    """Return the offset (-0.5 to 0.5 token) of the vertex through the winner and its two neighbours on one axis."""
    has_both = (position > 0) & (position < size - 1)
    last = similarity.shape[1] - 1
    left = similarity.gather(1, (best - step).clamp(0, last)[:, None])[:, 0]
    middle = similarity.gather(1, best[:, None])[:, 0]
    right = similarity.gather(1, (best + step).clamp(0, last)[:, None])[:, 0]
    # Without a strict peak (border, or a neighbour outside the searched region that is higher) there is no vertex.
    offset, is_peak = parabola_vertex(left, middle, right)
    return torch.where(has_both & is_peak, offset.clamp(-0.5, 0.5), torch.zeros_like(offset))


def parabola_vertex(
    left: Float[torch.Tensor, "n"], middle: Float[torch.Tensor, "n"], right: Float[torch.Tensor, "n"]
) -> tuple[Float[torch.Tensor, "n"], Bool[torch.Tensor, "n"]]:
    """Return where the parabola through three neighbouring tokens is highest (0 is the middle), and where it is."""
    curvature = left - 2 * middle + right
    is_peak = curvature < -1e-9
    return (left - right) / (2 * torch.where(is_peak, curvature, torch.ones_like(curvature))), is_peak


def window_mean(
    similarity: Float[torch.Tensor, "n hw"],
    best: Int[torch.Tensor, "n"],
    hw: tuple[int, int],
    reach: int,
    temperature: float,
) -> Float[torch.Tensor, "n 2"]:
    """Return the mean token around the best one, weighted by softmax(cosine / temperature): a windowed soft-argmax.

    Near a border the window shrinks on both sides alike, so that a clipped window pulls nothing inwards.

    Args:
        similarity: Cosine of each point and token.
        best: The winning token.
        hw: Rows and columns.
        reach: Tokens on each side of the best one.
        temperature: In units of cosine.

    Returns:
        Token coordinates.
    """
    row, col = (best // hw[1])[:, None], (best % hw[1])[:, None]
    steps = torch.arange(-reach, reach + 1, device=similarity.device)
    dy, dx = (one.reshape(-1)[None] for one in torch.meshgrid(steps, steps, indexing="ij"))
    reach_y = torch.minimum(row, hw[0] - 1 - row)
    reach_x = torch.minimum(col, hw[1] - 1 - col)
    outside = (dy.abs() > reach_y) | (dx.abs() > reach_x)
    index = ((row + dy).clamp(0, hw[0] - 1) * hw[1] + (col + dx).clamp(0, hw[1] - 1)).long()
    weight = (similarity.gather(1, index) / temperature).masked_fill(outside, -torch.inf).softmax(1)
    return torch.cat([(col + (weight * dx).sum(1, keepdim=True)), (row + (weight * dy).sum(1, keepdim=True))], 1)


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


def subtoken_xy(
    target: FeatureMap, descriptors: Float[torch.Tensor, "n c"], index: Int[torch.Tensor, "n"]
) -> Float[torch.Tensor, "n 2"]:
    """Return where each descriptor lies around the token it was matched with, in pixels of the target.

    The same parabola as `match`, per axis, from the five similarities it needs: no row of similarities is formed.

    Args:
        target: Tokens of unit length or not; they are L2-normalised here.
        descriptors: Of unit length.
        index: Number of the matched token, row by row.
    """
    rows, cols = target.hw
    tokens = target.tokens.flatten(1)

    def cosine(step: int) -> Float[torch.Tensor, "n 1"]:
        near = F.normalize(tokens[:, (index + step).clamp(0, rows * cols - 1)].float(), dim=0, eps=1e-12)
        return (near * descriptors.T.to(near)).sum(0)[:, None]

    here = cosine(0)
    offsets = []
    for step, position, size in ((1, index % cols, cols), (cols, index // cols, rows)):
        line = torch.cat([cosine(-step), here, cosine(step)], 1)
        # On the border one neighbour is not there; the place is 1 elsewhere, with a neighbour on both sides.
        place = torch.where((position > 0) & (position < size - 1), 1, 0)
        offsets.append(_parabola(line, torch.ones_like(index), 1, place, 3))
    token_xy = torch.stack([index % cols, index // cols], -1).to(here) + torch.stack(offsets, -1)
    return pixel_from_token(target, token_xy)


@dataclass(frozen=True)
class MutualMatches:
    """Places of two pictures that found each other.

    Attributes:
        xy0: Token centres of picture 0, its pixels.
        xy1: Where their descriptors lie in picture 1, sub-token, its pixels.
        score: Cosine of the two tokens (-1 to 1).
    """

    xy0: Float[torch.Tensor, "n 2"]
    xy1: Float[torch.Tensor, "n 2"]
    score: Float[torch.Tensor, "n"]

    def __len__(self) -> int:
        return len(self.score)


def mutual_matches(
    map_0: FeatureMap,
    map_1: FeatureMap,
    allowed_0: Bool[torch.Tensor, "hw0"] | None = None,
    allowed_1: Bool[torch.Tensor, "hw1"] | None = None,
) -> MutualMatches:
    """Match the tokens of two pictures of any sizes: mutual nearest neighbours, then a sub-token fit in picture 1.

    Only the place in picture 1 is fitted: it is the place of the descriptor at the token centre of picture 0. Fitting
    both would answer two questions with one match and be off by both corrections.

    Args:
        map_0: Tokens of picture 0; all tokens are L2-normalised here.
        map_1: Tokens of picture 1.
        allowed_0: Tokens that take part (see `token_mask`); all when None.
        allowed_1: The same for picture 1. The fit may look at neighbours that do not take part.

    Returns:
        Matches in the order of picture 0's tokens. None where nothing is allowed.

    Memory: `CHUNK_SIMILARITIES` floats and a copy of the tokens, whatever the sizes.
    """
    tokens_0, number_0 = _taking_part(map_0, allowed_0)
    tokens_1, number_1 = _taking_part(map_1, allowed_1)
    index_0, index_1, score = mutual_nearest(tokens_0, tokens_1)
    xy1 = subtoken_xy(map_1, tokens_0[index_0], number_1[index_1])
    return MutualMatches(token_centers(map_0)[number_0[index_0]], xy1, score)


def _taking_part(
    fmap: FeatureMap, allowed: Bool[torch.Tensor, "hw"] | None
) -> tuple[Float[torch.Tensor, "n c"], Int[torch.Tensor, "n"]]:
    """Return the tokens that are allowed, of unit length, and their numbers."""
    tokens = F.normalize(fmap.tokens.float().flatten(1).T, dim=1, eps=1e-12)
    number = torch.arange(len(tokens), device=tokens.device)
    number = number if allowed is None else number[allowed.to(tokens.device)]
    return tokens[number], number
