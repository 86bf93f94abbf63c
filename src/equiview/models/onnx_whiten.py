"""Whitening by matrix products alone: ONNX has no eigendecomposition, Cholesky factor or triangular solution.

The largest directions of a picture's tokens are found by subspace iteration, as in `WhitenHead.low_rank`; what is done
to the matrices of their size (rank x rank) is done by Newton's iterations.
"""

import math

import torch
from jaxtyping import Float
from torch import nn

from .fixed_heads import RANK, WhitenHead

FLOOR = 1e-6
"""Added to a Gram matrix of trace 1: directions below it are noise in float32 until they are scaled up."""
ROOTS, TERMS = 4, 20
"""Square roots until eigenvalues are alike (1/16 of their logarithms), and terms of the binomial series after that."""


class ProductWhiten(nn.Module):
    """`WhitenHead` in the operators of ONNX, for any number of tokens.

    It finds as many directions as `low_rank` does and scales the others alike. The start is random numbers for the
    channels, not for the tokens, whose number the graph does not know.

    Args:
        head: What it stands for; an exact one gets the default rank.
        channels: Of the tokens.
    """

    start: torch.Tensor

    def __init__(self, head: WhitenHead, channels: int) -> None:
        super().__init__()
        self.power, self.ridge = head.power, head.ridge
        rank = min(head.rank if head.method == "low_rank" else RANK, channels)
        start = torch.randn(channels, rank, generator=torch.Generator().manual_seed(0))
        self.register_buffer("start", start)

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        tokens = maps.flatten(2).float()
        tiny = torch.finfo(tokens.dtype).tiny
        # Variances are then relative to their mean over all directions.
        unit = tokens * tokens.square().mean((1, 2), keepdim=True).clamp(min=tiny).rsqrt()
        sides = _orthonormal(_multiplied(unit, _orthonormal(_multiplied(unit, self.start[None]))))
        inside = sides.mT @ unit
        eye = torch.eye(self.start.shape[1], device=maps.device)
        moment = _mean_product(inside, inside)
        found = _trace(moment)
        gain = (self._rest(found, tokens.shape[1], tokens.shape[2]) + self.ridge) ** (-self.power / 2)
        least = self.ridge / (tokens.shape[1] + self.ridge)
        top = found + self.ridge
        gains = negative_power((moment + self.ridge * eye) / top, self.power / 2, least) * top ** (-self.power / 2)
        changed = gain * tokens + sides @ ((gains - gain * eye) @ (sides.mT @ tokens))
        return changed.reshape(maps.shape).to(maps.dtype)

    def _rest(self, found: Float[torch.Tensor, "b 1 1"], channels: int, count: int) -> Float[torch.Tensor, "b 1 1"]:
        """Return the mean variance of the directions that were not found."""
        # A tensor, because the number of tokens is open in the graph.
        others = torch.scalar_tensor(count).clamp(max=channels) - self.start.shape[1]
        return (channels - found).clamp(min=0) / others.clamp(min=1)


@torch.library.custom_op("equiview::negative_power", mutates_args=())
def negative_power(matrix: torch.Tensor, power: float, least: float) -> torch.Tensor:
    """Return matrix^(-power) of symmetric matrices [b k k] by products alone.

    Square roots bring all eigenvalues near each other, a binomial series does the rest. One operator to torch, because
    to follow some hundred small products through sizes that are open takes it minutes; see `onnx_newton` for its ONNX.

    Args:
        matrix: Eigenvalues from `least` to 1.
        power: Above 0.
        least: A bound for the smallest eigenvalue, above 0.
    """
    for _ in range(ROOTS):
        matrix, _ = newton_roots(matrix, least)
        least = math.sqrt(least)
    eye = torch.eye(matrix.shape[-1], device=matrix.device)
    centre, factors = series(power, least)
    rest, total = eye - matrix / centre, factors[-1] * eye
    for factor in reversed(factors[:-1]):
        total = total @ rest + factor * eye
    return total


@torch.library.custom_op("equiview::inverse_root", mutates_args=())
def inverse_root(matrix: torch.Tensor, least: float) -> torch.Tensor:
    """Return matrix^(-1/2) of symmetric matrices [b k k] with eigenvalues from `least` to 1."""
    return newton_roots(matrix, least)[1]


@negative_power.register_fake
def _(matrix: torch.Tensor, power: float, least: float) -> torch.Tensor:
    return torch.empty_like(matrix)


@inverse_root.register_fake
def _(matrix: torch.Tensor, least: float) -> torch.Tensor:
    return torch.empty_like(matrix)


def series(power: float, least: float) -> tuple[float, list[float]]:
    """Return the centre c and factors f with x^-(2^ROOTS power) = sum_k f_k (1 - x / c)^k for x in `least`..1."""
    centre, exponent = (1 + least) / 2, power * 2**ROOTS
    factors = [centre**-exponent]
    for k in range(1, TERMS):
        factors.append(factors[-1] * (exponent + k - 1) / k)
    return centre, factors


def newton_roots(
    matrix: Float[torch.Tensor, "b k k"], least: float
) -> tuple[Float[torch.Tensor, "b k k"], Float[torch.Tensor, "b k k"]]:
    """Return the square root of symmetric matrices and its inverse by the coupled Newton-Schulz iteration.

    Every step is scaled so that the interval which holds the eigenvalues shrinks as fast as a cubic can make it.
    Source: Higham 2008, "Functions of Matrices", section 6.7; the scaling is that of Chen and Chow 2014, "A stable
    scaling of Newton-Schulz for improving the sign function computation".

    Args:
        matrix: Eigenvalues from `least` to 1.
        least: A bound for the smallest one, above 0.
    """
    eye = torch.eye(matrix.shape[-1], device=matrix.device)
    root, inverse = matrix, eye.expand_as(matrix)
    for scale in step_scales(math.sqrt(least)):
        step = 1.5 * scale * eye - 0.5 * scale**3 * (inverse @ root)
        root = root @ step
        inverse = step @ inverse
    return root, inverse


def step_scales(least: float) -> list[float]:
    """Return the factor of each step that brings singular values from `least`..1 to 1 within float32."""
    scales = []
    while least < 1 - 1e-7:
        # Both ends of the interval get the same value: p(s) = p(s least) with p(x) = 1.5 x - 0.5 x^3.
        scales.append(math.sqrt(3 * (1 - least) / (1 - least**3)))
        least = 1.5 * scales[-1] * least - 0.5 * (scales[-1] * least) ** 3
    return scales


def _orthonormal(columns: Float[torch.Tensor, "b n k"]) -> Float[torch.Tensor, "b n k"]:
    """Return columns of the same span at right angles, in two rounds: the first leaves small ones too short."""
    for _ in range(2):
        gram = columns.mT @ columns
        trace = _trace(gram).clamp(min=torch.finfo(gram.dtype).tiny)
        gram = (gram / trace + FLOOR * torch.eye(gram.shape[-1], device=gram.device)) / (1 + FLOOR)
        columns = columns @ inverse_root(gram, FLOOR / 2) * trace.rsqrt()
    return columns


def _multiplied(tokens: Float[torch.Tensor, "b c n"], columns: Float[torch.Tensor, "b c k"]) -> torch.Tensor:
    """Return the second moment of tokens times the columns, without the moment itself."""
    return _mean_product(tokens, columns.mT @ tokens)


def _mean_product(first: Float[torch.Tensor, "b c n"], second: Float[torch.Tensor, "b k n"]) -> torch.Tensor:
    return first @ second.mT / first.shape[2]


def _trace(matrix: Float[torch.Tensor, "b k k"]) -> Float[torch.Tensor, "b 1 1"]:
    return (matrix * torch.eye(matrix.shape[-1], device=matrix.device)).sum((1, 2), keepdim=True)
