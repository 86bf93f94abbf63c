"""Where in a frame is a descriptor? Without a pull towards the middle of the picture."""

import torch
from jaxtyping import Bool, Float

from ...sampling import token_centers, token_from_pixel
from ...types import FeatureMap
from ..match import match_regions
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
    region = None
    if near_xy is not None and config.search_px is not None:
        nearby, reach_px = near_xy, config.search_px

        def region(queries: slice) -> Bool[torch.Tensor, "k hw"]:
            return _close(target, nearby[queries], reach_px)

    return match_regions(descriptors, target, [region], config.localise)[0].xy1


def _close(target: FeatureMap, xy: Float[torch.Tensor, "n 2"], reach_px: float) -> Bool[torch.Tensor, "n hw"]:
    """Return which token centres lie this near each place; the nearest always does, however small the reach."""
    centres = token_centers(target)
    distance = torch.cdist(xy.to(centres), centres, compute_mode="donot_use_mm_for_euclid_dist")
    return distance <= distance.amin(1, keepdim=True).clamp(min=reach_px)


def beyond_centres(fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"]) -> Float[torch.Tensor, "n 2"]:
    """Return how far points lie outside the rectangle of token centres, in pixels.

    There a sampled feature is that of the nearest place inside. What is found elsewhere with it is that place, and
    the point itself is as far from it as it was in its own frame.
    """
    token_xy = token_from_pixel(fmap, xy)
    last = token_xy.new_tensor([fmap.hw[1] - 1, fmap.hw[0] - 1])
    inside = torch.minimum(token_xy.clamp(min=0), last)
    return (token_xy - inside) * token_xy.new_tensor(fmap.stride_xy)
