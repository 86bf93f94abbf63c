"""Losses on descriptors of two views. Pure functions; which points correspond is read off their 3D distance.

Shapes are the same everywhere: descriptors `[b s c]` and `[b t c]`, the 3D points behind them `[b s 3]` and `[b t 3]`
in object units (longest side 1). A pair of points closer than `positive_below` is a positive, further than
`negative_above` a negative; between them lies a dead zone, where two points are neither the same nor clearly different.

All arithmetic is in float32 at least, whatever autocast says: at temperature 0.01 a bf16 cosine, wrong by 4e-3, moves a
SmoothAP sigmoid by a tenth of its range.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from ..errors import bad_input

POSITIVE_BELOW = 5e-3
"""Object units; the published threshold (You et al., ICLR 2025)."""
NEGATIVE_ABOVE = 0.1
"""Object units; the published threshold."""


def relations(
    points0: Float[torch.Tensor, "b s 3"],
    points1: Float[torch.Tensor, "b t 3"],
    positive_below: float = POSITIVE_BELOW,
    negative_above: float = NEGATIVE_ABOVE,
) -> tuple[Bool[torch.Tensor, "b s t"], Bool[torch.Tensor, "b s t"]]:
    """Return which pairs of points are positives and which are negatives, both comparisons strict.

    Distances are taken by differences: the matrix-product form of `cdist` is off by up to 3e-4 near zero.
    """
    distance = torch.cdist(_precise(points0), _precise(points1), compute_mode="donot_use_mm_for_euclid_dist")
    return distance < positive_below, distance > negative_above


def smooth_ap_published(
    descriptors0: Float[torch.Tensor, "b s c"],
    descriptors1: Float[torch.Tensor, "b t c"],
    points0: Float[torch.Tensor, "b s 3"],
    points1: Float[torch.Tensor, "b t 3"],
    *,
    temperature: float = 0.01,
    positive_below: float = POSITIVE_BELOW,
    negative_above: float = NEGATIVE_ABOVE,
) -> Float[torch.Tensor, ""]:
    """Return the loss of the released 3DCorrEnhance code, quirks included (You et al., ICLR 2025).

    SmoothAP with the positive set {the query itself at similarity 1, its match}, one direction (0 to 1), mean over all
    positives. Descriptors are expected to have unit length. Its first half is flat unless negatives come near
    similarity 1, and queries with a negative above their match get almost no gradient: see `smooth_ap`.

    Without positives the result is NaN with zero gradients, as in the reference; the trainer never lets that happen.
    """
    with _full_precision(descriptors0):
        similarity = torch.einsum("bsc,btc->bst", _precise(descriptors0), _precise(descriptors1))
        positive, negative = relations(points0, points1, positive_below, negative_above)
        batch, query, match = positive.nonzero(as_tuple=True)
        s, n, is_negative = similarity[batch, query, match], similarity[batch, query], negative[batch, query]
        match_rank = _step(s - 1, temperature) + 1
        self_rank = _step(1 - s, temperature) + 1
        above_self = (_step(n - 1, temperature) * is_negative).sum(-1)
        above_match = (_step(n - s[:, None], temperature) * is_negative).sum(-1)
        ap_self = match_rank / (match_rank + above_self)
        ap_match = self_rank / (self_rank + above_match)
        return (1 - (ap_self + ap_match) / 2).mean()


def smooth_average_precision(
    similarity: Float[torch.Tensor, "b s t"],
    positive: Bool[torch.Tensor, "b s t"],
    negative: Bool[torch.Tensor, "b s t"],
    *,
    temperature: float = 0.01,
    step: Callable[[torch.Tensor, float], torch.Tensor] | None = None,
) -> Float[torch.Tensor, "p"]:
    """Return, for every positive, its smoothed precision: rank among positives over rank among all (SmoothAP, eq. 8).

    Brown et al., "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", ECCV 2020. The mean over equally
    many positives per query is the smoothed average precision.

    Args:
        similarity: Cosines of queries (rows) and candidates.
        positive: Which candidates are right.
        negative: Which are wrong; candidates that are neither do not enter the ranking.
        temperature: Of the sigmoid that replaces the step function.
        step: What replaces the step function for NEGATIVES; the sigmoid when None.
    """
    batch, query, match = positive.nonzero(as_tuple=True)
    difference = similarity[batch, query] - similarity[batch, query, match][:, None]
    other = positive[batch, query].clone()
    other[torch.arange(len(match), device=match.device), match] = False
    rank = 1 + (_step(difference, temperature) * other).sum(-1)
    wrong = ((step or _step)(difference, temperature) * negative[batch, query]).sum(-1)
    return rank / (rank + wrong)


def smooth_ap(
    descriptors0: Float[torch.Tensor, "b s c"],
    descriptors1: Float[torch.Tensor, "b t c"],
    points0: Float[torch.Tensor, "b s 3"],
    points1: Float[torch.Tensor, "b t 3"],
    *,
    temperature: float = 0.01,
    positive_below: float = POSITIVE_BELOW,
    negative_above: float = NEGATIVE_ABOVE,
) -> Float[torch.Tensor, ""]:
    """Return a SmoothAP that trains hard queries too: symmetric, without a dead half.

    Three changes against the published one. Both directions are averaged. The query is not its own positive, so no half
    of the loss is constant. The step function of a negative ABOVE the positive continues along its tangent instead of
    saturating (an upper bound of the rank, after Ramzi et al., NeurIPS 2021), and the loss is -log of the precision
    instead of 1 - precision: its slope falls with 1/rank, not 1/rank^2. With 500 negatives 0.05 below / level with /
    0.02 above the positive, |dL/ds| is about 76 / 50 / 25 where the published loss has 11.6 / 0.2 / 0.03.

    Raises:
        EquiviewError: There is no positive.
    """
    with _full_precision(descriptors0):
        similarity = _cosines(descriptors0, descriptors1)
        positive, negative = relations(points0, points1, positive_below, negative_above)
        _require_positive(positive)
        halves = []
        for s, p, n in ((similarity, positive, negative), _transposed(similarity, positive, negative)):
            precision = smooth_average_precision(s, p, n, temperature=temperature, step=_unsaturated_step)
            halves.append(-precision.log().mean())
        return (halves[0] + halves[1]) / 2


def info_nce(
    descriptors0: Float[torch.Tensor, "b s c"],
    descriptors1: Float[torch.Tensor, "b t c"],
    points0: Float[torch.Tensor, "b s 3"],
    points1: Float[torch.Tensor, "b t 3"],
    *,
    temperature: float = 0.05,
    positive_below: float = POSITIVE_BELOW,
    negative_above: float = NEGATIVE_ABOVE,
) -> Float[torch.Tensor, ""]:
    """Return InfoNCE (van den Oord et al., 2018), symmetric, near neighbours left out of the negatives.

    Per positive: log(1 + sum over negatives of exp((n - s) / temperature)); mean over positives, both directions.

    Raises:
        EquiviewError: There is no positive.
    """
    with _full_precision(descriptors0):
        similarity = _cosines(descriptors0, descriptors1) / temperature
        positive, negative = relations(points0, points1, positive_below, negative_above)
        _require_positive(positive)
        halves = []
        for s, p, n in ((similarity, positive, negative), _transposed(similarity, positive, negative)):
            # A finite floor instead of -inf: a query without negatives then has loss 0 and gradient 0, not NaN.
            all_negatives = s.masked_fill(~n, -1e4).logsumexp(-1)
            batch, query, match = p.nonzero(as_tuple=True)
            halves.append(F.softplus(all_negatives[batch, query] - s[batch, query, match]).mean())
        return (halves[0] + halves[1]) / 2


def equivariance_regulariser(
    descriptors0: Float[torch.Tensor, "b s c"],
    descriptors1: Float[torch.Tensor, "b t c"],
    points0: Float[torch.Tensor, "b s 3"],
    points1: Float[torch.Tensor, "b t 3"],
    *,
    spread: float = 0.5,
    variance_weight: float = 1.0,
    positive_below: float = POSITIVE_BELOW,
) -> Float[torch.Tensor, ""]:
    """Return: corresponding features pulled together, plus a variance term that stops collapse.

    After VICReg (Bardes et al., ICLR 2022): mean squared distance of corresponding unit descriptors, plus the hinge
    max(0, spread - std) of every dimension over the points of a view. Unit descriptors are scaled by sqrt(c), so that a
    std of 1 is that of directions spread evenly and `spread` means the same for every width.

    Raises:
        EquiviewError: There is no positive.
    """
    with _full_precision(descriptors0):
        unit0, unit1 = _unit(descriptors0), _unit(descriptors1)
        positive, _ = relations(points0, points1, positive_below)
        _require_positive(positive)
        batch, query, match = positive.nonzero(as_tuple=True)
        pull = (unit0[batch, query] - unit1[batch, match]).square().sum(-1).mean()
        return pull + variance_weight * (_lack_of_spread(unit0, spread) + _lack_of_spread(unit1, spread)) / 2


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "smooth_ap_published": smooth_ap_published,
    "smooth_ap": smooth_ap,
    "info_nce": info_nce,
}
"""What a recipe may name; all take (descriptors0, descriptors1, points0, points1, *, temperature)."""


def count_positives(
    points0: Float[torch.Tensor, "s 3"], points1: Float[torch.Tensor, "t 3"], positive_below: float = POSITIVE_BELOW
) -> int:
    """Return how many pairs of points are positives, without forming all s x t distances (see `relations`)."""
    if not (len(points0) and len(points1)):
        return 0
    trees = [KDTree(points.double().cpu().numpy()) for points in (points0, points1)]
    # count_neighbors takes distances up to and including the radius; a positive lies strictly below.
    return int(trees[0].count_neighbors(trees[1], np.nextafter(positive_below, 0)))


def _step(x: torch.Tensor, temperature: float) -> torch.Tensor:
    """The smoothed step function; the exponent is clamped as in the reference so that nothing overflows."""
    return torch.sigmoid((x / temperature).clamp(-50, 50))


def _unsaturated_step(x: torch.Tensor, temperature: float) -> torch.Tensor:
    """Sigmoid below zero, its tangent above."""
    return torch.where(x > 0, 0.5 + x.clamp(min=0) / (4 * temperature), _step(x.clamp(max=0), temperature))


def _lack_of_spread(unit: Float[torch.Tensor, "b n c"], spread: float) -> torch.Tensor:
    std = (unit * math.sqrt(unit.shape[-1])).var(dim=1, unbiased=False).add(1e-4).sqrt()
    return F.relu(spread - std).mean()


def _cosines(
    descriptors0: Float[torch.Tensor, "b s c"], descriptors1: Float[torch.Tensor, "b t c"]
) -> Float[torch.Tensor, "b s t"]:
    return torch.einsum("bsc,btc->bst", _unit(descriptors0), _unit(descriptors1))


def _unit(x: torch.Tensor) -> torch.Tensor:
    return F.normalize(_precise(x), dim=-1, eps=1e-12)


def _precise(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _full_precision(x: torch.Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _transposed(*matrices: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(m.transpose(1, 2) for m in matrices)


def _require_positive(positive: Bool[torch.Tensor, "b s t"]) -> None:
    if not bool(positive.any()):
        raise bad_input(
            "loss",
            "at least one pair of points that is the same surface point",
            f"none among {positive.shape[1]} x {positive.shape[2]}",
            "Skip pairs of views without common points (count_positives).",
        )
