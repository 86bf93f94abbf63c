"""A linear head one optimiser step from the identity: the gradient of every pair of views of an object at once.

The gradient is InfoNCE's over the pairs among three of four views; how far to follow it is searched on the pairs that
the other views take part in. The object decides both, so there is nothing to tune and nothing to draw but points.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import bad_input
from ..models.heads import LinearHead, check_strength
from .head_pairs import TrainingPair
from .head_training import pair_loss

log = logging.getLogger(__name__)

SIZES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Lengths of the step that are tried, as shares of the norm of the identity."""
HELD_OUT = 4
"""Every fourth view is held out."""
SEARCHED = 32
"""Pairs that the search looks at, at most."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class HeadStep:
    """How a linear head is moved by one step.

    Attributes:
        temperature: Of InfoNCE.
        points: Correspondences of a pair, at most.
        negatives: Tokens of the target view beside the other correspondences.
        dead_zone: Places of the target nearer than this to the right one are no negatives, in tokens.
        max_angle_deg: Pairs whose viewing directions differ more are left out.
        min_overlap: Pairs that share less of the surface (0-1) are left out.
        strength: Of the head: 0 is the features as they were, 1 the head in full.
    """

    stage: str = field(default="head_step", init=False)
    temperature: float = 0.05
    points: int = 300
    negatives: int = 400
    dead_zone: float = 1.5
    max_angle_deg: float = 120.0
    min_overlap: float = 0.1
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "points", "negatives"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise bad_input(f"head step {name}", "a number above 0", str(getattr(self, name)), "Raise it.")
        if not (np.isfinite(self.dead_zone) and self.dead_zone >= 0):
            raise bad_input("head step dead_zone", "0 or more", str(self.dead_zone), "Raise it.")
        check_strength(self.strength, "recipe strength")


def step_head(
    objects: Sequence[Sequence[TrainingPair]],
    config: HeadStep,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    report_loss: Callable[[float, float], None] | None = None,
) -> LinearHead:
    """Return the head after one full-batch gradient step, its length searched on held-out views.

    Args:
        objects: For each training object its pairs of views, see `head_pairs.object_pairs`. Pairs count alike, so an
            object of more views counts more.
        config: Points, negatives, temperature, dead zone and strength.
        seed: Of the points and tokens.
        device: Where the head is; maps may lie elsewhere.
        progress: Called after every pair with pairs done and pairs in all.
        report_loss: Called with the mean loss of the pairs the length is searched on, before and after the step.

    Returns:
        `I + length * direction`, without an offset; the identity where no length tried improves the held-out pairs.

    Raises:
        EquiviewError: There is no pair, or the gradient is not finite or zero.
    """
    split = [split_pairs(pairs) for pairs in objects]
    apart = sum(len(side) for sides in split for side in sides) == sum(map(len, objects))
    own, held = ([pair for sides in split for pair in sides[n]] for n in range(2))
    if not own:
        raise bad_input("head step", "at least one pair of views", "none", "Give an object with more views.")
    held = [held[n] for n in np.random.default_rng([seed, 1]).permutation(len(held))[:SEARCHED]]
    report = _counter(progress, len(own) + len(held) * (1 + len(SIZES)))
    dim = own[0].source.tokens.shape[0]
    head = LinearHead(torch.eye(dim), torch.zeros(dim)).to(device).requires_grad_(True)
    mean_loss(head, own, config, np.random.default_rng([seed, 0]), backward=True, report=report)
    assert head.matrix.grad is not None
    norm = float(head.matrix.grad.norm())
    if not np.isfinite(norm) or norm == 0:
        raise bad_input("head step", "a finite gradient above 0", f"{norm:g}", "Check the views: are all alike?")
    direction = (head.matrix.grad * (-(dim**0.5) / norm)).cpu()

    def moved(size: float, strength: float = 1.0) -> LinearHead:
        return LinearHead(torch.eye(dim) + size * direction, torch.zeros(dim), strength).requires_grad_(False)

    def held_out_loss(size: float) -> float:
        return mean_loss(moved(size).to(device), held, config, np.random.default_rng([seed, 2]), report=report)

    losses = {size: held_out_loss(size) for size in (0.0, *SIZES)}
    best = min(losses, key=lambda size: losses[size])
    log.info(
        "one step of length %g from %d pairs; %d %s: %.3f -> %.3f",
        *(best, len(own), len(held), "held-out pairs" if apart else "of its pairs", losses[0.0], losses[best]),
    )
    if report_loss is not None:
        report_loss(losses[0.0], losses[best])
    return moved(best, config.strength)


def split_pairs(pairs: Sequence[TrainingPair]) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Return the pairs among three of four views, and those that a fourth takes part in.

    Where views are too few for both, all pairs serve as both.
    """
    views = list({id(pair.target): None for pair in pairs})
    held = set(views[::HELD_OUT])
    own = [pair for pair in pairs if not held & {id(pair.source), id(pair.target)}]
    out = [pair for pair in pairs if held & {id(pair.source), id(pair.target)}]
    if own and out:
        return own, out
    log.warning(
        "%d views that share surface are too few to hold some out: the length of the step is searched on its own pairs",
        len(views),
    )
    return list(pairs), list(pairs)


def mean_loss(
    head: LinearHead,
    pairs: Sequence[TrainingPair],
    config: HeadStep,
    rng: np.random.Generator,
    *,
    backward: bool = False,
    report: Callable[[], None] | None = None,
) -> float:
    """Return the mean InfoNCE over pairs.

    Args:
        head: What the features go through.
        pairs: One or more.
        config: Points, negatives, temperature and dead zone.
        rng: Draws points and negatives.
        backward: Add the gradient of the mean to whatever requires one, pair by pair: memory stays that of one.
        report: Called after every pair.
    """
    losses = []
    with torch.set_grad_enabled(backward):
        for pair in pairs:
            loss = pair_loss(head, pair, config, rng)
            if backward:
                (loss / len(pairs)).backward()
            losses.append(float(loss.detach()))
            if report is not None:
                report()
    return float(np.mean(losses))


def _counter(progress: Progress | None, total: int) -> Callable[[], None]:
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return report
