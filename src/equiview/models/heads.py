"""Small modules between the backbone and the matcher: [b c h w] in, [b c2 h w] out.

`head_spec` turns one into JSON and `build_head` makes it again from that and a state dict; "no head" is `None` or `[]`.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from ..errors import VALUE_CHARS, bad_input, cut, shown
from ..schema import check, check_weights
from .fixed_heads import RANK, AverageHead, CenterHead, DebiasHead, WhitenHead


def check_strength(strength: Any, what: str = "strength") -> float:
    """Return a strength as a float.

    Raises:
        EquiviewError: It is not a number from 0 to 1; `what` names it.
    """
    if not isinstance(strength, Real) or isinstance(strength, bool) or not 0 <= float(strength) <= 1:
        fix = "0 is the base features, 1 the adapted ones."
        raise bad_input(what, "a number from 0 to 1", repr(strength), fix)
    return float(strength)


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
    """`x + strength conv(x)` with the convolution at zero, so the head starts as the identity.

    Args:
        dim: Channels.
        strength: 0 leaves the features as they are, 1 applies the head in full.

    Raises:
        EquiviewError: The strength is not a number from 0 to 1.
    """

    kind = "residual_conv"

    def __init__(self, dim: int, strength: float = 1.0) -> None:
        # skip_init draws no random numbers, which the zeros below would make useless anyway.
        conv = nn.utils.skip_init(nn.Conv2d, dim, dim, 3, padding=1)
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
        super().__init__(dim, conv)
        self.strength = check_strength(strength, "residual conv head strength")

    def spec(self) -> dict[str, Any]:
        return super().spec() | {"strength": self.strength}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        return maps + self.strength * self.convolve(maps) if self.strength > 0 else maps


class LinearHead(nn.Module):
    """`W (f - mean)` for every token, or part of the way there: `(1 - strength) f + strength W (f - mean)`.

    The closed-form recipes solve for W, `train_head` trains it.

    Args:
        matrix: W.
        mean: Subtracted first.
        strength: 0 leaves the features as they are, 1 applies the head in full. Below 1, W must be square.

    Raises:
        EquiviewError: The two do not fit together, or the strength is not a number from 0 to 1.
    """

    kind = "linear"

    def __init__(
        self, matrix: Float[torch.Tensor, "c2 c"], mean: Float[torch.Tensor, "c"], strength: float = 1.0
    ) -> None:
        super().__init__()
        if matrix.ndim != 2 or mean.shape != matrix.shape[1:]:
            found = f"{tuple(matrix.shape)} and {tuple(mean.shape)}"
            raise bad_input("linear head", "matrix [out, in] and mean [in]", found, "Solve it again.")
        self.matrix = nn.Parameter(matrix.detach().clone())
        self.mean = nn.Parameter(mean.detach().clone())
        self.strength = check_strength(strength, "linear head strength")
        if self.strength < 1 and matrix.shape[0] != matrix.shape[1]:
            found = f"{self.strength:g} with {matrix.shape[0]} channels out of {matrix.shape[1]}"
            fix = "Use it at strength 1: other channels have no mixture with the base."
            raise bad_input("linear head strength", "1, or a square matrix", found, fix)

    def spec(self) -> dict[str, Any]:
        size = {"out": self.matrix.shape[0], "in": self.matrix.shape[1]}
        return {"kind": self.kind, **size, "strength": self.strength}

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c2 h w"]:
        if maps.shape[1] != self.mean.shape[0]:
            found, fix = f"{maps.shape[1]} channels", "Use the blocks the head was solved for."
            raise bad_input("linear head", f"maps of {self.mean.shape[0]} channels", found, fix)
        if self.strength == 0:
            return maps
        # Subtract before multiplying: W f - W mean would cancel badly in low precision.
        centred = maps - self.mean.to(maps.dtype)[:, None, None]
        full = torch.einsum("oc,bchw->bohw", self.matrix.to(maps.dtype), centred)
        return full if self.strength == 1 else maps + self.strength * (full - maps)


class HeadChain(nn.Sequential):
    """Heads one after the other; a `FineHead` among them is also given what the first one was."""

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__(*heads)

    def forward(self, maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c2 h w"]:
        return apply_parts(self, maps)


class FineHead(nn.Module):
    """Add channels that place a point well to those that find it: unit features of both, side by side.

    Averaged features find the same point from far around, and blur where it is; features of the same tokens without
    the averages are the other way round. The cosine of two tokens becomes (coarse + weight fine) / (1 + weight).

    Args:
        fine: From the maps that the chain was given to the fine ones.
        weight: Of the fine cosine beside the coarse one.

    Raises:
        EquiviewError: The weight is not above 0.
    """

    kind = "fine"

    def __init__(self, fine: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < weight < math.inf:
            raise bad_input("fine head weight", "a number above 0", f"{weight:g}", "1 is the default.")
        self.fine, self.weight = HeadChain(head_parts(fine)), float(weight)

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "weight": self.weight, "parts": head_spec(self.fine)}

    def forward(
        self, coarse: Float[torch.Tensor, "b c h w"], maps: Float[torch.Tensor, "b c0 h w"] | None = None
    ) -> Float[torch.Tensor, "b c2 h w"]:
        """Return both; `maps` is what the chain was given, and the same as `coarse` where there is nothing before."""
        fine = self.fine(coarse if maps is None else maps)
        return torch.cat([F.normalize(coarse, dim=1), math.sqrt(self.weight) * F.normalize(fine, dim=1)], 1)


def apply_parts(parts: Iterable[nn.Module], maps: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c2 h w"]:
    """Apply the parts of a head in order."""
    given = maps
    for part in parts:
        maps = part(maps, given) if isinstance(part, FineHead) else part(maps)
    return maps


def without_fine(head: nn.Module | None) -> nn.Module | None:
    """Return the head without its `FineHead`: what finds a point, for tasks that gain nothing from placing it."""
    parts = head_parts(head)
    coarse = [part for part in parts if not isinstance(part, FineHead)]
    return head if len(coarse) == len(parts) else HeadChain(coarse) if coarse else None


def with_fine(head: nn.Module | None, weight: float = 1.0) -> nn.Module | None:
    """Return the head with a `FineHead` of its own fixed parts but the averages; without averages it is fine already.

    What was learned is left out of the fine part: it was learned on averaged tokens.
    """
    parts = head_parts(head)
    if any(isinstance(part, FineHead) for part in parts) or not any(isinstance(part, AverageHead) for part in parts):
        return head
    fixed = [part for part in parts if not isinstance(part, AverageHead) and not list(part.parameters())]
    # Copies: weights that two parts share cannot be saved.
    return HeadChain([*parts, FineHead(HeadChain(map(copy.deepcopy, fixed)), weight)])


def on_top(head: nn.Module | None, part: nn.Module) -> nn.Module:
    """Return the head with one more part on top, below its `FineHead`, which stays the last."""
    if head is None:
        return part
    fine = [one for one in head_parts(head) if isinstance(one, FineHead)]
    return HeadChain([*head_parts(without_fine(head)), part, *fine]) if fine else HeadChain([head, part])


def head_parts(head: nn.Module | None) -> list[nn.Module]:
    """Return the parts of a head in order, chains within chains opened; the order of `head_spec`."""
    if head is None or isinstance(head, nn.Identity):
        return []
    if isinstance(head, HeadChain):
        return [part for one in head for part in head_parts(one)]
    return [head]


def head_spec(head: nn.Module | None) -> list[dict[str, Any]]:
    """Describe a head in JSON, enough for `build_head` together with its `state_dict`. No head is `[]`.

    Raises:
        EquiviewError: It is not one of this module's heads.
    """
    specs = []
    for part in head_parts(head):
        if not isinstance(part, HEADS):
            known = f"one of {', '.join(_SPECS)}"
            raise bad_input("head", known, type(part).__name__, "Compose these in a HeadChain.")
        specs.append(part.spec())
    return specs


MAX_CHANNELS = 2**20
HEADS = (AverageHead, CenterHead, WhitenHead, DebiasHead, RandomConvHead, ResidualConvHead, LinearHead, FineHead)

# What `spec` of each kind says beside the kind and a strength.
_SPECS: dict[str, dict[str, type]] = {
    "average": {"kernel": int},
    "center": {},
    "whiten": {"power": float, "ridge": float},
    "debias": {"blocks": int, "dim": int, "directions": int},
    "random_conv": {"dim": int},
    "residual_conv": {"dim": int},
    "linear": {"out": int, "in": int},
    "fine": {"weight": float, "parts": list},
}
# What it may say: adapters of before this could be chosen do not.
_OPTIONAL: dict[str, dict[str, type]] = {"whiten": {"method": str, "rank": int}}
_BUILDERS = {
    "average": lambda spec: AverageHead(spec["kernel"]),
    "center": lambda spec: CenterHead(),
    "whiten": lambda spec: WhitenHead(
        spec["power"], spec["ridge"], spec.get("method", "exact"), spec.get("rank", RANK)
    ),
    "debias": lambda spec: DebiasHead(torch.zeros(spec["blocks"], spec["dim"], spec["directions"])),
    "random_conv": lambda spec: RandomConvHead(spec["dim"]),
    "residual_conv": lambda spec: ResidualConvHead(spec["dim"], spec.get("strength", 1.0)),
    "linear": lambda spec: LinearHead(
        torch.zeros(spec["out"], spec["in"]), torch.zeros(spec["in"]), spec.get("strength", 1.0)
    ),
    "fine": lambda spec: FineHead(HeadChain(_built(spec["parts"])), spec["weight"]),
}
_FIX_HEAD = "The head file belongs to another adapter; copy the whole folder again."


def check_head(spec: Any, where: str = "head", fix: str = "Write the adapter again.") -> None:
    """Check the form of what `head_spec` returned, as a file holds it.

    Raises:
        EquiviewError: Not a list of heads, an unknown kind, or a key that is missing or of another type.
    """
    check(spec, list[dict], where, fix)
    for number, part in enumerate(spec):
        kind = part.get("kind")
        if not isinstance(kind, str) or kind not in _SPECS:
            known = f"one of {', '.join(_SPECS)}"
            raise bad_input(f"{where}[{number}]: kind", known, shown(kind), "Update equiview or fix the file.")
        here = f"{where}[{number}] {kind!r}"
        for key, hint in _SPECS[kind].items():
            check(part.get(key), hint, f"{here}: {key}", fix)
        for key, hint in _OPTIONAL.get(kind, {}).items():
            if key in part:
                check(part[key], hint, f"{here}: {key}", fix)
        # Heads that were saved before there was a strength are applied in full.
        check_strength(part.get("strength", 1.0), f"{here}: strength")
        for side in ("blocks", "dim", "directions", "in", "out"):
            if not 1 <= part.get(side, 1) <= MAX_CHANNELS:
                expected = f"1 to {MAX_CHANNELS}"
                raise bad_input(f"{here}: {side}", expected, shown(part[side]), fix)
        if kind == "fine":
            check_head(part["parts"], f"{here}: parts", fix)


def build_head(
    spec: list[dict[str, Any]] | None,
    state_dict: Mapping[str, torch.Tensor] | None = None,
    what: str = "head weights",
) -> nn.Module:
    """Make the head that `head_spec` described.

    Args:
        spec: Its output. `None` or `[]` gives `nn.Identity()`.
        state_dict: The weights; `None` leaves the initial ones.
        what: The weights' file, for messages.

    Raises:
        EquiviewError: An unknown kind, a key that is missing or of another type, or weights that are of another shape
            or type or not finite.
    """
    check_head(spec or [])
    # With weights at hand nothing is allocated for others: what the spec says may not be what they need.
    with torch.device("cpu" if state_dict is None else "meta"):
        parts = _built(spec or [])
    head: nn.Module = nn.Identity() if not parts else parts[0] if len(parts) == 1 else HeadChain(parts)
    if state_dict is not None:
        check_weights(state_dict, what, _FIX_HEAD)
        try:
            head.load_state_dict(
                {key: value.detach().float().clone() for key, value in state_dict.items()}, assign=True
            )
        except RuntimeError as error:
            raise bad_input(what, f"those of {cut(str(spec), VALUE_CHARS)}", str(error), _FIX_HEAD) from error
    return head


def _built(spec: Sequence[Mapping[str, Any]]) -> list[nn.Module]:
    return [_BUILDERS[part["kind"]](part) for part in spec]


def common_strength(head: Sequence[Mapping[str, Any]], lora: float | None) -> float | None:
    """Return the one strength of a head's parts, as `head_spec` describes them, and of a LoRA.

    An adapter without any of them is always applied in full: 1. None where they have different ones.
    """
    found = {part["strength"] for part in head if "strength" in part} | ({lora} if lora is not None else set())
    if not found:
        return 1.0
    return found.pop() if len(found) == 1 else None
