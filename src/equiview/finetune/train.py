"""One plain training loop.

Every step uses the next `batch * accumulate` usable pairs of the sequence that the seed defines, and no other random
numbers are drawn, so a run that was interrupted and resumed from its checkpoint ends with the weights of one that was
not (on a GPU up to the order of its atomic additions).
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from ..errors import EquiviewError, bad_input
from ..models.extractor import Extractor
from ..sampling import descriptors
from .augment import augment
from .checkpoint import fingerprint, load_checkpoint, save_checkpoint
from .losses import LOSSES, equivariance_regulariser
from .network_settings import NetworkTraining
from .pairs import PAIR_SAMPLERS, Objects, PairSample, Skipped, check_objects
from .training_log import begin_log, log_step

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
PATIENCE = 5
"""Steps before a run that mostly skips is given up."""
REPLACEMENTS = 10
"""Unusable pairs a step replaces by the next ones before it goes on with fewer, or none."""


@dataclass
class TrainResult:
    """What a run did, and its state while it runs.

    Attributes:
        steps: Steps done, skipped ones included.
        losses: One per step; None where the step was skipped.
        skipped: How often each reason for leaving out a pair or a step occurred.
        next_pair: Number of the pair the next step begins with.
        seconds: Training time over all sittings.
        stopped_by: `steps`, `time` or `request`.
        resumed_from: Step of the checkpoint this sitting began with; 0 for a fresh run.
    """

    steps: int = 0
    losses: list[float | None] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    next_pair: int = 0
    seconds: float = 0.0
    stopped_by: str = "steps"
    resumed_from: int = 0


def train(
    extractor: Extractor,
    objects: Objects,
    settings: NetworkTraining,
    out_dir: Path,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    stop_after_s: float | None = None,
    progress: Callable[[int, int, float | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train what is trainable in an extractor (its adapter and head), in place.

    Args:
        extractor: With what is to be trained, see `recipes.prepare`.
        objects: Views by object name, at least two each.
        settings: Loss, optimiser, pairs, augmentation, lengths.
        out_dir: Gets `checkpoint.pt` and `log.jsonl`. A checkpoint found there is continued.
        seed: Of the pairs and augmentations.
        device: Where to train; the extractor is moved there.
        stop_after_s: Training that takes longer, over all sittings, is stopped: it overran its plan. None for never.
        progress: Called after every step with steps done, steps in all and the loss (None: skipped).
        should_stop: Asked after every step; True ends the run, resumable.

    Raises:
        EquiviewError: Nothing is trainable, an object has one view, more than half of the steps had to be skipped, or
            the checkpoint belongs to another run or is broken.
        KeyboardInterrupt: Passed on after a checkpoint was written.
    """
    check_objects(objects)
    extractor.to(torch.device(device))
    parameters = trainable(extractor)
    optimiser = torch.optim.AdamW(parameters.values(), lr=settings.lr, weight_decay=settings.weight_decay)
    run = _Run(extractor, objects, settings, seed, torch.device(device), optimiser, parameters, Path(out_dir))
    run.resume()
    state = run.state
    with _evaluation_mode(extractor), run.saved_on_interrupt():
        state.stopped_by = "steps"
        while state.steps < settings.steps:
            if stop_after_s is not None and state.seconds >= stop_after_s:
                state.stopped_by = "time"
                logger.warning("overran: time for %d of %d steps of training the network", state.steps, settings.steps)
                break
            run.step()
            if progress is not None:
                progress(state.steps, settings.steps, state.losses[-1])
            if should_stop is not None and should_stop():
                state.stopped_by = "request"
                break
        run.save()
    if state.losses.count(None) * 2 > len(state.losses):
        raise _mostly_skipped(state)
    return state


@dataclass
class _Run:
    """A run between its steps: the only place where training has state."""

    extractor: Extractor
    objects: Objects
    settings: NetworkTraining
    seed: int
    device: torch.device
    optimiser: torch.optim.Optimizer
    parameters: dict[str, nn.Parameter]
    out_dir: Path
    state: TrainResult = field(default_factory=TrainResult)
    updating: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        return fingerprint(self.settings, self.seed, self.objects, self.extractor)

    def save(self) -> None:
        path = self.out_dir / CHECKPOINT
        save_checkpoint(path, self.identity, self.parameters, self.optimiser, vars(self.state))

    def resume(self) -> None:
        path = self.out_dir / CHECKPOINT
        if path.exists():
            found = load_checkpoint(path, self.identity, self.parameters, self.optimiser)
            self.state = TrainResult(**found | {"skipped": Counter(found["skipped"]), "resumed_from": found["steps"]})
            logger.info("%s: continuing after step %d", path, self.state.steps)
        begin_log(self.out_dir, self.settings.stage, self.state.steps)

    def step(self) -> None:
        """Do step `state.steps`, skipped or not, and write its log row."""
        state, started = self.state, time.monotonic()
        pairs, skipped, next_pair = prepare_pairs(self.objects, self.settings, self.seed, state.next_pair)
        outcome: float | str = "no usable pair"
        if pairs:
            outcome = accumulate_gradients(self.extractor, pairs, self.settings, self.device, self.optimiser)
        self.updating = True
        if isinstance(outcome, float):
            self.optimiser.step()
        else:
            skipped[f"step: {outcome}"] += 1
        state.steps += 1
        state.next_pair = next_pair
        state.skipped.update(skipped)
        state.losses.append(outcome if isinstance(outcome, float) else None)
        state.seconds += time.monotonic() - started
        self.updating = False
        self._record(pairs, skipped)

    def _record(self, pairs: Sequence[PairSample], skipped: Counter[str]) -> None:
        state = self.state
        log_step(
            self.out_dir,
            self.settings.stage,
            state.steps,
            state.losses[-1],
            pair=[[pair.object, *pair.views] for pair in pairs],
            seconds=round(state.seconds, 3),
            skipped=dict(skipped),
        )
        if state.steps >= PATIENCE and state.losses.count(None) * 2 > len(state.losses):
            raise _mostly_skipped(state)
        if state.steps % self.settings.checkpoint_every == 0:
            self.save()

    @contextmanager
    def saved_on_interrupt(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            # In the middle of an update weights and step number disagree; the last periodic checkpoint stands.
            if not self.updating:
                self.save()
            raise


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients, by name.

    Raises:
        EquiviewError: There are none.
    """
    found = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not found:
        raise bad_input("training", "an adapter or a head with parameters", "nothing trainable", "Set lora or head.")
    return found


def prepare_pairs(
    objects: Objects, settings: NetworkTraining, seed: int, first: int
) -> tuple[list[PairSample], Counter[str], int]:
    """Return the pairs of one step, augmented; unusable ones are replaced by the next.

    Args:
        objects: Views by object name.
        settings: Say how many, which and how they are augmented.
        seed: Of the run.
        first: Number of the first pair to try.

    Returns:
        The usable pairs, how many were left out for which reason, and the number of the first pair not tried.
    """
    wanted, index = settings.batch * settings.accumulate, first
    usable: list[PairSample] = []
    skipped: Counter[str] = Counter()
    while len(usable) < wanted and index < first + wanted + REPLACEMENTS:
        pair = PAIR_SAMPLERS[settings.pairs.sampler](objects, settings.pairs, seed=seed, index=index)
        if isinstance(pair, PairSample) and settings.augment is not None:
            pair = augment(pair, settings.augment, seed=seed)
            pair = pair if pair.positives else Skipped(index, "no common points after augmentation")
        if isinstance(pair, Skipped):
            skipped[pair.reason] += 1
        else:
            usable.append(pair)
        index += 1
    return usable, skipped, index


def pair_descriptors(
    extractor: Extractor, pairs: Sequence[PairSample], device: torch.device
) -> list[tuple[Float[torch.Tensor, "s c"], Float[torch.Tensor, "t c"]]]:
    """Return unit descriptors at the points of every pair, with gradient; one forward pass if all sizes agree."""
    images = [image.to(device) for pair in pairs for image in (pair.image0, pair.image1)]
    points = [xy.to(device) for pair in pairs for xy in (pair.xy0, pair.xy1)]
    if len({image.shape for image in images}) == 1:
        maps = list(extractor(torch.stack(images)).float())
    else:
        maps = [extractor(image[None])[0].float() for image in images]
    found = []
    for image, xy, tokens in zip(images, points, maps, strict=True):
        found.append(descriptors(extractor.feature_map(tokens, (int(image.shape[1]), int(image.shape[2]))), xy))
    return list(zip(found[::2], found[1::2], strict=True))


def batch_loss(
    extractor: Extractor, pairs: Sequence[PairSample], settings: NetworkTraining, device: torch.device
) -> Float[torch.Tensor, ""]:
    """Return the mean over pairs of the loss."""
    # A backbone whose own weights are bf16 needs autocast too: adapter and head are kept, and updated, in float32.
    half = torch.bfloat16 in (getattr(torch, settings.dtype), next(extractor.backbone.parameters()).dtype)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        described = pair_descriptors(extractor, pairs, device)
    losses = []
    for pair, (descriptors0, descriptors1) in zip(pairs, described, strict=True):
        points = (pair.points0[None].to(device), pair.points1[None].to(device))
        both = (descriptors0[None], descriptors1[None], *points)
        loss = LOSSES[settings.loss](*both, temperature=settings.temperature)
        if settings.regulariser:
            loss = loss + settings.regulariser * equivariance_regulariser(*both)
        losses.append(loss)
    return torch.stack(losses).mean()


def accumulate_gradients(
    extractor: Extractor,
    pairs: Sequence[PairSample],
    settings: NetworkTraining,
    device: torch.device,
    optimiser: torch.optim.Optimizer,
) -> float | str:
    """Leave the clipped gradient of the mean loss over `pairs` in the parameters, `settings.batch` pairs at a time.

    Returns:
        The loss, or the reason why there is none to follow.
    """
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for start in range(0, len(pairs), settings.batch):
        some = pairs[start : start + settings.batch]
        loss = batch_loss(extractor, some, settings, device) * (len(some) / len(pairs))
        if not bool(loss.isfinite()):
            return "loss is not finite"
        loss.backward()
        total += loss.item()
    own = [p for group in optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(own, settings.clip)
    return total if bool(norm.isfinite()) else "gradient is not finite"


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off: they would draw random numbers that a resumed run cannot repeat."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _mostly_skipped(state: TrainResult) -> EquiviewError:
    reasons = ", ".join(f"{reason} ({count})" for reason, count in state.skipped.most_common())
    missing = f"{state.losses.count(None)} of {len(state.losses)} skipped: {reasons}"
    fix = "Use views closer together, a lower learning rate, or float32."
    return bad_input("training", "at least half of the steps to be usable", missing, fix)
