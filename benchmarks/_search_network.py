"""LoRA trained by the library's loop: losses, regulariser, blocks, resolutions, views a step.

Pictures are 320 px in training, a sixth of the time of 640, but for one row; scored at 640. Two of the losses stand
here and not in the library, as nothing uses them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _method import Repetition
from _search import FINE, Candidate, Space

from equiview.finetune.augment import AugmentConfig
from equiview.finetune.learned_heads import with_trained_head
from equiview.finetune.losses import LOSSES, relations
from equiview.finetune.recipes import RECIPES, prepare
from equiview.finetune.train import train
from equiview.models.adapters import set_strength
from equiview.models.adapters.lora import LoraSpec, set_lora_strength
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig

NETWORK = "network, trained"
COMPANIONS = RECIPES["default"].companions
HARDEST = 16
"""Negatives of a query that `info_nce_hard` keeps."""
SOFT_RADIUS = 0.05
"""Standard deviation of `info_nce_soft`'s targets, object units (the longest side is 1)."""
JITTER = (224, 272, 320, 368, 416)
"""Longer sides of the pictures that training draws from, px; a step has one."""


def info_nce_hard(descriptors0, descriptors1, points0, points1, *, temperature: float = 0.05) -> torch.Tensor:
    """Return InfoNCE, both directions, of every match against the query's hardest negatives alone."""
    similarity = cosines(descriptors0, descriptors1) / temperature
    positive, negative = relations(points0, points1)
    return both_ways(_hard, similarity, positive, negative)


def _hard(similarity: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    hardest = similarity.masked_fill(~negative, -1e4).topk(min(HARDEST, similarity.shape[-1]), -1).values.logsumexp(-1)
    batch, query, match = positive.nonzero(as_tuple=True)
    return F.softplus(hardest[batch, query] - similarity[batch, query, match]).mean()


def info_nce_soft(descriptors0, descriptors1, points0, points1, *, temperature: float = 0.05) -> torch.Tensor:
    """Return cross-entropy, both directions, with targets that fall off with the 3D distance; there is no dead zone."""
    similarity = cosines(descriptors0, descriptors1) / temperature
    positive, _ = relations(points0, points1)
    distance = torch.cdist(points0.float(), points1.float(), compute_mode="donot_use_mm_for_euclid_dist")
    return both_ways(_soft, similarity, positive, -(distance**2) / (2 * SOFT_RADIUS**2))


def _soft(similarity: torch.Tensor, positive: torch.Tensor, closeness: torch.Tensor) -> torch.Tensor:
    matched = positive.any(-1)  # A query that the other view does not show has nothing to be near to.
    return -(closeness.softmax(-1) * similarity.log_softmax(-1)).sum(-1)[matched].mean()


def cosines(descriptors0: torch.Tensor, descriptors1: torch.Tensor) -> torch.Tensor:
    one, other = (F.normalize(own.float(), dim=-1) for own in (descriptors0, descriptors1))
    return one @ other.transpose(1, 2)


def both_ways(half: Callable[..., torch.Tensor], *matrices: torch.Tensor) -> torch.Tensor:
    return (half(*matrices) + half(*(one.transpose(1, 2) for one in matrices))) / 2


# A recipe names its loss: these two are named in benchmarks only.
LOSSES.update(info_nce_hard=info_nce_hard, info_nce_soft=info_nce_soft)

LORA = replace(
    RECIPES["lora-and-head"],
    name="lora",
    kind="train",
    time_budget_s=None,
    features=FeatureConfig(long_side=320),
    loss="info_nce",
    temperature=0.05,
)


@dataclass(frozen=True)
class Try:
    """What one row changes.

    Attributes:
        changes: Of the recipe `LORA`.
        companions: Objects beside the training object.
        jitter: Draw the resolution of every step.
    """

    changes: Mapping[str, Any]
    companions: Sequence[str] = ()
    jitter: bool = False


SMOOTH = {"loss": "smooth_ap", "temperature": 0.01}
TRIES = {
    "LoRA, InfoNCE": Try({}, COMPANIONS),
    "LoRA, InfoNCE, one object": Try({}),
    "LoRA, SmoothAP": Try(SMOOTH, COMPANIONS),
    "LoRA, InfoNCE, regulariser, augmented": Try({"regulariser": 1.0, "augment": AugmentConfig()}, COMPANIONS),
    "LoRA, InfoNCE, rank 16, last 4 blocks": Try({"lora": LoraSpec(rank=16, last_blocks=4)}, COMPANIONS),
    "LoRA, SmoothAP, one object": Try(SMOOTH),
    "LoRA, published SmoothAP, one object": Try(SMOOTH | {"loss": "smooth_ap_published"}),
    "LoRA, InfoNCE, one object, 16 hardest negatives": Try({"loss": "info_nce_hard"}),
    "LoRA, InfoNCE, one object, soft targets by 3D distance": Try({"loss": "info_nce_soft"}),
    "LoRA, InfoNCE, one object, resolution jitter": Try({}, jitter=True),
    # As many passes of the network: a quarter of the steps.
    "LoRA, InfoNCE, one object, 8 views a step": Try({"accumulate": 4, "steps": 50}),
    "LoRA, InfoNCE, one object, 8 views a step, 200 steps": Try({"accumulate": 4}),
    "LoRA, InfoNCE, one object, 1000 steps": Try({"steps": 1000}),
    "LoRA, InfoNCE, 1000 steps": Try({"steps": 1000}, COMPANIONS),
    "LoRA, InfoNCE, one object, 640 px": Try({"features": FeatureConfig(long_side=640)}),
}


class Network:
    """The candidates of this family."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def trained(self, name: str, own: Try):
        recipe = replace(LORA, name=name, **own.changes)

        def make(repetition: Repetition):
            extractor = prepare(load_backbone(self.space.weights), recipe, seed=repetition.seed)
            views = {name: self.space.features.views(name, 12) for name in repetition.objects}
            views |= {name: self.space.features.views(name, 6) for name in own.companions}
            label = f"{recipe.name.replace(' ', '-')}-{len(own.companions)}-{repetition.name}"
            folder = self.space.work / "training" / "search" / label
            again = jittered(extractor, repetition.seed) if own.jitter else None
            train(extractor, views, recipe, folder, seed=repetition.seed, progress=again)
            at_640 = Extractor(extractor.backbone, FeatureConfig(extractor.blocks), extractor.head).eval()

            def at(strength: float) -> Extractor:
                set_lora_strength(at_640.backbone, strength)
                return at_640

            return at

        return make

    def then_a_head(self, name: str):
        """Return what trains the head of the recipes on features whose LoRA, at full strength, is trained."""
        recipe = RECIPES["lora-and-head"]

        def make(repetition: Repetition):
            extractor = self.trained(name, TRIES[name])(repetition)(1.0)
            views = {name: self.space.features.views(name, 12) for name in repetition.objects}
            views |= {name: self.space.features.views(name, 6) for name in COMPANIONS}
            found = with_trained_head(extractor, views, recipe, None, repetition.seed, lambda *_: None).eval()

            def at(strength: float) -> Extractor:
                found.head[-1].strength = strength
                return found

            return at

        return make

    def recipe(self, repetition: Repetition):
        """Adapt as the recipe `lora-and-head` does; a strength is that of the LoRA and of the head."""
        folder = self.space.work / "training" / "search" / f"lora-and-head-{repetition.name}"
        found = self.space.features.adapted(RECIPES["lora-and-head"], repetition, folder)
        return lambda strength: set_strength(found, strength)

    def candidates(self) -> Iterator[Candidate]:
        label = "the recipe lora-and-head: LoRA of the object, then a linear head, companions of 12 views"
        yield Candidate(label, NETWORK, self.recipe, strengths=FINE, three=True, trained=True)
        for name, own in TRIES.items():
            yield Candidate(name, NETWORK, self.trained(name, own), strengths=(0.5, 1.0), trained=True)
        name = "LoRA, SmoothAP, one object"
        yield Candidate(f"{name}, then a linear head", NETWORK, self.then_a_head(name), trained=True)


def jittered(extractor: Extractor, seed: int) -> Callable[..., None]:
    """Return what draws another resolution after every step; it follows from the seed and the step."""

    def draw(done: int, steps: int, loss: float | None) -> None:
        side = int(np.random.default_rng([seed, done]).choice(JITTER)) if done < steps else LORA.features.long_side
        extractor.config = replace(extractor.config, long_side=side)

    return draw
