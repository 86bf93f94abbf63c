"""Pixels to tokens and back, and the only `grid_sample` of the package."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from .types import FeatureMap

Mode = Literal["bilinear", "bicubic"]


def token_from_pixel(fmap: FeatureMap, xy: Float[torch.Tensor, "*n 2"]) -> Float[torch.Tensor, "*n 2"]:
    """Return token coordinates: 0 is the centre of the first token, 1 the centre of the next."""
    stride, offset = xy.new_tensor(fmap.stride_xy), xy.new_tensor(fmap.offset_xy)
    return (xy - offset) / stride


def pixel_from_token(fmap: FeatureMap, token_xy: Float[torch.Tensor, "*n 2"]) -> Float[torch.Tensor, "*n 2"]:
    """Return the pixel that token coordinates describe; the inverse of `token_from_pixel`."""
    stride, offset = token_xy.new_tensor(fmap.stride_xy), token_xy.new_tensor(fmap.offset_xy)
    return token_xy * stride + offset


def token_centers(fmap: FeatureMap) -> Float[torch.Tensor, "hw 2"]:
    """Return the pixel of every token centre, row by row."""
    rows, cols = fmap.hw
    device = fmap.tokens.device
    ys, xs = torch.meshgrid(torch.arange(rows, device=device), torch.arange(cols, device=device), indexing="ij")
    return pixel_from_token(fmap, torch.stack([xs, ys], -1).reshape(-1, 2).to(torch.float32))


def nearest_centers(fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"]) -> Float[torch.Tensor, "n 2"]:
    """Return the pixel of the token centre nearest to each place: the best a search among tokens can find."""
    rows, cols = fmap.hw
    last = xy.new_tensor([cols - 1, rows - 1])
    return pixel_from_token(fmap, token_from_pixel(fmap, xy).round().clamp(min=0).minimum(last))


def grid_error_px(fmap: FeatureMap, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n"]:
    """Return how far the nearest token centre is from each place, in pixels."""
    return np.linalg.norm(nearest_centers(fmap, torch.from_numpy(xy)).numpy() - xy, axis=1)


def sample_grid(
    maps: Float[torch.Tensor, "b c h w"], token_xy: Float[torch.Tensor, "b n 2"], mode: Mode = "bilinear"
) -> Float[torch.Tensor, "b n c"]:
    """Sample maps at token coordinates, clamped to the border. Differentiable in both arguments."""
    size = token_xy.new_tensor([maps.shape[-1], maps.shape[-2]])
    grid = (token_xy + 0.5) / size * 2 - 1
    sampled = F.grid_sample(
        maps, grid[:, :, None].to(maps.dtype), mode=mode, padding_mode="border", align_corners=False
    )
    return sampled[..., 0].transpose(1, 2)


def sample(fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"], mode: Mode = "bilinear") -> Float[torch.Tensor, "n c"]:
    """Return the raw feature at image pixels `xy`."""
    return sample_grid(fmap.tokens[None], token_from_pixel(fmap, xy.to(fmap.tokens.device))[None], mode)[0]


def descriptors(
    fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"], mode: Mode = "bilinear"
) -> Float[torch.Tensor, "n c"]:
    """Return the L2-normalised feature at image pixels `xy` (normalised after interpolation)."""
    return F.normalize(sample(fmap, xy, mode).float(), dim=-1, eps=1e-12)
