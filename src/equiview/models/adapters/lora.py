"""LoRA on the query and value projections of a backbone's last blocks, through `peft`.

The adapter layers are injected in place (`peft.inject_adapter_in_model`), so the wrapped model keeps its class and its
forward. Module names differ between the families and between library versions, therefore the projections are found by
walking the block list and `peft` gets their exact full names (Hu et al. 2022, arXiv 2106.09685, for the method).
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from ...errors import EquiviewError, bad_input
from ..backbones.base import Backbone
from ..heads import check_strength
from .proof import prove_lora

logger = logging.getLogger(__name__)

ADAPTER_NAME = "default"
# The names transformers 4, transformers 5, timm and the original repositories give the projections.
QUERY_VALUE_NAMES = (("q_proj", "v_proj"), ("query", "value"), ("q", "v"), ("to_q", "to_v"))
FUSED_NAMES = ("qkv",)


@dataclass(frozen=True)
class LoraSpec:
    """Which adapter to add.

    Attributes:
        rank: Inner dimension r of the update B A.
        alpha: The update is scaled by alpha / rank; None means alpha = rank, i.e. scale 1 as in the paper's code.
        last_blocks: How many of the last blocks get one; None for all.
    """

    rank: int = 4
    alpha: float | None = None
    last_blocks: int | None = 4

    def __post_init__(self) -> None:
        if self.rank < 1 or (self.last_blocks is not None and self.last_blocks < 1):
            raise bad_input(
                "LoRA",
                "rank and last_blocks of at least 1",
                f"rank {self.rank}, {self.last_blocks} blocks",
                "Raise it.",
            )
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            raise bad_input("LoRA alpha", "a number above 0", str(self.alpha), "Leave it out for scale 1.")

    @property
    def scale(self) -> float:
        """The factor on the update."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True)
class LoraTargets:
    """The linear layers an adapter wraps.

    Attributes:
        names: Full module names inside `backbone.model`, in block order (q, v of each block, or the fused qkv).
        fused: True when one linear computes q, k and v together; the adapter then reaches k too.
    """

    names: tuple[str, ...]
    fused: bool


def find_targets(backbone: Backbone, last_blocks: int | None) -> LoraTargets:
    """Find q and v (or the fused qkv) of the last blocks, of all when None.

    Raises:
        EquiviewError: More blocks are asked for than there are, or no block list with such projections was found.
    """
    last_blocks = backbone.info.blocks if last_blocks is None else last_blocks
    if last_blocks > backbone.info.blocks:
        raise bad_input(
            "LoRA last_blocks",
            f"at most {backbone.info.blocks}, the blocks of {backbone.info.id}",
            str(last_blocks),
            "Ask for fewer blocks.",
        )
    lists: list[str] = []
    for name, module in backbone.model.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) != backbone.info.blocks:
            continue
        lists.append(name)
        found = [_projections(block) for block in list(module)[-last_blocks:]]
        if all(names for names, _ in found):
            first = len(module) - last_blocks
            full = [f"{name}.{first + i}.{leaf}" for i, (names, _) in enumerate(found) for leaf in names]
            return LoraTargets(tuple(full), any(fused for _, fused in found))
    looked_for = ", ".join("/".join(pair) for pair in (*QUERY_VALUE_NAMES, FUSED_NAMES))
    raise bad_input(
        f"LoRA on {backbone.info.id}",
        f"linear layers named {looked_for} in a list of {backbone.info.blocks} blocks",
        f"block lists {lists or 'none'} without them; the adapter would touch nothing",
        "This architecture is not supported by LoRA here; use a recipe without one, such as default.",
    )


def _projections(block: nn.Module) -> tuple[list[str], bool]:
    """Return the names of one block's q and v linears, and whether they are fused."""
    linears = {name: m for name, m in block.named_modules() if isinstance(m, nn.Linear)}
    # An already adapted linear is a peft layer around a `base_layer`; it is found too, so that adding twice is noticed.
    linears = {name.removesuffix(".base_layer"): m for name, m in linears.items() if ".lora_" not in name}
    leaves = {name.rsplit(".", 1)[-1]: name for name in linears}
    for query, value in QUERY_VALUE_NAMES:
        if query in leaves and value in leaves:
            return [leaves[query], leaves[value]], False
    for fused in FUSED_NAMES:
        if fused in leaves:
            return [leaves[fused]], True
    return [], False


def add_lora(backbone: Backbone, spec: LoraSpec, seed: int) -> LoraTargets:
    """Inject a new adapter in place; every other parameter of the backbone is frozen.

    A is drawn from U(-1/sqrt(in), 1/sqrt(in)) (Kaiming with a = sqrt 5) and B is zero, so the features do not change.
    The draw uses its own generator on the CPU: the same seed gives the same adapter on every device, and the global
    generators stay as they were. Adapter weights are float32 even if the backbone is bf16.

    Args:
        backbone: The backbone; it is changed.
        spec: Rank, scale, number of blocks.
        seed: Seed of A.

    Returns:
        The layers that were wrapped.

    Raises:
        EquiviewError: There is an adapter already, nothing to adapt, or a rank above a layer's size.
    """
    if has_lora(backbone):
        raise EquiviewError(
            f"{backbone.info.id} has an adapter already. Merge it (merge_lora) or load the backbone anew."
        )
    targets = find_targets(backbone, spec.last_blocks)
    inject(backbone, targets.names, spec.rank, spec.rank * spec.scale)
    generator = torch.Generator().manual_seed(seed)
    for _, layer in lora_layers(backbone):
        a, b = layer.lora_A[ADAPTER_NAME].weight, layer.lora_B[ADAPTER_NAME].weight
        bound = 1.0 / math.sqrt(a.shape[1])
        with torch.no_grad():
            a.copy_(torch.empty(a.shape).uniform_(-bound, bound, generator=generator))
            b.zero_()
    if targets.fused:
        logger.info("%s computes q, k and v in one layer: the adapter changes k too", backbone.info.id)
    return targets


def check_rank(backbone: Backbone, names: tuple[str, ...], rank: int) -> None:
    """Check that a rank is at most the size of every named linear.

    Raises:
        EquiviewError: It is not.
    """
    for name in names:
        linear = cast(nn.Linear, backbone.model.get_submodule(name))
        if rank > min(linear.in_features, linear.out_features):
            raise bad_input(
                "LoRA rank",
                f"at most {min(linear.in_features, linear.out_features)}, the size of {name}",
                str(rank),
                "Choose a smaller rank.",
            )


def inject(backbone: Backbone, names: tuple[str, ...], rank: int, alpha: float) -> None:
    """Wrap the named linears with untrained adapter layers (internal; weights are set by the caller).

    Raises:
        EquiviewError: A rank above a layer's size, or an adapter that would do nothing (see `prove_lora`); the
            backbone is then as it was.
    """
    from peft import inject_adapter_in_model

    check_rank(backbone, names, rank)
    backbone.requires_grad_(False)
    cuda = [backbone_device(backbone)] if backbone_device(backbone).type == "cuda" else []
    with torch.random.fork_rng(cuda):  # peft draws initial values that are overwritten afterwards.
        inject_adapter_in_model(peft_config(names, rank, alpha), backbone.model, adapter_name=ADAPTER_NAME)
    wrapped = {name for name, _ in lora_layers(backbone)}
    if wrapped != set(names):
        raise EquiviewError(f"peft wrapped {sorted(wrapped)} instead of {sorted(names)}. Please report this.")
    for _, layer in lora_layers(backbone):
        layer.lora_A.float()
        layer.lora_B.float()
    try:
        prove_lora(backbone, lora_layers(backbone), ADAPTER_NAME)
    except EquiviewError:
        remove_lora(backbone)
        raise


def peft_config(names: tuple[str, ...], rank: int, alpha: float, base: str | None = None):
    """Return the `peft.LoraConfig` of an adapter on exactly these modules."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        # peft declares an int and computes with any number; a whole one is written as such.
        lora_alpha=int(alpha) if float(alpha).is_integer() else cast(int, alpha),
        target_modules=list(names),
        lora_dropout=0.0,
        bias="none",
        base_model_name_or_path=base,
    )


def lora_layers(backbone: Backbone) -> list[tuple[str, Any]]:
    """Return (name inside `backbone.model`, layer) of every adapted linear, in module order.

    The type of a layer is open: what they share, peft's `LoraLayer`, is a mixin and by itself no `nn.Module`.
    """
    from peft.tuners.lora import LoraLayer

    return [(name, m) for name, m in backbone.model.named_modules() if isinstance(m, LoraLayer)]


def has_lora(backbone: Backbone) -> bool:
    """Say whether an adapter is injected."""
    return bool(lora_layers(backbone))


def lora_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """Return the adapter's weights: what an optimiser should get."""
    return [
        layer_weights[ADAPTER_NAME].weight
        for _, layer in lora_layers(backbone)
        for layer_weights in (layer.lora_A, layer.lora_B)
    ]


def set_lora_strength(backbone: Backbone, strength: float) -> None:
    """Scale the update by `strength alpha / rank` from now on, in place; alpha stays what it was trained with.

    Args:
        backbone: With an adapter.
        strength: 0 computes as the base does, 1 is the whole update, whatever it was before.

    Raises:
        EquiviewError: The strength is not a number from 0 to 1, or there is no adapter.
    """
    strength = check_strength(strength, "LoRA strength")
    if not has_lora(backbone):
        raise bad_input("LoRA strength", "a backbone with an adapter", backbone.info.id, "Load an adapter first.")
    for _, layer in lora_layers(backbone):
        layer.set_scale(ADAPTER_NAME, strength)
        # The quotient of scale and alpha / rank is not this number to the last bit, a record must be.
        layer.equiview_strength = strength


def lora_strength(backbone: Backbone) -> float | None:
    """Return the strength the update is applied with, also where peft set its scale; None without an adapter.

    Raises:
        EquiviewError: The layers have different ones.
    """
    found = {_layer_strength(layer) for _, layer in lora_layers(backbone)}
    if len(found) > 1:
        several = ", ".join(f"{value:g}" for value in sorted(found))
        raise bad_input("LoRA strength", "one for all layers", several, "Set it with set_lora_strength.")
    return found.pop() if found else None


def _layer_strength(layer: Any) -> float:
    scale, alpha, rank = (one[ADAPTER_NAME] for one in (layer.scaling, layer.lora_alpha, layer.r))
    noted: float = getattr(layer, "equiview_strength", 1.0)
    return noted if noted * alpha / rank == scale else scale * rank / alpha


def merge_lora(backbone: Backbone) -> Backbone:
    """Add the update, at its strength, to the weights and take the adapter layers out, in place.

    Without an adapter nothing happens.

    Raises:
        EquiviewError: The merged weights are not finite.
    """
    for name, layer in lora_layers(backbone):
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise EquiviewError(f"merging the adapter into {name}: {error}. Train again with a lower rate.") from error
    return remove_lora(backbone)


def remove_lora(backbone: Backbone) -> Backbone:
    """Take the adapter layers out, in place: what is left is the base, unless they were merged before."""
    for name, layer in lora_layers(backbone):
        parent, _, leaf = name.rpartition(".")
        setattr(backbone.model.get_submodule(parent), leaf, layer.get_base_layer())
    # peft leaves its configuration on the model, and save_pretrained of transformers would act on it.
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        if attribute in vars(backbone.model):
            delattr(backbone.model, attribute)
    return backbone


@contextmanager
def lora_disabled(backbone: Backbone) -> Iterator[None]:
    """Inside this block the backbone computes as if it had no adapter; nothing else changes."""
    layers = [layer for _, layer in lora_layers(backbone)]
    trainable = [parameter for parameter in lora_parameters(backbone) if parameter.requires_grad]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter in lora_parameters(backbone):
            parameter.requires_grad_(any(parameter is one for one in trainable))


def backbone_device(backbone: Backbone) -> torch.device:
    """Return the device of the backbone's weights."""
    return next(backbone.model.parameters()).device
