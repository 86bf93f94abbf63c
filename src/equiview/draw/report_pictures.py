"""What the report draws for one object, computed while the feature maps are at hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from ..io import atomic_path
from ..matching.match import match
from ..sampling import descriptors, token_centers
from ..tasks.equivariance import ObjectPlan
from ..types import FeatureMap
from .pca import fit_pca, unit_tokens

TYPICAL_ANGLE_DEG = 50.0
POINTS_SHOWN = 60
QUERIES_SHOWN = 3


def typical_pair(plan: ObjectPlan) -> tuple[int, int]:
    """Return the pair whose angle is nearest to 50 degrees: hard enough to show a difference, easy enough to see."""
    return min(plan.pairs, key=lambda pair: (abs(plan.pairs[pair].angle_deg - TYPICAL_ANGLE_DEG), pair))


def save_pictures(
    path: Path, plan: ObjectPlan, before: Sequence[FeatureMap], after: Sequence[FeatureMap], seed: int = 0
) -> None:
    """Write rgb, matches, similarity maps and PCA colours of one typical pair, before and after, as npz.

    Args:
        path: `OBJECT.npz`, written atomically.
        plan: Truth for the object.
        before: Feature maps of all its views, pretrained.
        after: The same, adapted.
        seed: Which points are shown.
    """
    i, j = typical_pair(plan)
    truth = plan.pairs[i, j]
    shown = np.sort(np.random.default_rng([seed, i, j]).permutation(len(truth))[:POINTS_SHOWN])
    queries = shown[np.linspace(0, len(shown) - 1, min(QUERIES_SHOWN, len(shown))).astype(int)]
    arrays = {
        "rgb0": plan.views[i].rgb,
        "rgb1": plan.views[j].rgb,
        "mask0": plan.views[i].mask,
        "mask1": plan.views[j].mask,
        "angle_deg": np.float64(truth.angle_deg),
        "xy0": truth.xy0[shown],
        "xy1_true": truth.xy1[shown],
        "query_xy0": truth.xy0[queries],
        "query_xy1_true": truth.xy1[queries],
        "stride_xy": np.array(before[j].stride_xy),
        "offset_xy": np.array(before[j].offset_xy),
    }
    for name, maps in (("before", before), ("after", after)):
        desc = descriptors(maps[i], torch.from_numpy(truth.xy0[shown]).float())
        arrays[f"xy1_{name}"] = match(desc, maps[j]).xy1.cpu().numpy()
        at_queries = descriptors(maps[i], torch.from_numpy(truth.xy0[queries]).float())
        arrays[f"heat_{name}"] = similarity_maps(at_queries, maps[j])
        colours0, colours1 = pca_colors([maps[i], maps[j]], [plan.views[i].mask, plan.views[j].mask])
        arrays[f"pca0_{name}"] = colours0
        arrays[f"pca1_{name}"] = colours1
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def similarity_maps(queries: Float[torch.Tensor, "q c"], target: FeatureMap) -> Float[np.ndarray, "q h w"]:
    """Return the cosine of each query with every token of the target, float16."""
    tokens = F.normalize(target.tokens.float(), dim=0)
    return torch.einsum("qc,chw->qhw", queries.to(tokens), tokens).cpu().half().numpy()


def pca_colors(maps: Sequence[FeatureMap], masks: Sequence[np.ndarray]) -> list[Float[np.ndarray, "h w 3"]]:
    """Return three principal components as colours (0-1), one basis for all maps, fitted on the object's tokens."""
    tokens = [unit_tokens(fmap) for fmap in maps]
    inside = [_on_object(m, mask) for m, mask in zip(maps, masks, strict=True)]
    fitted = fit_pca(np.concatenate([t[i] for t, i in zip(tokens, inside, strict=True)]))
    colors = []
    for fmap, own, on in zip(maps, tokens, inside, strict=True):
        color = fitted(own)
        color[~on] = 0
        colors.append(color.reshape(*fmap.hw, 3).astype(np.float16))
    return colors


def _on_object(fmap: FeatureMap, mask: np.ndarray) -> np.ndarray:
    cols, rows = token_centers(fmap).cpu().numpy().astype(int).T
    inside = mask[np.clip(rows, 0, mask.shape[0] - 1), np.clip(cols, 0, mask.shape[1] - 1)]
    return inside if inside.sum() >= 4 else np.ones(len(inside), bool)
