"""What a retention report measures."""

import math
from dataclasses import dataclass

from ...data.synthetic.categories import CategoryWorld
from ...data.synthetic.clips import ClipWorld
from ...errors import bad_input

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TASKS = ("drift", "equivariance", "transfer", "tracking")
# The score of each task that the figure and the words are about.
HEADLINES = {"equivariance": "pcdp@0.05", "transfer": "pck@0.10", "tracking": "average_jaccard"}
NEAR_WORDS = (
    "cosine of the same token before and after, -1 to 1; linear CKA over all tokens, 0 to 1; neighbours = share (0-1) "
    "of tokens whose nearest token in the next picture stays within one token"
)


@dataclass(frozen=True)
class Sizes:
    """How much is rendered or drawn where nothing is given.

    Attributes:
        photos: Photos looked at, of a folder too; or pictures drawn.
        instances: Of each category of objects.
        category: What their pictures look like.
        clips: How many.
        clip: What they look like.
    """

    photos: int = 16
    instances: int = 5
    category: CategoryWorld = CategoryWorld(hw=(256, 256))
    clips: int = 5
    clip: ClipWorld = ClipWorld(frames=8)


@dataclass(frozen=True)
class RetentionConfig:
    """What is measured, apart from the adapter.

    Attributes:
        strengths: Of the adapter, 0 to 1. Strength 0 is always measured: all others are compared with it.
        tolerance: Points of PCK@0.10 that may be lost at the recommended strength.
        photos: Folder of unlabeled images for the drift; None draws pictures.
        objects: Of the equivariance, as `measure` takes them; empty for the built-in ones that were not trained on.
        pairs: Of the transfer, NAME:PATH (pf-willow:FOLDER); None renders instances of categories.
        clips: Of the tracking, badja:FOLDER or tapvid:FILE; None renders clips.
        views: Views of each object.
        points: Surface points sampled in each view.
        queries: Tokens of each photo that look for their nearest neighbour in the next.
        sizes: Of what is rendered or drawn.
        seed: Of everything random.
    """

    strengths: tuple[float, ...] = STRENGTHS
    tolerance: float = 1.0
    photos: str | None = None
    objects: tuple[str, ...] = ()
    pairs: str | None = None
    clips: str | None = None
    views: int = 6
    points: int = 300
    queries: int = 200
    sizes: Sizes = Sizes()
    seed: int = 0

    def __post_init__(self) -> None:
        bad = [one for one in self.strengths if not 0 <= one <= 1]
        if bad or not any(self.strengths):
            found = ", ".join(f"{one:g}" for one in bad or self.strengths) or "none"
            raise bad_input("strengths", "numbers from 0 to 1, one above 0", found, "For example 0.25 0.5 0.75 1.")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise bad_input("tolerance", "points, 0 or more", str(self.tolerance), "1 is the default.")

    @property
    def measured(self) -> tuple[float, ...]:
        """The strengths in order, 0 first."""
        return tuple(sorted({0.0, *map(float, self.strengths)}))
