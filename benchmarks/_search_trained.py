"""Heads that are trained on fixed features.

To save time companions have 6 views here; in the recipe's own row they have its 12.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from _method import Features, Repetition
from _protocol import split
from _search import FINE, RECIPE_FIXED, SPREAD, Blend, Candidate, Space, linear
from _search_steps import identity
from torch import nn

from equiview.finetune.head_pairs import TrainingPair
from equiview.finetune.head_training import HeadTraining, pair_loss, train_head
from equiview.finetune.recipes import RECIPES
from equiview.types import FeatureMap

LINEAR, OTHER, DATA = "linear head, trained", "other heads, trained", "training data"
DEFAULT = RECIPES["default"]
COMPANIONS = DEFAULT.companions


class NeighbourhoodAttention(nn.Module):
    """Tokens plus what they attend to among their k x k neighbours (Hassani et al., CVPR 2023); starts as the identity.

    Args:
        dim: Channels.
        inner: Channels of queries, keys and values.
        side: k.
    """

    def __init__(self, dim: int, inner: int = 64, side: int = 5) -> None:
        super().__init__()
        self.side, self.scale = side, inner**-0.5
        self.query, self.key, self.value = (nn.Conv2d(dim, inner, 1, bias=False) for _ in range(3))
        self.out = nn.Conv2d(inner, dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        unit = F.normalize(maps, dim=1) * maps.shape[1] ** 0.5
        query, keys, values = self.query(unit), self.around(self.key(unit)), self.around(self.value(unit))
        weights = ((query[:, :, None] * keys).sum(1, keepdim=True) * self.scale).softmax(2)
        return maps + self.out((weights * values).sum(2))

    def around(self, maps: torch.Tensor) -> torch.Tensor:
        b, c, h, w = maps.shape
        padded = F.pad(maps, (self.side // 2,) * 4, mode="replicate")
        return F.unfold(padded, self.side).reshape(b, c, self.side**2, h, w)


class Mlp(nn.Module):
    """Tokens plus a two-layer network of them; starts as the identity."""

    def __init__(self, dim: int, inner: int = 256) -> None:
        super().__init__()
        self.inner, self.out = nn.Conv2d(dim, inner, 1), nn.Conv2d(inner, dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.out(F.gelu(self.inner(F.normalize(maps, dim=1) * maps.shape[1] ** 0.5)))


def train_maps(
    head: nn.Module,
    objects: Sequence[Sequence[TrainingPair]],
    families: Sequence[TrainingPair],
    pictures: Sequence[FeatureMap],
    config: HeadTraining,
    seed: int,
) -> nn.Module:
    """Train a head that looks at whole maps by the loss of linear heads (`head_training.train_head`)."""
    rng, plain = np.random.default_rng([seed, 0x4EAD]), identity(pictures[0].tokens.shape[0])
    optimiser = torch.optim.Adam(head.parameters(), lr=config.lr)
    with torch.enable_grad():
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.lr * min(1, (step + 1) / 20) * (1 - step / config.steps)
            loss = torch.zeros(())
            for _ in range(config.pairs):
                family = bool(families) and rng.random() < config.family_share
                own = families if family else objects[int(rng.integers(len(objects)))]
                loss = (
                    loss + pair_loss(plain, moved(head, own[int(rng.integers(len(own)))]), config, rng) / config.pairs
                )
            loss = loss + config.retention * kept(head, pictures, rng)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return head.eval().requires_grad_(False)


def moved(head: nn.Module, pair: TrainingPair) -> TrainingPair:
    source, target = (m.replace_tokens(head(m.tokens[None])[0]) for m in (pair.source, pair.target))
    return TrainingPair(source, target, pair.xy0, pair.xy1)


def kept(head: nn.Module, pictures: Sequence[FeatureMap], rng: np.random.Generator) -> torch.Tensor:
    """Return the mean squared change of cosines within and between two pictures, over their variance."""
    before, after = [], []
    for number in rng.integers(len(pictures), size=2):
        tokens = pictures[int(number)].tokens[None]
        chosen = torch.from_numpy(rng.permutation(tokens[0, 0].numel())[:400])
        for own, maps in ((before, tokens), (after, head(tokens))):
            own.append(F.normalize(maps[0].flatten(1)[:, chosen].T, dim=1))
    was, now = (torch.cat(own) @ torch.cat(own).T for own in (before, after))
    return (now - was).square().mean() / was.var().clamp(min=1e-6)


class Trained:
    """The candidates of these families."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def data(self, own: Features, repetition: Repetition, more: Sequence[str], members: int, views: int = 6):
        objects = [(name, 12) for name in repetition.objects] + [(name, views) for name in more]
        pairs = [own.pairs(name, repetition.seed, SPREAD, count, RECIPE_FIXED) for name, count in objects]
        return pairs, own.families(members, repetition.seed, RECIPE_FIXED)

    def linear(self, more: Sequence[str] = COMPANIONS, views: int = 6, seen: bool = False, **settings):
        """Return what trains a linear head, on the pictures as they are or `seen` in three sizes and mirrored."""
        config, own = replace(HeadTraining(), **settings), self.space.seen if seen else self.space.features

        def make(repetition: Repetition):
            pairs, families = self.data(own, repetition, more, config.members, views)
            pictures = own.ordinary(repetition.seed, SPREAD, RECIPE_FIXED)
            head = train_head(pairs, families, pictures, config, seed=repetition.seed)
            return linear(head.matrix, head.mean)

        return make

    def other(self, kind: Callable[[int], nn.Module], **settings):
        config = replace(HeadTraining(), **settings)

        def make(repetition: Repetition):
            pairs, families = self.data(self.space.features, repetition, COMPANIONS, config.members)
            pictures = self.space.ordinary(repetition.seed)
            torch.manual_seed(repetition.seed)
            head = kind(pictures[0].tokens.shape[0])
            head = train_maps(head, pairs, families, pictures, config, repetition.seed)
            return lambda strength: Blend(head, strength)

        return make

    def candidates(self) -> Iterator[Candidate]:
        make = self.linear(views=12)
        yield Candidate(
            "the recipe default: linear head, companions of 12 views", LINEAR, make, strengths=FINE, three=True
        )
        for name, make in {
            "learned on them": self.linear(steps=100, seen=True),
            "learned on pictures as they are": self.linear(steps=100),
        }.items():
            label = f"linear head, three sizes and mirrored, {name}"
            yield Candidate(label, LINEAR, make, strengths=(0.0, *FINE), seen=True)
        for steps in (50, 100, 200, 600):
            yield Candidate(f"linear head, {steps} steps", LINEAR, self.linear(steps=steps))
        for name, settings in {
            "temperature 0.1": {"temperature": 0.1},
            "temperature 0.025": {"temperature": 0.025},
            "no retention": {"retention": 0.0},
            "16 pairs a step": {"pairs": 16},
            "no dead zone": {"dead_zone": 0.01},
        }.items():
            yield Candidate(f"linear head, 100 steps, {name}", LINEAR, self.linear(steps=100, **settings))
        for name, more, settings in (
            ("no companions", (), {}),
            ("no families", COMPANIONS, {"members": 0}),
            ("the object alone", (), {"members": 0}),
            ("5 scanned companions", split("train")[-5:], {}),
            ("families a quarter", COMPANIONS, {"family_share": 0.25}),
            ("50 procedural companions", tuple(f"procedural:{n}" for n in range(9001, 9051)), {}),
        ):
            yield Candidate(f"linear head, 100 steps, {name}", DATA, self.linear(more, steps=100, **settings))
        yield Candidate("neighbourhood attention, 100 steps", OTHER, self.other(NeighbourhoodAttention, steps=100))
        yield Candidate("residual two-layer head, 100 steps", OTHER, self.other(Mlp, steps=100))
