"""Augmentation of training pairs: one 3x3 matrix moves the picture and its points together.

Matrices are `out_from_in` in pixels with the origin at the image corner. A point that leaves the picture is dropped
(the released code kept stale points with a replaced picture, see docs/compatibility.md).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float

from ..geometry import pixel_centers
from ..sampling import sample_grid
from .pairs import PairSample

_SALT = 0xA06  # Separates these random numbers from those that chose the pair.


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths; every part happens with its probability, independently for the two pictures.

    The defaults follow the published ranges (ShiftScaleRotate 0.25 / 0.25 / 45 degrees, each part with p = 0.5);
    hue and saturation stand in for its CLAHE and ISO noise.

    Attributes:
        geometric_p: Of the shift, scale and rotation.
        shift: Share of the picture's sides.
        scale: Relative; 0.25 is a factor between 0.75 and 1.25.
        rotate_deg: In the picture's plane.
        photometric_p: Of each photometric part.
        brightness: Added, of 1.
        contrast: Relative, about the mean grey.
        saturation: Relative.
        hue_deg: Rotation of the colour plane.
        blur_px: Largest standard deviation of the blur.
        noise: Largest standard deviation of the noise, of 1.
    """

    geometric_p: float = 0.5
    shift: float = 0.25
    scale: float = 0.25
    rotate_deg: float = 45.0
    photometric_p: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue_deg: float = 10.0
    blur_px: float = 1.5
    noise: float = 0.03


def augment(pair: PairSample, config: AugmentConfig, *, seed: int) -> PairSample:
    """Return the pair with both pictures changed, and the points that are still inside.

    Args:
        pair: The sample.
        config: What may happen.
        seed: Of the run; what does happen follows from (seed, pair.index).

    Returns:
        An aligned pair stays aligned: a point lost in one picture is dropped in both.
    """
    changed: dict[str, Any] = {}
    kept = []
    for side in (0, 1):
        rng = np.random.default_rng([seed, pair.index, _SALT, side])
        image, mask = getattr(pair, f"image{side}"), getattr(pair, f"mask{side}")
        hw = (int(image.shape[1]), int(image.shape[2]))
        image = torch.where(mask, photometric(image, config, rng), image)
        xy = getattr(pair, f"xy{side}")
        if rng.random() < config.geometric_p:
            out_from_in = random_matrix(hw, config, rng)
            background = background_color(image, mask)
            image, mask = warp(image, mask, out_from_in, background)
            xy = move_points(xy, out_from_in)
        changed |= {f"image{side}": image, f"mask{side}": mask, f"xy{side}": xy}
        kept.append(((xy >= 0) & (xy < xy.new_tensor([hw[1], hw[0]]))).all(-1))
    if pair.aligned:
        kept = [kept[0] & kept[1]] * 2
    for side in (0, 1):
        changed[f"xy{side}"] = changed[f"xy{side}"][kept[side]]
        changed[f"points{side}"] = getattr(pair, f"points{side}")[kept[side]]
    return replace(pair, **changed)


def random_matrix(hw: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> Float[torch.Tensor, "3 3"]:
    """Draw out_from_in: rotation and scale about the picture's middle, then a shift."""
    angle = math.radians(rng.uniform(-config.rotate_deg, config.rotate_deg))
    factor = 1 + rng.uniform(-config.scale, config.scale)
    middle = np.array([hw[1], hw[0]]) / 2
    moved = middle + rng.uniform(-config.shift, config.shift, 2) * (hw[1], hw[0])
    turn = factor * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, moved - turn @ middle
    return torch.from_numpy(matrix).float()


def move_points(xy: Float[torch.Tensor, "n 2"], out_from_in: Float[torch.Tensor, "3 3"]) -> Float[torch.Tensor, "n 2"]:
    """Return where pixels go."""
    return xy @ out_from_in[:2, :2].T + out_from_in[:2, 2]


def warp(
    image: Float[torch.Tensor, "3 h w"],
    mask: Bool[torch.Tensor, "h w"],
    out_from_in: Float[torch.Tensor, "3 3"],
    background: Float[torch.Tensor, "3"],
) -> tuple[Float[torch.Tensor, "3 h w"], Bool[torch.Tensor, "h w"]]:
    """Move a picture and its mask; what comes from outside the picture is background.

    Bilinear. The picture is sampled as a map with one token a pixel: stride 1, offset (0.5, 0.5).
    """
    h, w = mask.shape
    out_xy = torch.from_numpy(pixel_centers((h, w))).float().reshape(-1, 2)
    in_xy = move_points(out_xy, torch.linalg.inv(out_from_in))
    layers = torch.cat([image, mask[None].to(image.dtype)])
    moved = sample_grid(layers[None], (in_xy - 0.5)[None])[0].T.reshape(4, h, w)
    inside = ((in_xy >= 0) & (in_xy <= in_xy.new_tensor([w, h]))).all(-1).reshape(h, w)
    return torch.where(inside, moved[:3], background[:, None, None]), inside & (moved[3] > 0.5)


def background_color(image: Float[torch.Tensor, "3 h w"], mask: Bool[torch.Tensor, "h w"]) -> Float[torch.Tensor, "3"]:
    """Return the median colour off the object; black when the object fills the picture."""
    outside = image[:, ~mask]
    return outside.median(dim=1).values if outside.shape[1] else image.new_zeros(3)


def photometric(
    image: Float[torch.Tensor, "3 h w"], config: AugmentConfig, rng: np.random.Generator
) -> Float[torch.Tensor, "3 h w"]:
    """Change brightness, contrast, saturation, hue, sharpness and noise, each with probability `photometric_p`."""
    happens = rng.random(6) < config.photometric_p
    amount = rng.uniform(-1, 1, 6)
    if happens[0]:
        image = image + config.brightness * amount[0]
    if happens[1]:
        grey = image.mean()
        image = grey + (image - grey) * (1 + config.contrast * amount[1])
    if happens[2] or happens[3]:
        saturation = 1 + config.saturation * amount[2] * happens[2]
        image = _turn_colors(image, saturation, math.radians(config.hue_deg * amount[3]) * happens[3])
    if happens[4] and config.blur_px > 0:
        image = _blur(image, max(0.1, abs(amount[4]) * config.blur_px))
    if happens[5]:
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
        image = image + config.noise * abs(amount[5]) * noise
    return image.clamp(0, 1)


def _turn_colors(image: torch.Tensor, saturation: float, hue_rad: float) -> torch.Tensor:
    """Scale and turn the colour plane of YIQ (NTSC weights); grey stays grey."""
    yiq_from_rgb = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = saturation * math.cos(hue_rad), saturation * math.sin(hue_rad)
    turn = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], dtype=torch.float32)
    matrix = torch.linalg.inv(yiq_from_rgb) @ turn @ yiq_from_rgb
    return torch.einsum("oc,chw->ohw", matrix.to(image), image)


def _blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = math.ceil(3 * sigma)
    if min(image.shape[1:]) <= reach:
        return image
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(image).expand(3, 1, 1, -1)
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)[0]
