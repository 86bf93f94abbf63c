"""One optimiser step from every pair of one object's views: of a linear head, and of the network by LoRA.

The gradient is InfoNCE's over all pairs of nine views; the step's size is searched on the pairs that the other three
views make with them.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from _method import Repetition
from _search import FINE, FIXED, RECIPE_FIXED, Candidate, Space, linear
from torch import nn

from equiview.finetune.head_pairs import TrainingPair, object_pairs
from equiview.finetune.head_step import mean_loss, split_pairs, step_head
from equiview.finetune.head_training import HeadTraining, pair_loss
from equiview.finetune.recipes import ONE_STEP
from equiview.models.adapters.lora import LoraSpec, add_lora, lora_layers, set_lora_strength
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig, picture_rgb
from equiview.models.heads import LinearHead
from equiview.types import FeatureMap, View

STEP = "one step"
ALL = HeadTraining(points=300, negatives=1600)
SIZES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Tried in the search: the norm of the step over that of the weights it changes."""


def identity(dim: int) -> LinearHead:
    return LinearHead(torch.eye(dim), torch.zeros(dim))


def preconditioned_step(space: Space, repetition: Repetition) -> Callable[[float], LinearHead]:
    """Return the head one Kronecker-factored step from the identity, its length searched on left-out views."""
    own, held = split_pairs(space.pairs(repetition.objects[0], repetition.seed))
    dim = own[0].source.tokens.shape[0]
    head = identity(dim).requires_grad_(True)
    mean_loss(head, own, ALL, np.random.default_rng(repetition.seed), backward=True)
    step = kronecker(-head.matrix.grad, own)
    step = step / step.norm() * dim**0.5

    def loss_at(size: float) -> float:
        return mean_loss(linear(torch.eye(dim) + size * step)(1), held, ALL, np.random.default_rng(0))

    sizes = {size: loss_at(size) for size in (0.0, *SIZES, 1.0)}
    best = min(sizes, key=lambda size: sizes[size])
    print(f"step of {repetition.name}: {best:g} of {rounded(sizes)}", flush=True)
    return linear(torch.eye(dim) + best * step)


def kronecker(step: torch.Tensor, pairs: Sequence[TrainingPair]) -> torch.Tensor:
    """Return G^-1 step A^-1: A the second moment of the inputs, G of the outputs' gradients (K-FAC, Martens and Grosse
    2015), each with a tenth of its mean variance added."""
    rng, inputs, outputs = np.random.default_rng(0), 0.0, 0.0
    plain = identity(len(step))
    for pair in pairs:
        source, target = (m.tokens.clone().requires_grad_(True) for m in (pair.source, pair.target))
        moved = TrainingPair(pair.source.replace_tokens(source), pair.target.replace_tokens(target), pair.xy0, pair.xy1)
        grads = torch.autograd.grad(pair_loss(plain, moved, ALL, rng), (source, target))
        for tokens, grad in zip((source, target), grads, strict=True):
            rows, slopes = tokens.detach().flatten(1), grad.flatten(1)
            inputs, outputs = inputs + rows @ rows.T, outputs + slopes @ slopes.T
    damped = [m + 0.1 * m.trace() / len(m) * torch.eye(len(m)) for m in (inputs, outputs)]
    return torch.linalg.solve(damped[1], torch.linalg.solve(damped[0], step.T).T)


def network_step(space: Space, repetition: Repetition, orthogonal: bool, rank: int) -> Callable[[float], Extractor]:
    """Return the network one step away: LoRA factors from the gradient's leading singular vectors.

    Gradients reach the weights in two stages: of the loss in the maps of all views, then of each view's map in the
    weights, so that one view's activations are in memory at a time.
    """
    name, seed = repetition.objects[0], repetition.seed
    backbone = load_backbone(space.weights)
    add_lora(backbone, LoraSpec(rank=rank, last_blocks=None), seed)
    extractor = Extractor(backbone, FeatureConfig(blocks=space.features.spread), FIXED[RECIPE_FIXED]()).eval()
    views = space.features.views(name, 12)
    layers = [layer for _, layer in lora_layers(backbone)]
    for layer in layers:
        layer.base_layer.weight.requires_grad_(True)

    def paired(maps: Sequence[FeatureMap]):
        return split_pairs(object_pairs(views, maps, seed=seed))

    maps = [m.replace_tokens(m.tokens.float().requires_grad_(True)) for m in extractor.maps(views, batch_size=1)]
    plain = identity(maps[0].tokens.shape[0])
    mean_loss(plain, paired(maps)[0], ALL, np.random.default_rng(seed), backward=True)
    for view, fmap in zip(views, maps, strict=True):
        if fmap.tokens.grad is not None:
            tokens = extractor(pixels(view))[0]
            tokens.backward(fmap.tokens.grad)
    # Blocks above the last one read have no gradient, and keep their adapter at zero.
    layers = [layer for layer in layers if layer.base_layer.weight.grad is not None]
    set_factors(layers, [layer.base_layer.weight for layer in layers], orthogonal, rank)

    def loss_at(size: float) -> float:
        scaled(layers, size)
        held = paired(list(extractor.maps(views, batch_size=1)))[1]
        return mean_loss(plain, held, ALL, np.random.default_rng(0))

    sizes = {size: loss_at(size) for size in (0.0, *SIZES)}
    best = min(sizes, key=lambda size: sizes[size])
    print(f"network step of {repetition.name}: {best:g} of {rounded(sizes)}", flush=True)
    scaled(layers, best)

    def at(strength: float) -> Extractor:
        set_lora_strength(backbone, strength)
        return extractor

    return at


def pixels(view: View) -> torch.Tensor:
    """Return a view as a batch of one picture, RGB in 0..1."""
    return torch.from_numpy(np.array(picture_rgb(view))).permute(2, 0, 1)[None].float() / 255


def set_factors(layers: Sequence[nn.Module], weights: Sequence[nn.Parameter], orthogonal: bool, rank: int) -> None:
    """Set B A to minus the gradient's best approximation of this rank, of unit size relative to all the weights."""
    parts = []
    for weight in weights:
        u, s, v = torch.linalg.svd(weight.grad, full_matrices=False)
        s = torch.ones_like(s[:rank]) if orthogonal else s[:rank]
        parts.append((u[:, :rank], s, v[:rank]))
    norm = torch.stack([s.square().sum() for _, s, _ in parts]).sum().sqrt()
    size = torch.stack([w.detach().square().sum() for w in weights]).sum().sqrt()
    for layer, weight, (u, s, v) in zip(layers, weights, parts, strict=True):
        root = (s * size / norm).sqrt()
        layer.lora_A["default"].weight.data = root[:, None] * v
        layer.lora_B["default"].weight.data = layer.unit_b = -u * root
        weight.requires_grad_(False).grad = None


def scaled(layers: Sequence[nn.Module], size: float) -> None:
    for layer in layers:
        layer.lora_B["default"].weight.data = layer.unit_b * size


def rounded(sizes: dict[float, float]) -> str:
    return ", ".join(f"{size:g}: {loss:.3f}" for size, loss in sizes.items())


class Steps:
    """The candidates of this family."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def gradient(self, repetition: Repetition) -> Callable[[float], LinearHead]:
        """Return the head of the recipe one-step by strength."""
        pairs = self.space.pairs(repetition.objects[0], repetition.seed)
        head = step_head([pairs], ONE_STEP.head_training, seed=repetition.seed)
        return linear(head.matrix, head.mean)

    def candidates(self) -> Iterator[Candidate]:
        about = {"strengths": FINE, "three": True}
        yield Candidate("the recipe one-step: head, gradient, line search", STEP, self.gradient, **about)
        make = lambda r: preconditioned_step(self.space, r)  # noqa: E731
        yield Candidate("head, Kronecker-factored, line search", STEP, make)
        for name, own in (("the gradient's SVD", False), ("its singular vectors alone", True)):
            make = lambda r, o=own: network_step(self.space, r, o, 4)  # noqa: E731
            yield Candidate(f"LoRA from {name}, line search", STEP, make, trained=True)
