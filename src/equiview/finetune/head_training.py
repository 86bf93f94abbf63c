"""A linear head trained on the fixed features of a few objects: a matrix product a step, no pass through the backbone.

Corresponding tokens of two views are pulled together against all other places of the target view (InfoNCE, van den Oord
et al., 2018), while the similarities between tokens of unlabeled images are held where they were. The features come
from one pass over every view, so that a thousand steps cost a minute on a laptop.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from ..errors import bad_input
from ..models.heads import LinearHead, check_strength
from ..sampling import sample, token_centers
from ..types import FeatureMap
from .head_pairs import TrainingPair

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadTraining:
    """How a linear head is trained.

    Attributes:
        strength: Of the head: 0 is the features as they were, 1 the head in full.
        steps: Steps of Adam.
        lr: Its learning rate, falling linearly to zero after a short warm-up.
        temperature: Of InfoNCE.
        retention: Weight of what holds the similarities of unlabeled images: the mean squared change of their cosines
            over the variance of these.
        shrinkage: Weight of the squared distance of the matrix from the identity, a mean over channels.
        pairs: Pairs of views in a step.
        points: Correspondences of a pair in a step.
        negatives: Tokens of the target view in a step, beside the other correspondences.
        dead_zone: Places of the target nearer than this to the right one are no negatives, in tokens.
        max_angle_deg: Pairs whose viewing directions differ more are left out.
        min_overlap: Pairs that share less of the surface (0-1) are left out.
        instances: Instances of each rendered category (see `data.synthetic.categories`) whose surfaces are matched to
            one another, so that what tells one from the next does not drown what they have in common; 0 for none.
        category_share: Share of the pairs that are of two instances of a category.
        pictures: Unlabeled images that similarities are held on, at most 60.
    """

    stage: str = field(default="head_training", init=False)
    steps: int = 100
    lr: float = 1e-3
    temperature: float = 0.05
    retention: float = 3.0
    shrinkage: float = 0.1
    pairs: int = 4
    points: int = 128
    negatives: int = 400
    dead_zone: float = 1.5
    max_angle_deg: float = 120.0
    min_overlap: float = 0.1
    instances: int = 24
    category_share: float = 0.5
    pictures: int = 60
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lr", "temperature", "pairs", "points", "negatives", "pictures"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise bad_input(f"head training {name}", "a number above 0", str(getattr(self, name)), "Raise it.")
        for name in ("steps", "retention", "shrinkage", "dead_zone"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise bad_input(f"head training {name}", "0 or more", str(getattr(self, name)), "Raise it.")
        check_strength(self.strength, "recipe strength")
        if self.instances == 1 or self.instances < 0 or not 0 <= self.category_share < 1:
            found = f"{self.instances} instances, share {self.category_share}"
            fix = "instances=0 does without categories."
            raise bad_input("head training categories", "no instances or two and more, a share in [0, 1)", found, fix)


class PairLoss(Protocol):
    """Settings of the loss of a pair, see `HeadTraining`."""

    @property
    def temperature(self) -> float: ...
    @property
    def points(self) -> int: ...
    @property
    def negatives(self) -> int: ...
    @property
    def dead_zone(self) -> float: ...


Progress = Callable[[int, int, float], None]


def train_head(
    objects: Sequence[Sequence[TrainingPair]],
    categories: Sequence[TrainingPair],
    pictures: Iterable[FeatureMap],
    config: HeadTraining,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    stop_after_s: float | None = None,
    progress: Progress | None = None,
) -> LinearHead:
    """Train a linear head on fixed features.

    The seed decides everything, unless the training is stopped. It is a minute or two of work, so an interrupted one
    begins anew.

    Args:
        objects: For each training object its pairs of views, see `head_pairs.object_pairs`.
        categories: Pairs of instances of one category, see `head_pairs.category_pairs`; empty for none.
        pictures: Feature maps of unlabeled images, for retention.
        config: Everything about the optimisation.
        seed: Of the points, pairs and tokens.
        device: Where the head is; maps may lie elsewhere.
        stop_after_s: Training that takes longer is stopped: it overran its plan. None for never.
        progress: Called after every step with steps done, steps in all and the loss.

    Raises:
        EquiviewError: No object, no picture, or the training diverged.
    """
    unlabeled = [fmap.tokens.flatten(1).T for fmap in pictures]
    if not unlabeled or not objects:
        found = f"{len(objects)} objects, {len(unlabeled)} pictures"
        raise bad_input("head training", "at least one object and one picture", found, "Give a mesh.")
    dim = unlabeled[0].shape[1]
    head = LinearHead(torch.eye(dim), torch.zeros(dim)).to(device).requires_grad_(True)
    optimiser = torch.optim.Adam(head.parameters(), lr=config.lr)
    rng, started = np.random.default_rng([seed, 0x4EAD]), time.monotonic()
    with torch.enable_grad():
        for step in range(config.steps):
            if stop_after_s is not None and time.monotonic() - started >= stop_after_s:
                log.warning("overran: time for %d of %d steps of the head's training", step, config.steps)
                break
            for group in optimiser.param_groups:
                group["lr"] = rate(config, step)
            drawn = [_draw(objects, categories, config, rng) for _ in range(config.pairs)]
            loss = head_loss(head, drawn, unlabeled, config, rng)
            if not bool(loss.isfinite()):
                raise bad_input("head training", "a finite loss", f"{loss.item()} at step {step}", "Lower lr.")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if progress is not None:
                progress(step + 1, config.steps, loss.item())
    return LinearHead(head.matrix.cpu(), head.mean.cpu(), config.strength).requires_grad_(False)


def rate(config: HeadTraining, step: int) -> float:
    """Return the learning rate of a step, counted from 0: a short warm-up, then linearly to zero."""
    warm_up = max(1, min(20, config.steps // 5))
    return config.lr * min(1, (step + 1) / warm_up) * (1 - step / config.steps)


def _draw(
    objects: Sequence[Sequence[TrainingPair]],
    categories: Sequence[TrainingPair],
    config: HeadTraining,
    rng: np.random.Generator,
) -> TrainingPair:
    """Draw a pair: of a category at its share, else of an object, every object equally often."""
    of_category = bool(categories) and rng.random() < config.category_share
    pairs = categories if of_category else objects[int(rng.integers(len(objects)))]
    return pairs[int(rng.integers(len(pairs)))]


def head_loss(
    head: LinearHead,
    pairs: Sequence[TrainingPair],
    unlabeled: Sequence[Float[torch.Tensor, "n c"]],
    config: HeadTraining,
    rng: np.random.Generator,
) -> Float[torch.Tensor, ""]:
    """Return the loss of one step: mean InfoNCE of the pairs, plus what holds the head back."""
    loss = torch.stack([pair_loss(head, pair, config, rng) for pair in pairs]).mean()
    away = (head.matrix - torch.eye(len(head.matrix)).to(head.matrix)).square().sum() / len(head.matrix)
    loss = loss + config.shrinkage * away
    return loss + config.retention * retention_loss(head, unlabeled, rng) if config.retention else loss


def pair_loss(
    head: LinearHead, pair: TrainingPair, config: PairLoss, rng: np.random.Generator
) -> Float[torch.Tensor, ""]:
    """Return InfoNCE of correspondences against tokens of the whole target view, background included.

    A search looks at the whole picture, so the negatives are drawn from all of it.
    """
    chosen = _some(len(pair.xy0), config.points, rng)
    xy0, xy1 = pair.xy0[chosen], pair.xy1[chosen]
    centers = token_centers(pair.target)
    others = _some(len(centers), config.negatives, rng)
    source, target = in_float32(pair.source), in_float32(pair.target)
    tokens = target.tokens.flatten(1).T[others]
    query, match, other = unit_descriptors(head, sample(source, xy0), sample(target, xy1), tokens)
    places = torch.cat([xy1, centers[others]])
    near = torch.cdist(xy1, places) < config.dead_zone * max(pair.target.stride_xy)
    similarity = query @ torch.cat([match, other]).T / config.temperature
    right = (query * match).sum(1) / config.temperature
    wrong = similarity.masked_fill(near.to(similarity.device), -torch.inf)
    return (torch.logsumexp(torch.cat([right[:, None], wrong], 1), 1) - right).mean()


def in_float32(fmap: FeatureMap) -> FeatureMap:
    """Return a map in the precision that heads are trained in: kept ones are in half."""
    return fmap if fmap.tokens.dtype == torch.float32 else fmap.replace_tokens(fmap.tokens.float())


def retention_loss(
    head: LinearHead, unlabeled: Sequence[Float[torch.Tensor, "n c"]], rng: np.random.Generator
) -> Float[torch.Tensor, ""]:
    """Return the mean squared change of cosines within and between two unlabeled images, over their variance."""
    images = [unlabeled[int(rng.integers(len(unlabeled)))] for _ in range(2)]
    first, second = (
        tokens[_some(len(tokens), count, rng)].float() for tokens, count in zip(images, (200, 400), strict=True)
    )
    both = torch.cat([first, second])
    before = (F.normalize(first, dim=1) @ F.normalize(both, dim=1).T).to(head.matrix.device)
    (after,) = unit_descriptors(head, both)
    return (after[: len(first)] @ after.T - before).square().mean() / before.var().clamp(min=1e-6)


def unit_descriptors(head: LinearHead, *tokens: Float[torch.Tensor, "n c"]) -> list[Float[torch.Tensor, "n c"]]:
    """Return unit descriptors of several sets of features, one product for all."""
    together = torch.cat(tokens).to(head.matrix.device)
    out = head(together.T[None, :, :, None])[0, :, :, 0].T
    return list(F.normalize(out, dim=1, eps=1e-12).split([len(part) for part in tokens]))


def _some(available: int, wanted: int, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.permutation(available)[:wanted])
