"""Where in a frame is a descriptor? Without a pull towards the middle of the picture."""

import torch
import torch.nn.functional as F
from jaxtyping import Float

from ..matching import CHUNK_SIMILARITIES, match
from ..sampling import pixel_from_token, token_centers, token_from_pixel
from ..types import FeatureMap
from .data import TrackConfig


def locate(
    descriptors: Float[torch.Tensor, "n c"],
    target: FeatureMap,
    config: TrackConfig,
    near_xy: Float[torch.Tensor, "n 2"] | None = None,
) -> Float[torch.Tensor, "n 2"]:
    """Return the pixel of each descriptor's best place.

    Args:
        descriptors: L2-normalised.
        target: The frame to search.
        config: Localisation, and how far from `near_xy` a token may be.
        near_xy: Where each point was last; the whole frame is searched without.
    """
    if near_xy is None or config.search_px is None:
        return _locate(descriptors, target, config)
    centres = token_centers(target)
    found = []
    for one, near in zip(descriptors, near_xy.to(centres), strict=True):
        distance = (centres - near).norm(dim=1)
        # The nearest token always takes part: the radius may be smaller than a token.
        allowed = distance <= torch.maximum(distance.min(), distance.new_tensor(config.search_px))
        if config.localisation == "window":
            found.append(soft_argmax(one[None], target, config.window, config.temperature, allowed))
        else:
            found.append(match(one[None], target, allowed, subtoken=config.localisation == "parabola").xy1)
    return torch.cat(found)


def _locate(
    descriptors: Float[torch.Tensor, "n c"], target: FeatureMap, config: TrackConfig
) -> Float[torch.Tensor, "n 2"]:
    if config.localisation == "window":
        return soft_argmax(descriptors, target, config.window, config.temperature)
    return match(descriptors, target, subtoken=config.localisation == "parabola").xy1


def soft_argmax(
    descriptors: Float[torch.Tensor, "n c"],
    target: FeatureMap,
    window: int,
    temperature: float,
    allowed: torch.Tensor | None = None,
) -> Float[torch.Tensor, "n 2"]:
    """Return the mean of token centres around the best token, weighted by softmax(cosine / temperature).

    Near a border the window shrinks on both sides alike, so that a clipped window pulls nothing inwards.

    Args:
        descriptors: L2-normalised.
        target: The frame to search.
        window: Tokens on each side of the best one.
        temperature: In units of cosine.
        allowed: Tokens that may be the best one (flat); all when None.
    """
    tokens = F.normalize(target.tokens.float().flatten(1), dim=0, eps=1e-12)
    chunks = descriptors.to(tokens).split(max(1, CHUNK_SIMILARITIES // tokens.shape[1]))
    found = [_centroid(chunk @ tokens, target.hw, window, temperature, allowed) for chunk in chunks]
    return pixel_from_token(target, torch.cat(found))


def _centroid(
    similarity: Float[torch.Tensor, "n hw"],
    hw: tuple[int, int],
    window: int,
    temperature: float,
    allowed: torch.Tensor | None,
) -> Float[torch.Tensor, "n 2"]:
    searched = similarity if allowed is None else similarity.masked_fill(~allowed, -torch.inf)
    best = searched.argmax(1)
    row, col = (best // hw[1])[:, None], (best % hw[1])[:, None]
    steps = torch.arange(-window, window + 1, device=similarity.device)
    dy, dx = (one.reshape(-1)[None] for one in torch.meshgrid(steps, steps, indexing="ij"))
    reach_y = torch.minimum(row, hw[0] - 1 - row)
    reach_x = torch.minimum(col, hw[1] - 1 - col)
    outside = (dy.abs() > reach_y) | (dx.abs() > reach_x)
    index = ((row + dy).clamp(0, hw[0] - 1) * hw[1] + (col + dx).clamp(0, hw[1] - 1)).long()
    weight = (similarity.gather(1, index) / temperature).masked_fill(outside, -torch.inf).softmax(1)
    return torch.cat([(col + (weight * dx).sum(1, keepdim=True)), (row + (weight * dy).sum(1, keepdim=True))], 1)


def beyond_centres(fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"]) -> Float[torch.Tensor, "n 2"]:
    """Return how far points lie outside the rectangle of token centres, in pixels.

    There a sampled feature is that of the nearest place inside. What is found elsewhere with it is that place, and
    the point itself is as far from it as it was in its own frame.
    """
    token_xy = token_from_pixel(fmap, xy)
    last = token_xy.new_tensor([fmap.hw[1] - 1, fmap.hw[0] - 1])
    inside = torch.minimum(token_xy.clamp(min=0), last)
    return (token_xy - inside) * token_xy.new_tensor(fmap.stride_xy)
