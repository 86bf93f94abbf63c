"""Heads that learn nothing: [b c h w] in, the same shape out."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from ..errors import bad_input

RANK = 128
"""Directions that the low-rank form of `WhitenHead` finds one by one."""


class AverageHead(nn.Module):
    """Mean over a kernel x kernel neighbourhood of tokens, border tokens repeated. It has no parameters.

    Args:
        kernel: Odd side of the neighbourhood, in tokens.

    Raises:
        EquiviewError: The kernel is even or not positive.
    """

    kind = "average"

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise bad_input("average head kernel", "an odd number of tokens", str(kernel), "Use 3 or 5.")
        self.kernel = kernel

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "kernel": self.kernel}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        return F.avg_pool2d(F.pad(maps, (self.kernel // 2,) * 4, mode="replicate"), self.kernel, stride=1)


class CenterHead(nn.Module):
    """Subtract each picture's own centre from its tokens: what all of a picture shares tells no point from another.

    The centre is the mean over tokens weighted by their squared distance from the plain mean, so that what stands out
    weighs more than a uniform background. It has no parameters.
    """

    kind = "center"

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        # In float32 throughout: means and small differences do not survive bf16.
        tokens = maps.float()
        tokens = tokens - tokens.mean((2, 3), keepdim=True)
        weights = tokens.square().sum(1, keepdim=True)
        # The largest weight becomes 1, so their sum is at least 1. Where all tokens are alike (a picture of one
        # colour) every weight is 0, and the plain mean is the centre.
        weights = weights / weights.amax((2, 3), keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        total = weights.sum((2, 3), keepdim=True).clamp(min=1)
        return (tokens - (tokens * weights).sum((2, 3), keepdim=True) / total).to(maps.dtype)


class WhitenHead(nn.Module):
    """Even out each picture's own variances: tokens are multiplied by (C / v + ridge)^(-power / 2).

    C is the second moment of this picture's tokens (centre them first, see `CenterHead`), v its mean over directions. A
    few directions carry most of what varies within a picture, whatever sets one place apart from the next; power 1
    would make all directions alike, noise too. It has no parameters, and gradients take the matrix as given.

    Args:
        power: 0 changes nothing, 1 whitens.
        ridge: Added to variances relative to their mean; directions far below it are scaled alike.
        method: `exact` decomposes C; `low_rank` finds its largest directions by matrix products and scales the others
            alike, which the ridge nearly does anyway: a fraction of the time, nearly the same features.
        rank: How many directions `low_rank` finds. A picture of no more tokens or channels than that is done exactly.

    Raises:
        EquiviewError: The power is outside 0..1, the ridge or the rank is not above 0, or the method is another.
    """

    kind = "whiten"

    def __init__(
        self,
        power: float = 0.7,
        ridge: float = 0.1,
        method: Literal["exact", "low_rank"] = "exact",
        rank: int = RANK,
    ) -> None:
        super().__init__()
        if not 0 <= power <= 1 or not 0 < ridge < math.inf:
            fix = "0.7 and 0.1 are the defaults."
            raise bad_input("whiten head", "a power from 0 to 1, a ridge above 0", f"{power:g}, {ridge:g}", fix)
        if method not in ("exact", "low_rank") or rank < 1:
            expected, fix = "the method exact or low_rank, a rank above 0", f"exact and {RANK} are the defaults."
            raise bad_input("whiten head", expected, f"{method!r}, {rank}", fix)
        self.power, self.ridge = float(power), float(ridge)
        self.method, self.rank = method, rank

    def spec(self) -> dict[str, Any]:
        low_rank = {"method": self.method, "rank": self.rank} if self.method == "low_rank" else {}
        return {"kind": self.kind, "power": self.power, "ridge": self.ridge} | low_rank

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        tokens = maps.flatten(2).float()
        exactly = self.method == "exact" or min(tokens.shape[1:]) <= self.rank
        return (self.exact(tokens) if exactly else self.low_rank(tokens)).reshape(maps.shape).to(maps.dtype)

    def exact(self, tokens: Float[torch.Tensor, "b c n"]) -> Float[torch.Tensor, "b c n"]:
        # X f(X^T X) = f(X X^T) X: the smaller of the two moments serves.
        few = tokens.shape[2] < tokens.shape[1]
        rows = (tokens.mT if few else tokens).detach()
        values, vectors = torch.linalg.eigh(rows @ rows.mT / tokens.shape[2])
        # The mean over all directions, the empty ones too: a picture of one colour has none, and stays as it is.
        gains = self.gains(values, values.clamp(min=0).sum(1, keepdim=True) / tokens.shape[1])
        matrix = (vectors * gains[:, None]) @ vectors.mT
        return tokens @ matrix if few else matrix @ tokens

    def low_rank(self, tokens: Float[torch.Tensor, "b c n"]) -> Float[torch.Tensor, "b c n"]:
        # In float32 under autocast too: small variances do not survive bf16.
        with torch.autocast(tokens.device.type, enabled=False):
            found, rest, vectors, mean = largest_directions(tokens.detach(), self.rank)
            gain = self.gains(rest, mean)
            change = (vectors * (self.gains(found, mean) - gain)[:, None]) @ (vectors.mT @ tokens)
            return gain[:, None] * tokens + change

    def gains(self, values: Float[torch.Tensor, "b k"], mean: Float[torch.Tensor, "b 1"]) -> Float[torch.Tensor, "b k"]:
        """Return what directions of these variances are multiplied by."""
        mean = mean.clamp(min=torch.finfo(values.dtype).tiny)
        return (values.clamp(min=0) / mean + self.ridge) ** (-self.power / 2)


class DebiasHead(nn.Module):
    """Take a block's position directions out of its tokens: what says where a token lies, whatever the picture shows.

    Every block's tokens are projected onto what is at right angles to its directions, and L2-normalised. It has no
    parameters; the directions are measured on the backbone (`position_bias.position_directions`) and saved with it.

    Args:
        directions: Orthonormal columns for each block.

    Raises:
        EquiviewError: They are no [blocks, channels, count] with fewer directions than channels.
    """

    kind = "debias"
    directions: torch.Tensor

    def __init__(self, directions: Float[torch.Tensor, "blocks c k"]) -> None:
        super().__init__()
        if directions.ndim != 3 or not 0 < directions.shape[2] < directions.shape[1]:
            fix = "Project out fewer of them."
            raise bad_input("debias head", "[blocks, channels, fewer directions]", str(tuple(directions.shape)), fix)
        self.register_buffer("directions", directions.detach().float().clone())

    def spec(self) -> dict[str, Any]:
        blocks, dim, count = self.directions.shape
        return {"kind": self.kind, "blocks": blocks, "dim": dim, "directions": count}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        blocks, dim, _ = self.directions.shape
        if maps.shape[1] != blocks * dim:
            found, fix = f"{maps.shape[1]} channels", "Use the blocks the directions were measured for."
            raise bad_input("debias head", f"maps of {blocks} x {dim} channels", found, fix)
        # In float32: what is left may be small beside what is taken out.
        tokens = maps.float().reshape(maps.shape[0], blocks, dim, -1)
        directions = self.directions.float()
        tokens = tokens - directions @ (directions.mT @ tokens)
        return F.normalize(tokens, dim=2).reshape(maps.shape).to(maps.dtype)


@torch.no_grad()
def largest_directions(
    tokens: Float[torch.Tensor, "b c n"], rank: int
) -> tuple[
    Float[torch.Tensor, "b k"], Float[torch.Tensor, "b 1"], Float[torch.Tensor, "b c k"], Float[torch.Tensor, "b 1"]
]:
    """Find the directions in which tokens vary most, by one round of subspace iteration from a fixed random start.

    Only matrix products are as large as the pictures; what is decomposed is rank x rank.
    Source: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4 with q = 1.

    Returns:
        Their variances, the mean variance of all others that tokens can have, the directions (zero where there are
        not as many), and the mean over all directions.
    """
    channels, count = tokens.shape[1:]
    # Drawn on the CPU, so that every device starts from the same numbers.
    start = torch.randn(count, rank, generator=torch.Generator().manual_seed(0)).to(tokens.device)
    sides = _orthonormal(tokens.mT @ _orthonormal(tokens @ start))
    spread = tokens @ sides
    values, turn = torch.linalg.eigh(spread.mT @ spread)
    # Directions below what float32 can tell from zero have no direction of their own.
    scale = torch.where(values > 1e-6 * values[:, -1:], values, torch.inf).rsqrt()
    values = values.clamp(min=0) / count
    total = tokens.square().sum((1, 2))[:, None] / count
    rest = (total - values.sum(1, keepdim=True)).clamp(min=0) / (min(channels, count) - rank)
    return values, rest, spread @ (turn * scale[:, None]), total / channels


def _orthonormal(columns: Float[torch.Tensor, "b n k"]) -> Float[torch.Tensor, "b n k"]:
    """Return columns of the same span that are at right angles: those too small for float32 come out shorter."""
    gram = columns.mT @ columns
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    floor = (1e-6 * trace).clamp(min=torch.finfo(gram.dtype).tiny)
    factor, _ = torch.linalg.cholesky_ex(gram + floor * torch.eye(gram.shape[1], device=gram.device))
    return torch.linalg.solve_triangular(factor.mT, columns, upper=True, left=False)
