"""What the network is shown: the mirrored picture and other sizes beside the picture. Nothing is learned."""

import torch
import torch.nn.functional as F

from equiview.features import Extractor, resize

SIZES = (0.7, 1.0, 1.4)
MIRRORED = 0.25
"""Of the mirrored picture: with three sizes, the largest share tried that costs development pairs nothing."""


class Seen(Extractor):
    """An extractor that sees a picture several times and adds what it sees; every block is L2-normalised again.

    Args:
        extractor: Backbone, blocks, resolution and head.
        scales: Of the resolution; the tokens are those of scale 1.
        mirrored: Share of the mirrored picture's features, turned back; a half is the plain mean of both.
    """

    def __init__(self, extractor: Extractor, scales: tuple[float, ...] = (1.0,), mirrored: float = 0.0) -> None:
        super().__init__(extractor.backbone, extractor.config, extractor.head)
        self.scales, self.mirrored = scales, mirrored

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grid = self.grid((int(images.shape[2]), int(images.shape[3])))
        found = sum(self.units(resize(self.turned(images, scale), grid)) for scale in self.scales)
        features = self.units(found)
        return features if self.head is None else self.head(features)

    def turned(self, images: torch.Tensor, scale: float) -> torch.Tensor:
        own = self.plain(images, scale)
        if self.mirrored == 0:
            return own
        return self.units((1 - self.mirrored) * own + self.mirrored * self.plain(images.flip(3), scale).flip(3))

    def plain(self, images: torch.Tensor, scale: float) -> torch.Tensor:
        patch = self.backbone.info.patch
        h, w = (max(1, round(scale * side / patch)) * patch for side in self.network_hw(tuple(images.shape[2:])))
        return self.units(torch.cat(self.backbone(resize(images, (h, w)), blocks=self.blocks), 1))

    def units(self, maps: torch.Tensor) -> torch.Tensor:
        b, _, h, w = maps.shape
        return F.normalize(maps.reshape(b, len(self.blocks), -1, h, w), dim=2).reshape(maps.shape)
