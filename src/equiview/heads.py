"""Small modules between the backbone and the matcher: [b c h w] in, [b c2 h w] out.

`head_spec` turns one into JSON and `build_head` makes it again from that and a state dict; "no head" is `None` or `[]`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from .errors import bad_input


class AverageHead(nn.Module):
    """Mean over a kernel x kernel neighbourhood of tokens, border tokens repeated. It has no parameters.

    Args:
        kernel: Odd side of the neighbourhood, in tokens.

    Raises:
        EquiviewError: The kernel is even or not positive.
    """

    kind = "average"

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise bad_input("average head kernel", "an odd number of tokens", str(kernel), "Use 3 or 5.")
        self.kernel = kernel

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "kernel": self.kernel}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        reach = self.kernel // 2
        return F.avg_pool2d(F.pad(maps, (reach,) * 4, mode="replicate"), self.kernel, stride=1)


class _ConvHead(nn.Module):
    """One 3x3 convolution with zero padding, held under `conv`."""

    kind = ""

    def __init__(self, dim: int, conv: nn.Conv2d) -> None:
        super().__init__()
        self.dim = dim
        self.conv = conv

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "dim": self.dim}

    def convolve(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        """Apply the convolution in the dtype of the maps: weights stay float32 beside a bf16 backbone."""
        bias = None if self.conv.bias is None else self.conv.bias.to(maps.dtype)
        return F.conv2d(maps, self.conv.weight.to(maps.dtype), bias, padding=1)


class RandomConvHead(_ConvHead):
    """The paper's head: `Conv2d(dim, dim, 3, padding=1)` with torch's default initialisation.

    Source: 3DCorrEnhance, `finetune.py` (`refine_conv`).

    Args:
        dim: Channels.
        seed: Of the initial weights; the global random state is left alone.
    """

    kind = "random_conv"

    def __init__(self, dim: int, seed: int = 0) -> None:
        # A private CPU generator state: making a head must not shift anybody else's random numbers.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            conv = nn.Conv2d(dim, dim, 3, padding=1)
        super().__init__(dim, conv)

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        return self.convolve(maps)


class ResidualConvHead(_ConvHead):
    """`x + conv(x)` with the convolution at zero, so the head starts as the identity.

    Args:
        dim: Channels.
    """

    kind = "residual_conv"

    def __init__(self, dim: int) -> None:
        # skip_init draws no random numbers, which the zeros below would make useless anyway.
        conv = nn.utils.skip_init(nn.Conv2d, dim, dim, 3, padding=1)
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
        super().__init__(dim, conv)

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        return maps + self.convolve(maps)


class LinearHead(nn.Module):
    """`W (f - mean)` for every token; the closed-form recipes solve for W.

    Args:
        matrix: W.
        mean: Subtracted first.

    Raises:
        EquiviewError: The two do not fit together.
    """

    kind = "linear"

    def __init__(self, matrix: Float[torch.Tensor, "c2 c"], mean: Float[torch.Tensor, "c"]) -> None:
        super().__init__()
        if matrix.ndim != 2 or mean.shape != matrix.shape[1:]:
            found = f"{tuple(matrix.shape)} and {tuple(mean.shape)}"
            raise bad_input("linear head", "matrix [out, in] and mean [in]", found, "Solve it again.")
        self.matrix = nn.Parameter(matrix.detach().clone())
        self.mean = nn.Parameter(mean.detach().clone())

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "out": self.matrix.shape[0], "in": self.matrix.shape[1]}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c2 h w"]:
        if maps.shape[1] != self.mean.shape[0]:
            found, fix = f"{maps.shape[1]} channels", "Use the blocks the head was solved for."
            raise bad_input("linear head", f"maps of {self.mean.shape[0]} channels", found, fix)
        # Subtract before multiplying: W f - W mean would cancel badly in low precision.
        centred = maps - self.mean.to(maps.dtype)[:, None, None]
        return torch.einsum("oc,bchw->bohw", self.matrix.to(maps.dtype), centred)


class HeadChain(nn.Sequential):
    """Heads one after the other."""

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__(*heads)


def head_spec(head: nn.Module | None) -> list[dict[str, Any]]:
    """Describe a head in JSON, enough for `build_head` together with its `state_dict`. No head is `[]`.

    Raises:
        EquiviewError: It is not one of this module's heads.
    """
    if head is None or isinstance(head, nn.Identity):
        return []
    if isinstance(head, HeadChain):
        return [part for module in head for part in head_spec(module)]
    if not isinstance(head, AverageHead | RandomConvHead | ResidualConvHead | LinearHead):
        raise bad_input("head", f"one of {', '.join(_BUILDERS)}", type(head).__name__, "Compose these in a HeadChain.")
    return [head.spec()]


_BUILDERS = {
    "average": lambda spec: AverageHead(spec["kernel"]),
    "random_conv": lambda spec: RandomConvHead(spec["dim"]),
    "residual_conv": lambda spec: ResidualConvHead(spec["dim"]),
    "linear": lambda spec: LinearHead(torch.zeros(spec["out"], spec["in"]), torch.zeros(spec["in"])),
}


def build_head(spec: list[dict[str, Any]] | None, state_dict: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """Make the head that `head_spec` described.

    Args:
        spec: Its output. `None` or `[]` gives `nn.Identity()`.
        state_dict: The weights; `None` leaves the initial ones.

    Raises:
        EquiviewError: An unknown kind, a missing key, or weights of another shape.
    """
    parts = [_build_part(part) for part in spec or []]
    head: nn.Module = nn.Identity() if not parts else parts[0] if len(parts) == 1 else HeadChain(parts)
    if state_dict is not None:
        try:
            head.load_state_dict(dict(state_dict))
        except RuntimeError as error:
            fix = "The head file belongs to another adapter; copy the whole folder again."
            raise bad_input("head weights", f"those of {spec}", str(error), fix) from error
    return head


def _build_part(part: dict[str, Any]) -> nn.Module:
    kind = part.get("kind")
    if kind not in _BUILDERS:
        raise bad_input("head kind", f"one of {', '.join(_BUILDERS)}", repr(kind), "Update equiview or fix the file.")
    try:
        return _BUILDERS[kind](part)
    except KeyError as error:
        raise bad_input(f"head {kind!r}", f"the key {error}", str(part), "Write the adapter again.") from error
