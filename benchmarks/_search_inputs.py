"""What the network is shown: the mirrored picture and other sizes beside the picture. Nothing is learned."""

from collections.abc import Iterator

from _search import RECIPE_FIXED, SPREAD, Candidate, Space

from equiview.features import Extractor, FeatureConfig
from equiview.finetune.recipes import FIXED_HEADS

INPUTS = "nothing learned"
SIZES = (0.7, 1.0, 1.4)


class Inputs:
    """The candidates of this family."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def seen(self, scales: tuple[float, ...], mirrored: bool):
        backbone, head = self.space.features.backbone, FIXED_HEADS[RECIPE_FIXED]()

        def at(strength: float) -> Extractor:
            config = FeatureConfig(SPREAD, sizes=scales, mirrored=strength / 2 if mirrored else 0.0)
            return Extractor(backbone, config, head).eval()

        return lambda _: at

    def candidates(self) -> Iterator[Candidate]:
        for name, scales, mirrored, strengths in (
            ("fixed: three sizes of the picture", SIZES, False, (1.0,)),
            ("fixed: and the mirrored picture", (1.0,), True, (0.25, 0.5, 1.0)),
            ("fixed: three sizes, and mirrored", SIZES, True, (0.5, 1.0)),
        ):
            yield Candidate(name, INPUTS, self.seen(scales, mirrored), strengths=strengths, once=True)
