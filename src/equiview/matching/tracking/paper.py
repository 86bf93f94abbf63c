"""The tracker of the published evaluation, with its quirks, for comparison with published numbers.

Source: 3DCorrEnhance, `utils/tracking_model.py`, after DINO-Tracker (Tumanyan et al., ECCV 2024). Known quirks: a
softmax of cosines without temperature is nearly flat, so a position is the centre of a disc, pulled inwards near a
border; the query's own frame is predicted too; the two cosine thresholds are the same for every backbone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float

from ...sampling import descriptors, token_centers
from ...types import FeatureMap
from ..nearest import similarity_chunks
from .data import Queries, Tracks
from .stream import OnFrame, check_clip


@dataclass(frozen=True)
class PaperConfig:
    """The constants of the published tracker.

    Attributes:
        radius_px: Tokens whose centre is at most this far from the best token's centre take part in the mean.
        anchor_cosine: Frames whose prediction is at least this similar to the query's are anchors.
        visible_cosine: A prediction less similar than this is hidden.
    """

    radius_px: float = 35.0
    anchor_cosine: float = 0.7
    visible_cosine: float = 0.6


@torch.no_grad()
def track_paper(
    maps: Sequence[FeatureMap], queries: Queries, config: PaperConfig = PaperConfig(), on_frame: OnFrame | None = None
) -> Tracks:
    """Follow query points as the published evaluation does.

    Memory grows with points x frames x channels (a descriptor of every prediction); maps are read twice, one at a time.

    Args:
        maps: One feature map a frame, of one picture size.
        queries: The points.
        config: The published constants.
        on_frame: Called with (done, total) after every frame of both passes.

    Returns:
        Tracks whose `cycle_px` is the median disagreement with the anchors.

    Raises:
        EquiviewError: No frames, a query outside its frame or in a frame there is not, a changing size.
    """
    check_clip(maps, queries)
    n, n_frames = len(queries), len(maps)
    done = on_frame or (lambda done, total: None)
    query = _query_features(maps, queries)
    found, at_found = [], []
    for frame, fmap in enumerate(maps):
        xy = disc_mean(query.to(fmap.tokens.device), fmap, config.radius_px)
        found.append(xy.cpu())
        at_found.append(descriptors(fmap, xy).cpu())
        done(frame + 1, 2 * n_frames)
    xy, features = torch.stack(found, 1), torch.stack(at_found, 1)
    own = features[torch.arange(n), torch.from_numpy(queries.frame)]
    cosine = torch.einsum("ntc,nc->nt", features, own)
    anchor = cosine >= config.anchor_cosine
    distance = torch.full((n, n_frames, n_frames), torch.nan)
    for frame, fmap in enumerate(maps):
        for point in torch.nonzero(anchor[:, frame])[:, 0].tolist():
            back = disc_mean(features[point].to(fmap.tokens.device), fmap, config.radius_px).cpu()
            distance[point, :, frame] = (back - xy[point, frame]).norm(dim=1)
        done(n_frames + frame + 1, 2 * n_frames)
    # torch's median is the lower one of an even number; frames that are no anchors are NaN and left out.
    median = distance.nanmedian(dim=2).values
    visible = _visible(median, cosine, anchor, config)
    return Tracks(xy.double().numpy(), visible, cosine.double().numpy(), median.double().numpy())


def _visible(
    median: Float[torch.Tensor, "n t"],
    cosine: Float[torch.Tensor, "n t"],
    anchor: Bool[torch.Tensor, "n t"],
    config: PaperConfig,
) -> Bool[np.ndarray, "n t"]:
    largest = torch.where(anchor, median, -torch.inf).amax(1, keepdim=True)
    return ((median <= largest) & (cosine >= config.visible_cosine)).numpy()


def _query_features(maps: Sequence[FeatureMap], queries: Queries) -> Float[torch.Tensor, "n c"]:
    features: dict[int, torch.Tensor] = {}
    for frame in sorted({int(f) for f in queries.frame}):
        fmap = maps[frame]
        queries.check(fmap.image_hw, len(maps))
        for point in np.flatnonzero(queries.frame == frame):
            features[int(point)] = descriptors(fmap, torch.from_numpy(queries.xy[[point]]).float())[0]
    return torch.stack([features[point] for point in range(len(queries))])


def disc_mean(features: Float[torch.Tensor, "n c"], target: FeatureMap, radius_px: float) -> Float[torch.Tensor, "n 2"]:
    """Return the mean token centre within a disc around the best token, weighted by softmax(max(cosine, 0))."""
    centres = token_centers(target)
    found = []
    for cosine in similarity_chunks(features, target):
        similarity = F.relu(cosine)
        best = centres[similarity.argmax(1)]
        inside = torch.cdist(best, centres) <= radius_px
        weight = similarity.softmax(1) * inside
        found.append((weight / weight.sum(1, keepdim=True)) @ centres)
    return torch.cat(found)
