"""How far the student is from the teacher, in units of what there is to explain."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from student import States


def measure_scales(batches: Iterable[States]) -> list[Float[torch.Tensor, "c"]]:
    """Return the standard deviation of each channel of each of the teacher's states."""
    parts = zip(*([_moments(one) for one in states] for states in batches), strict=True)
    means = [torch.stack(own).mean(0) for own in parts]
    return [(square - first**2).clamp(min=1e-8).sqrt() for first, square in means]


def _moments(state: Float[torch.Tensor, "b n c"]) -> Float[torch.Tensor, "2 c"]:
    flat = state.float().flatten(0, 1)
    return torch.stack([flat.mean(0), (flat**2).mean(0)])


def unexplained(found: States, wanted: States, scales: Sequence[torch.Tensor]) -> Float[torch.Tensor, "states"]:
    """Return for each state the mean squared error over the variance: 0 is perfect, 1 is the mean's."""
    return torch.stack(
        [((a.float() - b.float()) / s).square().mean() for a, b, s in zip(found, wanted, scales, strict=True)]
    )
