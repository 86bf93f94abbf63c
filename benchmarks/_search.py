"""What the search shares: development data, features of every second block, and the rule that compares methods."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _method import TRAIN_OBJECTS, Features, Measured, Repetition
from _protocol import short, split
from torch import nn

from equiview.finetune.head_pairs import TrainingPair
from equiview.finetune.recipes import FIXED_HEADS, ONE_STEP
from equiview.metrics.paired import difference
from equiview.models.extractor import Extractor
from equiview.models.heads import AverageHead, CenterHead, HeadChain, LinearHead, WhitenHead
from equiview.tasks.comparison import paired_difference
from equiview.tasks.equivariance import summarize
from equiview.types import FeatureMap

EVEN = (2, 4, 6, 8, 10, 12)
FIXED = FIXED_HEADS | {
    "average + centre, 5 x 5": lambda: HeadChain([AverageHead(5), CenterHead()]),
    "centre + whiten": lambda: HeadChain([CenterHead(), WhitenHead()]),
    "average + centre + whiten": lambda: HeadChain([AverageHead(), CenterHead(), WhitenHead()]),
    "centre + whiten + average": lambda: HeadChain([CenterHead(), WhitenHead(), AverageHead()]),
    "two averages, centre": lambda: HeadChain([AverageHead(), CenterHead(), AverageHead()]),
}
FIXED |= {
    f"power {power:g}, ridge {ridge:g}": lambda p=power, r=ridge: HeadChain(
        [AverageHead(), CenterHead(), WhitenHead(p, r), AverageHead()]
    )
    for power, ridge in ((0.5, 1.0), (0.7, 1.0), (0.7, 0.3), (0.85, 0.3), (1.0, 1.0), (1.0, 0.1))
}
ONE_THREE = tuple(Repetition(seed, (TRAIN_OBJECTS[seed],)) for seed in range(3))
WITHOUT = "without the object"
RECIPE_FIXED = ONE_STEP.head
SPREAD = (4, 6, 8, 10)
FINE = (0.15, 0.3, 0.5, 0.75, 1.0)
"""Strengths of the recipes' own rows."""
AT_MOST = 1.0
"""Points of PF-WILLOW that a method may lose; it is read at its best strength within them."""

Adapted = nn.Module | Extractor
Strengths = tuple[float, ...]


@dataclass(frozen=True)
class Candidate:
    """A method: what makes it, once a repetition, and at which strengths it is scored.

    Attributes:
        name: In the table.
        family: Of methods, as the table groups them.
        make: From a repetition to a function from strength to the adapted head (on fixed features) or extractor.
        blocks: Whose features it works on, for heads.
        fixed: What lies under it and learns nothing, by its name in `FIXED`; for heads.
        strengths: From 0 to 1; (1,) where there is no way back.
        once: One repetition only: nothing in it depends on seed or object.
        three: Three repetitions even where the others have one: it is a recipe.
        trained: Scored only with `--long`: it takes minutes a repetition.
        centres: Objects' points are looked for at the centres of tokens, not between them.
        seen: The head works on features of pictures seen in three sizes and mirrored, as the recipe thorough does.
    """

    name: str
    family: str
    make: Callable[[Repetition], Callable[[float], Adapted | None]]
    blocks: tuple[int, ...] = SPREAD
    fixed: str = RECIPE_FIXED
    strengths: Strengths = (0.25, 0.5, 1.0)
    once: bool = False
    three: bool = False
    trained: bool = False
    centres: bool = False
    seen: bool = False


class Blend(nn.Module):
    """Features beside a head's, each of unit length: the cosine is a mixture, (1 - s) of the one and s of the other."""

    def __init__(self, head: nn.Module, strength: float) -> None:
        super().__init__()
        self.head, self.strength = head, strength

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        own, new = F.normalize(maps, dim=1), F.normalize(self.head(maps), dim=1)
        return torch.cat([(1 - self.strength) ** 0.5 * own, self.strength**0.5 * new], 1)


def linear(matrix: np.ndarray | torch.Tensor, mean: np.ndarray | None = None) -> Callable[[float], LinearHead]:
    """Return a square linear head by strength."""
    own = torch.as_tensor(matrix).float()
    zero = torch.zeros(own.shape[1]) if mean is None else torch.as_tensor(mean).float()
    return lambda strength: LinearHead(own, zero, strength)


@dataclass
class Space:
    """Features of the data the search may look at: training objects, development objects, five classes."""

    weights: str
    work: Path

    def __post_init__(self) -> None:
        self.features = Features(self.weights, self.work, EVEN, FIXED)
        self.seen = Features(self.weights, self.work, fixed=FIXED, seen=True)
        self.measured = Measured(self.features, split("dev"), chosen_only=True)
        self.at_centres = copy(self.measured)
        self.at_centres.config = replace(self.measured.config, subtoken=False)
        self.when_seen = copy(self.measured)
        self.when_seen.features = self.seen

    def ordinary(self, seed: int, blocks=SPREAD, fixed: str = RECIPE_FIXED) -> list[FeatureMap]:
        return self.features.ordinary(seed, blocks, fixed)

    def pairs(self, name: str, seed: int, count: int = 12, blocks=SPREAD, fixed=RECIPE_FIXED) -> list[TrainingPair]:
        return self.features.pairs(name, seed, blocks, count, fixed)

    # Scoring ------------------------------------------------------------------------------------------------------

    def score(self, candidate: Candidate, repetition: Repetition) -> None:
        """Score a repetition at every strength; what is finished is only read."""
        made: list[Callable[[float], Adapted | None]] = []

        def at(strength: float) -> Adapted | None:
            if not made:
                made.append(candidate.make(repetition))
            return made[0](strength)

        measured = self.at_centres if candidate.centres else self.when_seen if candidate.seen else self.measured
        for strength in candidate.strengths:
            label = self.label(candidate, repetition, strength)
            if measured.done(label):
                continue
            adapted = at(strength)
            if isinstance(adapted, Extractor):
                measured.extractor(label, lambda own=adapted: own)
            else:
                measured.head(label, candidate.blocks, lambda own=adapted: own, candidate.fixed)

    def label(self, candidate: Candidate, repetition: Repetition, strength: float) -> str:
        plain = "-".join(candidate.name.replace(",", " ").replace("/", " ").replace("%", "").split())
        return f"searched/{plain}/{strength:g}/{repetition.name}"

    # Reading ------------------------------------------------------------------------------------------------------

    def result(self, candidate: Candidate, repetitions: Sequence[Repetition], base: str) -> dict[str, Any] | None:
        """Return a candidate's scores by strength, and those at the strength the rule picks."""
        base_rows, base_pck = self.measured.rows([base]), self.measured.pck([base], "chosen")
        by_strength = {}
        for strength in candidate.strengths:
            labels = [self.label(candidate, one, strength) for one in repetitions]
            labels = [label for label in labels if self.measured.done(label)]
            if not labels:
                return None
            rows, pck = self.measured.rows(labels), self.measured.pck(labels, "chosen")
            metrics = summarize(rows, {})["metrics"]
            by_strength[f"{strength:g}"] = {
                "pcdp@0.05": metrics["pcdp@0.05"]["value"],
                "by_angle": {k: v["value"] for k, v in metrics["pcdp@0.05"]["by_angle"].items()},
                "ape": metrics["ape"]["value"],
                "willow": float(np.mean(list(pck.values()))),
                "gain": short(paired_difference(base_rows, rows, "pcdp@0.05")),
                "willow_change": short(difference(base_pck, pck, "pck@0.10")),
                "repetitions": len(labels),
            }
        within = {s: r for s, r in by_strength.items() if r["willow_change"]["value"] >= -AT_MOST}
        best = max(within, key=lambda s: within[s]["pcdp@0.05"], default=None)
        return {"family": candidate.family, "best_strength": best, "by_strength": by_strength}
