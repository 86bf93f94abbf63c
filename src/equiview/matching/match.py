"""Descriptors to places in another picture: the nearest token, then the fit between tokens (`localise`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int

from ..errors import bad_input
from ..sampling import pixel_from_token, token_centers
from ..types import FeatureMap, Matches
from .localise import Localise, SimilarityAt, dots, fit, rows
from .nearest import mutual_nearest, similarity_chunks

# Tokens that may win: the same for all queries, or asked for with a slice of queries; all when None.
Region = Bool[torch.Tensor, "hw"] | Callable[[slice], Bool[torch.Tensor, "k hw"]] | None


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
    return match_regions(descriptors, target, [allowed], Localise("parabola" if subtoken else "token"))[0]


def match_regions(
    descriptors: Float[torch.Tensor, "n c"],
    target: FeatureMap,
    regions: Sequence[Region],
    localise: Localise = Localise(),
) -> list[Matches]:
    """Do what `match` does for several search regions of one target, with the similarities formed once.

    Args:
        descriptors: L2-normalised query descriptors.
        target: Target tokens.
        regions: Tokens that may win, for all queries or (a function of a slice of them) for each.
        localise: How the winner becomes a place.

    Raises:
        EquiviewError: A region without a token, or a localisation that does not start from a token.
    """
    for allowed in regions:
        if isinstance(allowed, torch.Tensor) and not bool(allowed.any()):
            raise bad_input(
                "search region",
                "at least one token centre inside the mask",
                "none",
                "The object is smaller than a token: use a larger --long-side or search the whole image.",
            )
    found: list[list[Matches]] = [[] for _ in regions]
    start = 0
    for similarity in similarity_chunks(descriptors, target):
        queries = slice(start, start + len(similarity))
        for parts, allowed in zip(found, regions, strict=True):
            mask = allowed(queries) if callable(allowed) else allowed
            searched = similarity if mask is None else similarity.masked_fill(~mask, -torch.inf)
            score, best = searched.max(dim=1)
            parts.append(Matches(_place(rows(similarity), best, target, localise), score))
        start += len(similarity)
    return [Matches(torch.cat([p.xy1 for p in parts]), torch.cat([p.score for p in parts])) for parts in found]


def _place(
    at: SimilarityAt, best: Int[torch.Tensor, "n"], target: FeatureMap, localise: Localise
) -> Float[torch.Tensor, "n 2"]:
    return pixel_from_token(target, fit(at, best, target.hw, localise))


def subtoken_xy(
    target: FeatureMap,
    descriptors: Float[torch.Tensor, "n c"],
    index: Int[torch.Tensor, "n"],
    localise: Localise = Localise(),
) -> Float[torch.Tensor, "n 2"]:
    """Return where each descriptor lies around the token it was matched with, in pixels of the target.

    The same fit as in `match`, from the few similarities it needs: no row of similarities is formed.

    Args:
        target: Tokens of unit length or not; they are L2-normalised here.
        descriptors: Of unit length.
        index: Number of the matched token, row by row.
        localise: How.
    """
    return _place(dots(descriptors, target), index, target, localise)


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
