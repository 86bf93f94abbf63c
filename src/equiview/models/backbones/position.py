"""Where tokens are: resampled position tables, and rotary coordinates of a token grid."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float

from ...errors import bad_input
from .base import Position


def table_side(count: int, what: str) -> int:
    """Return M of an M x M table.

    Raises:
        EquiviewError: The table is not square.
    """
    side = math.isqrt(count)
    if side * side != count:
        raise bad_input(what, "a square position table", f"{count} entries", "Use a checkpoint trained on squares.")
    return side


def resample_table(
    table: Float[torch.Tensor, "m2 c"],
    grid: tuple[int, int],
    *,
    position: Position = "hf",
    antialias: bool = False,
    square_image: bool = False,
) -> Float[torch.Tensor, "n c"]:
    """Resample a learned M x M position table to a token grid, bicubically, in float32.

    Args:
        table: Row by row, without the entries of prefix tokens.
        grid: Token rows and columns.
        position: `hf` resamples by output size, as `transformers` does. `dinov2` samples with the scale (n + 0.1) / M
            per axis, as the original code does (DINOv2 `vision_transformer.py`, `interpolate_offset` 0.1, and the
            strided variant of 3DCorrEnhance); the table is returned unchanged for a square image with as many tokens
            as entries.
        antialias: Only for `hf`: low-pass when shrinking (the register models of DINOv2 do).
        square_image: Height equals width in pixels.

    Returns:
        One position per token, row by row, in the table's dtype.
    """
    side = table_side(table.shape[0], "position table")
    if square_image and grid[0] * grid[1] == table.shape[0]:
        return table
    square = table.reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
    if position == "hf":
        resampled = F.interpolate(square, size=grid, mode="bicubic", align_corners=False, antialias=antialias)
    else:
        scale = tuple((n + 0.1) / side for n in grid)
        # The given scale, not size / side, decides where to sample: that is the whole difference between the modes.
        resampled = F.interpolate(
            square, scale_factor=scale, mode="bicubic", align_corners=False, recompute_scale_factor=False
        )
    return resampled[0].flatten(1).T.to(table.dtype)


def rotary(
    grid: tuple[int, int], *, patch: int, stride: int, head_dim: int, theta: float, like: torch.Tensor
) -> tuple[Float[torch.Tensor, "n d"], Float[torch.Tensor, "n d"]]:
    """Return the cosine and sine tables of DINOv3's rotary embedding for a token grid.

    Coordinates run from -1 to 1 over the pixels the tokens cover; a token sits at its centre patch/2 + stride * j. For
    stride = patch this is `transformers`' table. There is no random shift, jitter or scale, whatever the mode of the
    model.

    Args:
        grid: Token rows and columns.
        patch: Side of a patch, pixels.
        stride: Between patches, pixels.
        head_dim: Channels of one attention head.
        theta: Base of the frequencies (`rope_theta`).
        like: Gives device and dtype of the result; everything is computed in float32 (in bf16 the frequencies alone
            would move tokens by several patches).
    """
    axes = []
    for count in grid:
        centres = patch / 2 + stride * torch.arange(count, device=like.device, dtype=torch.float32)
        axes.append(2 * centres / (patch + stride * (count - 1)) - 1)
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    exponent = torch.arange(0, 1, 4 / head_dim, device=like.device, dtype=torch.float32)
    angles = 2 * math.pi * coordinates[:, :, None] / theta**exponent
    angles = angles.flatten(1).tile(2)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)
