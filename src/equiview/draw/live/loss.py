"""What packing costs: the same questions asked of the full and of the packed features."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from ...matching.match import match
from ...metrics.equivariance import error_px
from ...sampling import descriptors, token_centers, token_from_pixel
from ...types import FeatureMap
from .maps import packed_queries
from .truth import Truth

PAIRS, QUERIES = 24, 128
SHARE = 0.05


def measure_loss(
    full: Sequence[FeatureMap], packed: Sequence[FeatureMap], truth: Truth, seed: int = 0
) -> dict[str, Any]:
    """Ask at most 24 ordered pairs of views for the matches of at most 128 points each.

    The points are known ones where there are any (and seen in the target), token centres elsewhere.

    Returns:
        n, the number of questions; moved_share (0-1), the share whose best token lies more than one token from the
        one of the full features; cosine_error, the mean absolute change of the best token's cosine; and PCDP@0.05 in
        percent of both, `pcdp_full` and `pcdp_packed`, None where no true place is known.
    """
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(len(full)) for j in range(len(full)) if i != j] or [(0, 0)]
    chosen = [pairs[k] for k in rng.permutation(len(pairs))[:PAIRS]]
    known = any(len(xy) for xy in truth.xy)
    moved, cosine, hits = [], [], []
    for i, j in chosen:
        xy, true = _questions(truth, (i, j), rng) if known else (_centres(full[i], rng), None)
        if not len(xy):
            continue
        points = torch.from_numpy(xy).float()
        questions = (descriptors(full[i], points), packed_queries(packed[i], points))
        tokens, places = zip(*(_answers(q, m[j]) for q, m in zip(questions, (full, packed), strict=True)), strict=True)
        steps = [token_from_pixel(full[j], torch.from_numpy(one.xy)) for one in tokens]
        moved.append(((steps[0] - steps[1]).abs().amax(1) > 1.001).numpy())
        cosine.append(np.abs(tokens[0].score - tokens[1].score))
        if true is not None:
            limit = SHARE * min(full[j].image_hw)
            hits.append(np.stack([error_px(one.xy, true) < limit for one in places]))
    if not moved:
        return {"n": 0, "moved_share": None, "cosine_error": None, "pcdp_full": None, "pcdp_packed": None}
    shares = np.concatenate(hits, 1).mean(1) if hits else (None, None)
    return {
        "n": int(sum(map(len, moved))),
        "moved_share": round(float(np.concatenate(moved).mean()), 5),
        "cosine_error": round(float(np.concatenate(cosine).mean()), 5),
        "pcdp_full": None if shares[0] is None else round(100 * float(shares[0]), 3),
        "pcdp_packed": None if shares[1] is None else round(100 * float(shares[1]), 3),
    }


class Answers(NamedTuple):
    """Pixels in the target and their cosines."""

    xy: Float[np.ndarray, "n 2"]
    score: Float[np.ndarray, "n"]


def _answers(queries: Float[torch.Tensor, "n c"], target: FeatureMap) -> tuple[Answers, Answers]:
    """Return the best tokens' centres, and the places between tokens."""
    centre, between = (match(queries, target, subtoken=subtoken) for subtoken in (False, True))
    return tuple(Answers(m.xy1.cpu().double().numpy(), m.score.cpu().numpy()) for m in (centre, between))  # type: ignore[return-value]


def _questions(
    truth: Truth, pair: tuple[int, int], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    xy, true = truth.xy[pair[0]], truth.xy_true[pair[0]][pair[1]]
    seen = np.nonzero(np.isfinite(true).all(-1))[0]
    asked = np.sort(rng.permutation(seen)[:QUERIES])
    return xy[asked], true[asked]


def _centres(fmap: FeatureMap, rng: np.random.Generator) -> Float[np.ndarray, "n 2"]:
    centres = token_centers(fmap).cpu().double().numpy()
    return centres[np.sort(rng.permutation(len(centres))[:QUERIES])]
