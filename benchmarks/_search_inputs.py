"""What the network is shown: the mirrored picture and other sizes beside the picture. Nothing is learned."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from _search import RECIPE_FIXED, SPREAD, Candidate, Space

from equiview.features import Extractor, FeatureConfig, resize
from equiview.finetune.recipes import FIXED_HEADS

INPUTS = "nothing learned"


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
        return self.head(self.units(found))

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


class Inputs:
    """The candidates of this family."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def seen(self, scales: tuple[float, ...], mirrored: bool):
        backbone = self.space.features.backbone
        plain = Extractor(backbone, FeatureConfig(blocks=SPREAD), FIXED_HEADS[RECIPE_FIXED]())
        return lambda _: lambda strength: Seen(plain, scales, strength / 2 if mirrored else 0.0).eval()

    def candidates(self) -> Iterator[Candidate]:
        many = (0.7, 1.0, 1.4)
        for name, scales, mirrored, strengths in (
            ("fixed: three sizes of the picture", many, False, (1.0,)),
            ("fixed: and the mirrored picture", (1.0,), True, (0.25, 0.5, 1.0)),
            ("fixed: three sizes, and mirrored", many, True, (0.5, 1.0)),
        ):
            yield Candidate(name, INPUTS, self.seen(scales, mirrored), strengths=strengths, once=True)
