"""The student: a plain ViT of random weights, and the states of a ViT before and after each of its blocks."""

import torch
from jaxtyping import Float
from torch import nn
from torch.nn.utils import parametrize
from transformers import ViTConfig, ViTModel

States = list[Float[torch.Tensor, "b n c"]]


def new_student(shape: ViTConfig, seed: int) -> ViTModel:
    """Return a ViT of its teacher's shape (for `equiview/tiny`: 5.5 M parameters), initialised from a seed."""
    config = ViTConfig.from_dict(shape.to_dict() | {"architectures": ["ViTModel"], "dtype": "float32"})
    torch.manual_seed(seed)
    model = ViTModel(config, add_pooling_layer=False)
    projection = model.embeddings.patch_embeddings.projection
    parametrize.register_parametrization(projection, "weight", AsMatrix(tuple(projection.weight.shape)))
    return model


class AsMatrix(nn.Module):
    """Keeps the patch embedding's kernel as a matrix while training: neighbouring pixels are so alike that plain
    gradient steps hardly move it, and the optimiser that helps against it (Muon) takes matrices only."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return matrix.view(self.shape)

    def right_inverse(self, kernel: torch.Tensor) -> torch.Tensor:
        return kernel.flatten(1)


def states(model: ViTModel, pixels: Float[torch.Tensor, "b 3 h w"]) -> States:
    """Return what goes into block 1, what comes out of each block, and the normalised end: blocks + 2 states."""
    found = [model.embeddings(pixels, interpolate_pos_encoding=True)]
    for layer in model.layers:
        found.append(layer(found[-1]))
    return [*found, model.layernorm(found[-1])]


def handed_states(
    model: ViTModel, pixels: Float[torch.Tensor, "b 3 h w"], given: States, own_share: float, seed: int
) -> States:
    """Return the states of a student that is handed the teacher's state before some of its blocks.

    Args:
        model: The student.
        pixels: Its pictures.
        given: The teacher's states for the same pictures.
        own_share: Probability that a picture goes on with the student's own state: 0 lets every block learn alone,
            whatever those below it do yet, 1 is `states`.
        seed: Of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    found = [model.embeddings(pixels, interpolate_pos_encoding=True)]
    for part, state in zip([*model.layers, model.layernorm], given[:-1], strict=True):
        own = torch.rand(len(pixels), 1, 1, generator=generator) < own_share
        found.append(part(torch.where(own, found[-1], state)))
    return found
