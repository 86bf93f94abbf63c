"""What a backbone's tokens say of their place alone, measured on pictures that show nothing."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ..errors import bad_input
from .extractor import Extractor

PICTURES = 2
DIRECTIONS = 20
"""Of each block, or an eighth of its channels where that is less."""


@torch.no_grad()
def position_directions(extractor: Extractor, count: int | None = None) -> Float[torch.Tensor, "blocks c k"]:
    """Return the directions in which the tokens of pictures of noise differ from place to place, for `DebiasHead`.

    The maps of two pictures of Gaussian noise are averaged, centred over tokens, and decomposed block by block: what is
    left of such pictures is the imprint of the position embedding. Source of the idea: Yang et al. 2024, "Denoising
    Vision Transformers", who learn that imprint for each picture.

    Args:
        extractor: Its blocks and the size of its pictures count, its head does not.
        count: Directions of each block, the strongest first; None for the usual number, `DIRECTIONS`.

    Returns:
        Orthonormal columns on the CPU. Always the same for the same weights and settings on one machine.

    Raises:
        EquiviewError: Not 1 to half the channels of a block, or as many as there are tokens.
    """
    config, dim = extractor.config, extractor.backbone.info.dim
    rows, cols = extractor.grid((config.long_side, config.long_side))
    most = min(dim // 2, rows * cols - 1)
    count = min(DIRECTIONS, max(1, dim // 8), most) if count is None else count
    if not 1 <= count <= most:
        raise bad_input("position directions", f"1 to {most}", str(count), f"{DIRECTIONS} is the default.")
    # Block by block without the backbone's other settings for blocks: they are normalised here, one alone too.
    source = Extractor(extractor.backbone, replace(config.single_pass, blocks=extractor.blocks)).eval()
    maps = [one.tokens for one in source.maps(noise_pictures(config.long_side), batch_size=1, device="cpu")]
    blocks = torch.stack(maps).unflatten(1, (len(extractor.blocks), dim)).flatten(3)
    mean = torch.nn.functional.normalize(blocks, dim=2).mean(0)
    left, _, _ = torch.linalg.svd(mean - mean.mean(2, keepdim=True), full_matrices=False)
    return left[:, :, :count].contiguous()


def noise_pictures(side: int) -> list[UInt8[np.ndarray, "s s 3"]]:
    """Return square pictures of grey Gaussian noise, every pixel and channel on its own."""
    rng = np.random.default_rng(0x015E)
    return [np.clip(rng.normal(128, 64, (side, side, 3)), 0, 255).astype(np.uint8) for _ in range(PICTURES)]
