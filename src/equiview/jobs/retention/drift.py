"""How far features moved: the same token before and after, the whole cloud of tokens, and who is next to whom.

`base` and `adapted` are two feature maps of one picture with the same grid of tokens. The second may have other
channels than the first: then a cosine between the two means nothing, and the other two numbers are still defined.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int

from ...errors import bad_input
from ...types import FeatureMap

Both = tuple[FeatureMap, FeatureMap]
# A nearest neighbour that moved by so many tokens, in both directions, still counts as the same place.
NEAR_TOKENS = 1


@dataclass
class Moments:
    """Sums over tokens for linear CKA: C x C numbers, however many tokens went in.

    Tokens are shifted by the mean of the first picture before they are multiplied. That changes no covariance, and
    keeps the sums from cancelling where the mean is far larger than what varies.
    """

    n: int = 0
    shifts: list[Float[torch.Tensor, "c"]] = field(default_factory=list)
    sums: list[Float[torch.Tensor, "c"]] = field(default_factory=list)
    products: list[Float[torch.Tensor, "c1 c2"]] = field(default_factory=list)

    def add(self, base: Float[torch.Tensor, "n c1"], adapted: Float[torch.Tensor, "n c2"]) -> None:
        """Add tokens that belong together, row by row."""
        if not self.shifts:
            self.shifts = [base.mean(0), adapted.mean(0)]
        a, b = base - self.shifts[0], adapted - self.shifts[1]
        # Products of one picture in float32, their sum over pictures in float64 (on the CPU: not every device has it).
        new = [(one.T @ other).cpu().double() for one, other in ((a, a), (b, b), (a, b))]
        sums = [one.sum(0).cpu().double() for one in (a, b)]
        self.products = [x + y for x, y in zip(self.products, new, strict=True)] if self.products else new
        self.sums = [x + y for x, y in zip(self.sums, sums, strict=True)] if self.sums else sums
        self.n += len(a)

    def cka(self) -> float | None:
        """Return linear CKA, 0 to 1, centred over all tokens; None where one side does not vary at all.

        It is 1 for features that differ by a rotation, a scale and a shift.

        Source: Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019.
        """
        if self.n == 0:
            return None
        (a, b) = self.sums
        (aa, bb, ab) = self.products
        own, other = (
            float((products - torch.outer(sums, sums) / self.n).norm()) for products, sums in ((aa, a), (bb, b))
        )
        cross = float((ab - torch.outer(a, b) / self.n).norm())
        return cross**2 / (own * other) if own * other > 0 else None


def mean_cosine(base: Float[torch.Tensor, "n c1"], adapted: Float[torch.Tensor, "n c2"]) -> float | None:
    """Return the mean cosine of each token with itself; None where the channels are others.

    A token that is zero on both sides has no direction and is left out; None too when all are.
    """
    if base.shape[1] != adapted.shape[1]:
        return None
    kept = base.any(1) | adapted.any(1)
    return float(F.cosine_similarity(base[kept], adapted[kept], dim=1).mean()) if bool(kept.any()) else None


def nearest(
    queries: Float[torch.Tensor, "n c"], target: FeatureMap
) -> tuple[Int[torch.Tensor, "n"], Int[torch.Tensor, "n"]]:
    """Return row and column of the target's token with the highest cosine to each query."""
    tokens = F.normalize(target.tokens.flatten(1).float(), dim=0)
    best = (F.normalize(queries, dim=1) @ tokens).argmax(1)
    return best // target.hw[1], best % target.hw[1]


def neighbour_agreement(
    queries: tuple[Float[torch.Tensor, "n c1"], Float[torch.Tensor, "n c2"]], targets: Both
) -> float:
    """Return the share (0-1) of tokens whose nearest neighbour in another picture stays within one token.

    Args:
        queries: The same tokens of one picture, in base and adapted features.
        targets: The other picture's maps, in the same order.
    """
    (row0, col0), (row1, col1) = (nearest(query, target) for query, target in zip(queries, targets, strict=True))
    near = ((row0 - row1).abs() <= NEAR_TOKENS) & ((col0 - col1).abs() <= NEAR_TOKENS)
    return float(near.float().mean())


def chance_agreement(hw: tuple[int, int]) -> float:
    """Return the agreement (0-1) of two neighbours drawn at random on a grid: (3h - 2)(3w - 2) / (hw)^2."""
    h, w = hw
    return (3 * h - 2) * (3 * w - 2) / (h * w) ** 2


def drift_rows(pictures: Iterable[tuple[str, Both]], queries: int = 200, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Compare features picture by picture; at most two pictures are in memory.

    Args:
        pictures: A name, and the base and the adapted map, of each of two pictures or more.
        queries: Tokens of each picture that look for their nearest neighbour in the next one (of the last in the
            first).
        seed: Which tokens.

    Yields:
        A row of kind "picture" for each: name, n (tokens), cosine (-1 to 1, or None), neighbours (0-1), chance (0-1);
        then one of kind "all": n and cka (0-1).

    Raises:
        EquiviewError: Fewer than two pictures, maps of another grid, or features that are not finite.
    """
    moments, first, held = Moments(), None, None
    for number, (name, both) in enumerate(pictures):
        base, adapted = (_tokens(name, fmap) for fmap in both)
        if both[0].hw != both[1].hw:
            raise bad_input(f"maps of {name!r}", f"a grid of {both[0].hw}", str(both[1].hw), "Use one resolution.")
        moments.add(base, adapted)
        if held is not None:
            yield held[0] | _neighbours(held[1], both)
        first = both if first is None else first
        chosen = torch.from_numpy(np.random.default_rng([seed, number]).permutation(len(base))[:queries])
        chosen = chosen.to(base.device)
        row = {"kind": "picture", "name": name, "n": len(base), "cosine": mean_cosine(base, adapted)}
        held = (row, (base[chosen], adapted[chosen]))
    if first is None or held is None or moments.n == held[0]["n"]:
        found = "none" if first is None else "one"
        raise bad_input("photos", "two pictures or more", found, "Give a folder with more of them.")
    yield held[0] | _neighbours(held[1], first)
    yield {"kind": "all", "n": moments.n, "cka": moments.cka()}


def _neighbours(queries: tuple[torch.Tensor, torch.Tensor], targets: Both) -> dict[str, float]:
    return {"neighbours": neighbour_agreement(queries, targets), "chance": chance_agreement(targets[0].hw)}


def _tokens(name: str, fmap: FeatureMap) -> Float[torch.Tensor, "n c"]:
    tokens = fmap.tokens.flatten(1).T.float()
    if not bool(torch.isfinite(tokens).all()):
        raise bad_input(f"features of {name!r}", "finite numbers", "NaN or infinity", "Use fp32, or check the adapter.")
    return tokens
