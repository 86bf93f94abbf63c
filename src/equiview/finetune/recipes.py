"""Recipes: everything about a finetuning run except the data, the seed and the machine."""

import math
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from ..errors import bad_input
from ..models.adapters.lora import LoraSpec, add_lora
from ..models.backbones.base import Backbone
from ..models.extractor import Extractor, FeatureConfig
from ..models.heads import (
    AverageHead,
    CenterHead,
    HeadChain,
    RandomConvHead,
    ResidualConvHead,
    WhitenHead,
    check_strength,
)
from .augment import AugmentConfig
from .closed_form import ClosedFormConfig
from .head_training import HeadTraining
from .losses import LOSSES
from .pairs import PAIR_SAMPLERS, PairConfig
from .used_settings import check_one_of

Kind = Literal["train", "closed_form", "train_then_closed_form", "train_head", "train_then_head", "step_head"]
TRAIN_NETWORK = ("train", "train_then_closed_form", "train_then_head")
TRAIN_HEAD = ("train_head", "train_then_head")
"""Kinds that train the network, and a linear head on fixed features."""
Head = Literal[
    "none",
    "average",
    "centered",
    "centered_average",
    "whitened_average",
    "low_rank_whitened_average",
    "random_conv",
    "residual_conv",
]
FIXED_HEADS: dict[str, Callable[[], nn.Module | None]] = {
    "none": lambda: None,
    "average": AverageHead,
    "centered": CenterHead,
    "centered_average": lambda: HeadChain([AverageHead(), CenterHead()]),
    "whitened_average": lambda: HeadChain([AverageHead(), CenterHead(), WhitenHead(), AverageHead()]),
    "low_rank_whitened_average": lambda: HeadChain(
        [AverageHead(), CenterHead(), WhitenHead(method="low_rank"), AverageHead()]
    ),
}
"""Values of `Recipe.head` that learn nothing."""
SPREAD = (1 / 3, 1 / 2, 2 / 3, 5 / 6)
"""Depths of several blocks: 4, 6, 8 and 10 of 12 (the best of a few sets tried)."""


@dataclass(frozen=True)
class Recipe:
    """A finetuning recipe.

    Attributes:
        name: Shown in records.
        kind: `train` runs `train.train`; `closed_form` solves a linear head and trains nothing; the third does both;
            `train_head` trains a linear head on the backbone's fixed features, `step_head` takes one step of it;
            `train_then_head` trains the network on the user's objects, and then such a head on what comes out.
        features: How features are extracted; its `blocks` are filled from `depths` when those are given.
        depths: Blocks as shares of the depth (0-1], for backbones of any size; empty leaves `features.blocks`.
        lora: The adapter; None for none.
        head: `none`; fixed: `average`, `centered` (finer, for pose), `centered_average`, `whitened_average` (each
            picture's variances evened out, between two averages), `low_rank_whitened_average` (nearly the same,
            sooner); `random_conv` (the paper's); `residual_conv` (starts as the identity).
        closed_form: How the linear head is solved; None where `kind` solves none.
        head_training: How the linear head is trained; None where `kind` has none.
        strength: Of the linear head that was trained: 0 is the features as they were, 1 the head in full.
        train_long_side: The longer side of pictures while the network is trained, where that of `features` is larger;
            None is that of `features`.
        loss: A name of `losses.LOSSES`.
        temperature: Of the loss.
        regulariser: Weight of the equivariance regulariser added to the loss.
        lr: Learning rate of AdamW, constant.
        weight_decay: Of AdamW.
        clip: Largest gradient norm.
        steps: Optimiser steps.
        time_budget_s: The whole adaptation (rendering, training, solving) is to take about this many seconds:
            companions are left out and training stops early where it would not fit. None for no limit.
        companions: Objects that a run trains on beside the user's own; procedural ones need no download.
        pairs: How pairs are drawn.
        augment: None for no augmentation.
        batch: Pairs in one forward pass.
        accumulate: Forward passes before an optimiser step.
        dtype: `bfloat16` runs the network under autocast; the loss and the weights stay in float32.
        checkpoint_every: Steps between checkpoints.
    """

    name: str
    kind: Kind = "train"
    features: FeatureConfig = FeatureConfig()
    depths: tuple[float, ...] = ()
    lora: LoraSpec | None = LoraSpec()
    head: Head = "none"
    closed_form: ClosedFormConfig | None = None
    head_training: HeadTraining | None = None
    strength: float = 1.0
    train_long_side: int | None = None
    loss: str = "smooth_ap"
    temperature: float = 0.01
    regulariser: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    steps: int = 100
    time_budget_s: float | None = None
    companions: tuple[str, ...] = ()
    pairs: PairConfig = PairConfig()
    augment: AugmentConfig | None = None
    batch: int = 1
    accumulate: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        check_one_of("loss", self.loss, LOSSES)
        check_one_of("pairs.sampler", self.pairs.sampler, PAIR_SAMPLERS)
        for field, choices in (("kind", Kind), ("head", Head), ("dtype", ("float32", "bfloat16"))):
            check_one_of(field, getattr(self, field), typing.get_args(choices) or choices)
        for field in ("batch", "accumulate", "checkpoint_every", "temperature", "lr", "clip"):
            if not 0 < getattr(self, field) < math.inf:
                raise bad_input(f"recipe {field}", "a finite number above 0", str(getattr(self, field)), "Raise it.")
        check_strength(self.strength, "recipe strength")
        for field in ("steps", "weight_decay", "regulariser"):
            if not 0 <= getattr(self, field) < math.inf:
                raise bad_input(f"recipe {field}", "a finite number, 0 or more", str(getattr(self, field)), "Raise it.")
        if "closed_form" in self.kind and self.closed_form is None:
            raise bad_input("recipe closed_form", f"settings for kind {self.kind!r}", "none", "Set closed_form.c=1.")
        if self.kind in (*TRAIN_HEAD, "step_head") and self.head_training is None:
            fix = "Set head_training.steps=100."
            raise bad_input("recipe head_training", f"settings for kind {self.kind!r}", "none", fix)

    def feature_config(self, blocks: int) -> FeatureConfig:
        """Return how features are extracted from a backbone of this many blocks.

        Raises:
            EquiviewError: A depth is outside (0, 1].
        """
        if not self.depths:
            return self.features
        if not all(0 < depth <= 1 for depth in self.depths):
            raise bad_input("recipe depths", "shares in (0, 1]", str(self.depths), "1 is the last block.")
        return replace(self.features, blocks=tuple(dict.fromkeys(max(1, round(d * blocks)) for d in self.depths)))


COMPANIONS = tuple(f"procedural:{seed}" for seed in range(9001, 9009))
"""Procedural objects beside the user's own, so that a run on one object does not learn that object's quirks."""

ONE_STEP = Recipe(
    "one-step",
    kind="step_head",
    depths=SPREAD,
    lora=None,
    head="whitened_average",
    head_training=HeadTraining(steps=1, points=300, members=0),
    strength=0.3,
    steps=0,
)
DEFAULT = replace(
    ONE_STEP,
    name="default",
    kind="train_head",
    head_training=HeadTraining(),
    strength=0.5,
    time_budget_s=600.0,
    companions=COMPANIONS,
)
THOROUGH = replace(DEFAULT, name="thorough", features=FeatureConfig(sizes=(0.7, 1.0, 1.4), mirrored=0.25))
"""Learns as `default` does; its adapter sees every picture six times, for about seven times the work of the network."""
OWN_OBJECT = replace(DEFAULT, name="own-object", head_training=HeadTraining(members=0), strength=1.0, companions=())
"""For other views of the very object or scene it is trained on: it learns from nothing else, and is applied in full."""
LORA_AND_HEAD = replace(
    DEFAULT,
    name="lora-and-head",
    kind="train_then_head",
    lora=LoraSpec(rank=4, last_blocks=None),
    lr=3e-4,
    steps=200,
    pairs=PairConfig(max_angle_deg=120.0),
    train_long_side=320,
    strength=1.0,
)
"""The LoRA learns the user's object alone; the head of `default` is trained on what comes out."""
WIENER = replace(
    ONE_STEP,
    name="wiener",
    kind="closed_form",
    head="centered_average",
    head_training=None,
    strength=0.5,
    closed_form=ClosedFormConfig(center="none"),
)

RECIPES: dict[str, Recipe] = {
    "paper": Recipe(
        "paper",
        head="random_conv",
        loss="smooth_ap_published",
        temperature=0.01,
        lr=1e-5,
        weight_decay=1e-4,
        clip=1.0,
        steps=100,
        pairs=PairConfig(sampler="published", points=3000, max_angle_deg=120.0),
        augment=AugmentConfig(),
    ),
    "one-step": ONE_STEP,
    "default": DEFAULT,
    "thorough": THOROUGH,
    "own-object": OWN_OBJECT,
    "lora-and-head": LORA_AND_HEAD,
    "wiener": WIENER,
    "lora-only": Recipe("lora-only", steps=100),
}
"""By name. Adding one is one entry here."""


def get_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        EquiviewError: There is none of this name; the message lists them.
    """
    check_one_of("recipe", name, RECIPES)
    return RECIPES[name]


def prepare(backbone: Backbone, recipe: Recipe, *, seed: int) -> Extractor:
    """Add the recipe's adapter and head to a backbone; what comes out is ready for `train` or `solve_closed_form`.

    Args:
        backbone: Changed in place by LoRA.
        recipe: The recipe.
        seed: Of the adapter's and the head's initial weights.

    Raises:
        EquiviewError: The adapter or the blocks do not fit the backbone.
    """
    config = recipe.feature_config(backbone.info.blocks)
    if recipe.lora is not None:
        add_lora(backbone, recipe.lora, seed)
    dim = backbone.info.dim * max(1, len(config.blocks))
    heads = FIXED_HEADS | {
        "random_conv": lambda: RandomConvHead(dim, seed),
        "residual_conv": lambda: ResidualConvHead(dim),
    }
    head = heads[recipe.head]()
    extractor = Extractor(backbone, config, head)
    return extractor.to(extractor.device)
