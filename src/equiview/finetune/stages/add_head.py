"""Put a head on top of the features before anything is learned. The smallest stage: copy this file to write another.

A stage is one file and one line in `stages.STAGES`:

1. Settings: a frozen dataclass. Its field `stage` is the stage's name, which is no argument, but written into records.
   Wrong values are refused in `__post_init__` by an `EquiviewError`. Users type `--set add_head.head=average`.
2. `run`: takes the settings, the extractor so far and the `Context` of the run (objects, folder, seed, progress), and
   returns the extractor that the next stage gets. Everything random comes from `context.seed`; nothing reads the clock.
3. `STAGE`: both, and where needed what users type without the stage's name, what it reports, what it costs.

A recipe then has the settings among its `stages` (`recipes.RECIPES`), and `Recipe.stages` is all there is to say.
"""

import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import nn

from ...models.extractor import Extractor
from ...models.fixed_heads import AverageHead, CenterHead, DebiasHead, WhitenHead
from ...models.heads import HeadChain, RandomConvHead, ResidualConvHead, with_fine
from ...models.position_bias import position_directions
from ..choices import check_one_of
from ..head_features import with_head
from .base import Context, Stage

HeadName = Literal[
    "none",
    "average",
    "centered",
    "centered_average",
    "whitened",
    "whitened_average",
    "low_rank_whitened",
    "low_rank_whitened_average",
    "debiased_whitened",
    "debiased_whitened_average",
    "whitened_average_fine",
    "debiased_whitened_average_fine",
    "random_conv",
    "residual_conv",
]
FIXED_HEADS: dict[str, Callable[[], nn.Module | None]] = {
    "none": lambda: None,
    "average": AverageHead,
    "centered": CenterHead,
    "centered_average": lambda: HeadChain([AverageHead(), CenterHead()]),
    "whitened": lambda: HeadChain([CenterHead(), WhitenHead()]),
    "whitened_average": lambda: HeadChain([AverageHead(), CenterHead(), WhitenHead(), AverageHead()]),
    "low_rank_whitened": lambda: HeadChain([CenterHead(), WhitenHead(method="low_rank")]),
    "low_rank_whitened_average": lambda: HeadChain(
        [AverageHead(), CenterHead(), WhitenHead(method="low_rank"), AverageHead()]
    ),
}
"""Values of `AddHead.head` that learn nothing, with what makes them."""
DEBIASED_HEADS: dict[str, HeadName] = {
    "debiased_whitened": "low_rank_whitened",
    "debiased_whitened_average": "low_rank_whitened_average",
}
"""Those that begin by taking position directions out, with what follows."""
FINE_HEADS: dict[str, HeadName] = {
    "whitened_average_fine": "whitened_average",
    "debiased_whitened_average_fine": "debiased_whitened_average",
}
"""Those that hold a fine part, with what they hold it beside."""
NOTHING_LEARNED = (*FIXED_HEADS, *DEBIASED_HEADS, *FINE_HEADS)
CONV_HEADS: dict[str, Callable[[int, int], nn.Module]] = {
    "random_conv": RandomConvHead,
    "residual_conv": lambda dim, seed: ResidualConvHead(dim),
}
"""Values that a stage which trains the network trains with it; from channels and seed."""


@dataclass(frozen=True)
class AddHead:
    """Which head is put on top.

    Attributes:
        head: `none`; fixed: `average`, `centered` (finer, for pose), `centered_average`, `whitened` (each picture's
            variances evened out), `whitened_average` (the same between two averages), `low_rank_whitened_average`
            (nearly that, sooner), `debiased_whitened_average` (the same behind a part that takes out what tokens say of
            their place in the picture), both also without the averages, or with both side by side (`..._fine`, see
            `FineHead`); `random_conv` (the paper's); `residual_conv`
            (starts as the identity).
    """

    stage: str = field(default="add_head", init=False)
    head: HeadName = "none"

    def __post_init__(self) -> None:
        check_one_of("head", self.head, typing.get_args(HeadName))


def run(settings: AddHead, extractor: Extractor, context: Context) -> Extractor:
    """Return the extractor with the head on top."""
    return add_head(settings, extractor, context.seed)


def add_head(settings: AddHead, extractor: Extractor, seed: int) -> Extractor:
    """Return the extractor with the head; `seed` is of its initial weights, where it has any."""
    if settings.head in NOTHING_LEARNED:
        head = fixed_head(settings.head, partial(position_directions, extractor))
    else:
        dim = extractor.backbone.info.dim * max(1, len(extractor.config.blocks))
        head = CONV_HEADS[settings.head](dim, seed)
    return extractor if head is None else with_head(extractor, head)


def fixed_head(name: str, directions: Callable[[], Float[torch.Tensor, "blocks c k"]]) -> nn.Module | None:
    """Return one of `NOTHING_LEARNED`.

    Args:
        name: Which.
        directions: Called for the position directions of the blocks it stands on, where it takes them out.
    """
    if name in FINE_HEADS:
        return with_fine(fixed_head(FINE_HEADS[name], directions))
    head = FIXED_HEADS[DEBIASED_HEADS.get(name, name)]()
    return HeadChain([DebiasHead(directions()), head]) if name in DEBIASED_HEADS and head is not None else head


STAGE = Stage(AddHead, run, ungrouped=frozenset({"head"}))
