"""What the network is shown: other sizes, the mirrored picture, overlapping patches; and places between tokens.

Nothing is learned.
"""

from collections.abc import Iterator

from _search import RECIPE_FIXED, SPREAD, Candidate, Space
from _search_solved import nothing

from equiview.finetune.recipes import FIXED_HEADS, RECIPES
from equiview.models.extractor import Extractor, FeatureConfig

INPUTS = "nothing learned"
SIZES = RECIPES["thorough"].features.sizes
FEWER = {"0.7 and 1": (0.7, 1.0), "0.5, 0.7 and 1": (0.5, 0.7, 1.0), "1 and 1.4": (1.0, 1.4), "1.4 alone": (1.4,)}


class Inputs:
    """The candidates of this family."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def seen(self, sizes: tuple[float, ...] = (), mirrored: bool = False, stride: int | None = None):
        backbone, head = self.space.features.backbone, FIXED_HEADS[RECIPE_FIXED]()

        def at(strength: float) -> Extractor:
            config = FeatureConfig(SPREAD, sizes=sizes, mirrored=strength / 2 if mirrored else 0.0, stride=stride)
            return Extractor(backbone, config, head).eval()

        return lambda _: at

    def candidates(self) -> Iterator[Candidate]:
        for name, sizes, mirrored, strengths in (
            ("fixed: three sizes of the picture", SIZES, False, (1.0,)),
            ("fixed: and the mirrored picture", (1.0,), True, (0.25, 0.5, 1.0)),
            ("fixed: three sizes, and mirrored", SIZES, True, (0.5, 1.0)),
        ):
            yield Candidate(name, INPUTS, self.seen(sizes, mirrored), strengths=strengths, once=True)
        for name, sizes in FEWER.items():
            yield Candidate(f"fixed: sizes {name}", INPUTS, self.seen(sizes), strengths=(1.0,), once=True)
            label = f"fixed: sizes {name}, and mirrored"
            yield Candidate(label, INPUTS, self.seen(sizes, True), strengths=(0.5,), once=True)
        name = "fixed: a token every 8 px"
        yield Candidate(name, INPUTS, self.seen(stride=8), strengths=(1.0,), once=True, trained=True)
        name = "fixed: points at the centres of tokens (PF-WILLOW between them)"
        yield Candidate(name, INPUTS, nothing, strengths=(0.0,), once=True, centres=True)
