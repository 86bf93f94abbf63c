"""A model as the graph that becomes an ONNX file: every size of whole patches, positions and head inside.

The plain twin is `Extractor.forward` on pictures of that size. What differs is what a graph of open height and width
asks for: patches are cut by reshaping (which refuses other sizes), and position tables are resampled by a product with
weights that are computed from the size.
"""

import copy
from operator import attrgetter
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from ..errors import bad_input
from .adapters import has_lora, merge_lora
from .backbones.base import base_model
from .backbones.huggingface import FAMILIES
from .backbones.position import table_side
from .extractor import Extractor, join_blocks
from .fixed_heads import WhitenHead
from .heads import HEADS, FineHead, HeadChain, apply_parts, head_parts
from .onnx_whiten import ProductWhiten

Size = Any
"""An int, or torch's symbol for one while a graph is written."""


class OnnxGraph(nn.Module):
    """RGB in 0..1 [b 3 h w], h and w whole patches, to features [b c rows cols], both float32.

    Args:
        extractor: It is not changed.
        half: The network in float16; the head, positions, input and output stay float32.

    Raises:
        EquiviewError: It is not of a family of `transformers`, or it has features or a head that no graph can hold.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, extractor: Extractor, *, half: bool = False) -> None:
        super().__init__()
        check_exportable(extractor)
        backbone, config, info = copy.deepcopy(extractor.backbone), extractor.config, extractor.backbone.info
        if has_lora(backbone):
            merge_lora(backbone)
        self.model: Any = base_model(backbone.model).to("cpu", torch.float16 if half else torch.float32)
        self.family = FAMILIES[info.family]
        self.patch, self.blocks, self.norm = info.patch, extractor.blocks, config.norm
        self.by_scale = config.position == "dinov2" and not self.family.antialias
        self.register_buffer("mean", torch.tensor(info.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(info.std)[:, None, None])
        channels = info.dim * len(self.blocks)
        self.head = nn.ModuleList(graph_head(part, channels).cpu().float() for part in head_parts(extractor.head))
        self.eval().requires_grad_(False)

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b c rows cols"]:
        grid = (images.shape[2] // self.patch, images.shape[3] // self.patch)
        hidden = self._embed((images - self.mean) / self.std, grid)
        extra = {} if self.family.table is not None else {"position_embeddings": self._rotary(grid, hidden)}
        found: dict[int, torch.Tensor] = {}
        for number, block in enumerate(attrgetter(self.family.blocks)(self.model)[: max(self.blocks)], 1):
            hidden = block(hidden, attention_mask=None, **extra)
            if number in self.blocks:
                tokens = attrgetter(self.family.final_norm)(self.model)(hidden) if self.norm else hidden
                tokens = tokens[:, hidden.shape[1] - grid[0] * grid[1] :].transpose(1, 2)
                found[number] = tokens.reshape(tokens.shape[0], tokens.shape[1], *grid).float()
        maps = join_blocks([found[number] for number in self.blocks])
        return apply_parts(self.head, maps)

    def _embed(self, images: Float[torch.Tensor, "b 3 h w"], grid: tuple[Size, Size]) -> Float[torch.Tensor, "b n c"]:
        """Return the input of block 1."""
        conv, (rows, cols), patch = attrgetter(self.family.patch_conv)(self.model), grid, self.patch
        batch, dim = images.shape[0], conv.weight.shape[0]
        # A runtime refuses to reshape what is no whole patch; a strided convolution would cut it off in silence.
        cut = images.reshape(batch, 3, rows, patch, cols, patch).permute(0, 2, 4, 1, 3, 5)
        tokens = cut.reshape(batch, rows * cols, 3 * patch * patch).to(conv.weight.dtype) @ conv.weight.flatten(1).T
        tokens = tokens if conv.bias is None else tokens + conv.bias
        prefix = [attrgetter(path)(self.model).reshape(1, 1, dim) for path in self.family.prefix]
        if self.family.table is not None:
            table = attrgetter(self.family.table)(self.model).reshape(-1, dim)
            prefix = [token + table[i] for i, token in enumerate(prefix)]
            tokens = tokens + self._positions(table[len(prefix) :], grid)
        if self.family.registers is not None:
            prefix.append(attrgetter(self.family.registers)(self.model))
        hidden = torch.cat([*(token.expand(batch, -1, -1) for token in prefix), tokens], 1)
        return hidden if self.family.first_norm is None else attrgetter(self.family.first_norm)(self.model)(hidden)

    def _positions(self, table: Float[torch.Tensor, "m2 c"], grid: tuple[Size, Size]) -> Float[torch.Tensor, "n c"]:
        """Resample the table as `position.resample_table` does, by one product for each axis."""
        side = table_side(table.shape[0], "position table")
        counts = [torch.scalar_tensor(count) for count in grid]
        own = ((counts[0] == side) & (counts[1] == side)).float()
        # The scale (n + 0.1) / side, where it is not the table's own grid, which is taken as it is.
        offset = 0.1 * (1 - own) if self.by_scale else torch.zeros(())
        weights = [
            resampling(torch.arange(n, device=table.device), (count + offset) / side, side, self.family.antialias)
            for n, count in zip(grid, counts, strict=True)
        ]
        square = table.float().reshape(side, side * table.shape[1])
        by_rows = (weights[0] @ square).reshape(grid[0], side, table.shape[1])
        return (weights[1] @ by_rows).reshape(grid[0] * grid[1], table.shape[1]).to(table.dtype)

    def _rotary(self, grid: tuple[Size, Size], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tables of `position.rotary` for whole patches."""
        config = self.model.config
        head_dim = config.hidden_size // config.num_attention_heads
        axes = [(2 * torch.arange(n, device=like.device).float() + 1) / n - 1 for n in grid]
        coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(grid[0] * grid[1], 2)
        exponent = torch.arange(0, 1, 4 / head_dim, device=like.device, dtype=torch.float32)
        angles = 2 * torch.pi * coordinates[:, :, None] / config.rope_theta**exponent
        angles = angles.flatten(1).repeat(1, 2)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def resampling(places: torch.Tensor, scale: torch.Tensor, side: int, antialias: bool) -> Float[torch.Tensor, "n side"]:
    """Return the weights of bicubic resampling along one axis, rows of a matrix.

    Args:
        places: 0 to n - 1.
        scale: New samples per old one.
        side: Old samples.
        antialias: Low-pass when shrinking, with the kernel that torch takes for that (a = -0.5 in place of -0.75).
    """
    centres = (places[:, None] + 0.5) / scale
    old = torch.arange(side, device=places.device)
    if antialias:
        weights = _cubic((old + 0.5 - centres) * scale.clamp(max=1), -0.5)
        return weights / weights.sum(1, keepdim=True)
    # Samples beyond the border repeat it: the four taps of each place, clamped, and what falls together is added.
    first = (centres - 0.5).floor() - 1
    taps = first + torch.arange(4, device=places.device)
    weights = _cubic(taps - (centres - 0.5), -0.75)
    return (weights[:, :, None] * (taps.clamp(0, side - 1)[:, :, None] == old)).sum(1)


def _cubic(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Keys' cubic kernel (1981), as torch has it."""
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def graph_head(part: nn.Module, channels: int) -> nn.Module:
    """Return a part of a head as a graph can hold it."""
    if isinstance(part, FineHead):
        return FineHead(HeadChain(graph_head(one, channels) for one in part.fine), part.weight)
    return ProductWhiten(part, channels) if isinstance(part, WhitenHead) else copy.deepcopy(part)


def check_exportable(extractor: Extractor) -> None:
    """Refuse what no graph of open size can give.

    Raises:
        EquiviewError: See `OnnxGraph`.
    """
    info, config = extractor.backbone.info, extractor.config
    what = f"ONNX of {info.id}"
    if info.family not in FAMILIES:
        fix = "Use the transformers version of it (for instance facebook/dinov2-base)."
        raise bad_input(what, "a backbone in a transformers architecture", f"one from {info.family}", fix)
    if config.several:
        fix = "Export without --thorough and without sizes; average several runs of it outside."
        raise bad_input(what, "pictures seen once", "several sizes or the mirrored picture too", fix)
    if config.stride not in (None, info.patch):
        fix = "Leave the stride out."
        raise bad_input(what, f"the stride of whole patches, {info.patch}", str(config.stride), fix)
    strange = [type(part).__name__ for part in head_parts(extractor.head) if not isinstance(part, HEADS)]
    if strange:
        fix = "Compose the head of equiview's own, see equiview.models.heads."
        raise bad_input(what, "a head of equiview", ", ".join(strange), fix)
