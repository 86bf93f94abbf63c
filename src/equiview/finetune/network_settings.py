"""How the network is trained: its adapter, the loss, the optimiser and the pairs."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ..errors import bad_input
from ..limits import MAX_BATCH, MAX_POINTS, require_at_most
from ..models.adapters.lora import LoraSpec
from .augment import AugmentConfig
from .choices import check_one_of
from .losses import LOSSES
from .pairs import PAIR_SAMPLERS, PairConfig


@dataclass(frozen=True)
class NetworkTraining:
    """How the network's adapter, and a head on it that has weights, are trained.

    Attributes:
        lora: The adapter; None for none, where a head of `add_head` is trained alone.
        train_long_side: The longer side of pictures while training, where that of the features is larger; None is that
            of the features.
        own_objects_only: Learn from the user's objects and leave the auxiliary ones to later stages.
        seen_once: Train on pictures seen once, where features are averaged over sizes or the mirrored picture.
        loss: A name of `losses.LOSSES`.
        temperature: Of the loss.
        regulariser: Weight of the equivariance regulariser added to the loss.
        lr: Learning rate of AdamW, constant.
        weight_decay: Of AdamW.
        clip: Largest gradient norm.
        steps: Optimiser steps.
        pairs: How pairs are drawn.
        augment: None for no augmentation.
        batch: Pairs in one forward pass.
        accumulate: Forward passes before an optimiser step.
        dtype: `bfloat16` runs the network under autocast; the loss and the weights stay in float32.
        checkpoint_every: Steps between checkpoints.
    """

    stage: str = field(default="network", init=False)
    lora: LoraSpec | None = LoraSpec()
    train_long_side: int | None = None
    own_objects_only: bool = False
    seen_once: bool = False
    loss: str = "smooth_ap"
    temperature: float = 0.01
    regulariser: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    steps: int = 100
    pairs: PairConfig = PairConfig()
    augment: AugmentConfig | None = None
    batch: int = 1
    accumulate: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        check_one_of("loss", self.loss, LOSSES)
        require_at_most("recipe batch", self.batch, MAX_BATCH)
        require_at_most("recipe pairs.points", self.pairs.points, MAX_POINTS)
        check_one_of("pairs.sampler", self.pairs.sampler, PAIR_SAMPLERS)
        check_one_of("dtype", self.dtype, ("float32", "bfloat16"))
        for name in ("batch", "accumulate", "checkpoint_every", "temperature", "lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise bad_input(f"recipe {name}", "a finite number above 0", str(getattr(self, name)), "Raise it.")
        for name in ("steps", "weight_decay", "regulariser"):
            if not 0 <= getattr(self, name) < math.inf:
                raise bad_input(f"recipe {name}", "a finite number, 0 or more", str(getattr(self, name)), "Raise it.")
