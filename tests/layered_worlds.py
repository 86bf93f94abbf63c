"""A backbone of which one block knows the 3D point behind a pixel, and the others know nothing."""

import torch
import torch.nn.functional as F
from torch import nn

from equiview.models.backbones.base import Backbone, BackboneInfo
from equiview.models.extractor import Extractor, FeatureConfig

BLOCKS, PATCH, RADIUS = 6, 4, 2.0


def layered(knowing: int, blocks: int = BLOCKS, sha256: str = "0" * 64) -> Extractor:
    """Return features for `worlds.sphere_ring`, whose colours are positions."""

    def encode(model, images, wanted, *, norm, stride, position):
        return [positions(images) if block == knowing else noise(images, block) for block in wanted]

    info = BackboneInfo("layered", "made", PATCH, 4, blocks, 1, (0.0,) * 3, (1.0,) * 3, sha256)
    return Extractor(Backbone(info, nn.Linear(1, 1), encode), FeatureConfig(long_side=64)).eval()


def positions(images):
    """Lift positions to a sphere, as `OracleExtractor` does; black pixels are no point."""
    seen = (images.sum(1, keepdim=True) > 0).float()
    share = F.avg_pool2d(seen, PATCH)
    points = F.avg_pool2d((images * 255 - 128) / 127 * seen, PATCH) / share.clamp(min=1e-6) / RADIUS
    lifted = torch.cat([points, (1 - points.square().sum(1, keepdim=True)).clamp(min=0).sqrt()], 1)
    return torch.where(share > 0, lifted, 0.0)


def noise(images, block):
    rows, columns = images.shape[2] // PATCH, images.shape[3] // PATCH
    seeds = [1000 * block + int(image.double().sum() * 1000) % 997 for image in images]
    return torch.stack([torch.randn(4, rows, columns, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
