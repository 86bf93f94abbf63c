"""A proof that an adapter does what it says, before anything is trained or loaded into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ...errors import bad_input
from ..backbones.base import Backbone


def prove_lora(backbone: Backbone, layers: list[tuple[str, Any]], adapter: str) -> None:
    """Show on a picture of six patches that the adapter changes what attention computes, and merging changes nothing.

    Some models compute with a layer's `weight` and never call the layer: an adapter around it would train, or load,
    and do nothing. The outputs of the modules that hold the layers are compared, where no LayerScale near zero hides a
    change.

    Args:
        backbone: With the adapter.
        layers: Its adapted linears by name.
        adapter: The name peft knows it by. Its weights are drawn anew here, as large as those of the linears, and are
            to be set afterwards.

    Raises:
        EquiviewError: An adapter of one of the layers has no effect, or another one when merged.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, layer in layers:
            a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
            size = (layer.get_base_layer().weight.float().std().clamp(min=1e-3) / layer.scaling[adapter]) / a.shape[
                0
            ] ** 0.5
            a.copy_(torch.randn(a.shape, generator=generator))
            b.copy_(torch.randn(b.shape, generator=generator) * size.cpu())
            layer.enable_adapters(False)
        plain, _ = _attention(backbone, layers)
        for _, layer in layers:
            layer.enable_adapters(True)
        adapted, called = _attention(backbone, layers)
        with _merged_for_now(layers):
            merged, _ = _attention(backbone, layers)
    unlike = [
        name
        for name, before in plain.items()
        if not (adapted[name] - before).abs().max() > 1e-2 * before.abs().max()
        or (merged[name] - adapted[name]).abs().max() > 0.1 * (adapted[name] - before).abs().max()
    ]
    useless = [name for name, _ in layers if name not in called] or unlike
    if useless or not plain:
        raise bad_input(
            f"LoRA on {backbone.info.id}",
            "projections that are called as layers, so that an adapter changes the features and can be merged",
            f"{(useless or ['attention'])[0]}, which is computed through its weights or not at all",
            "This architecture is not supported by LoRA here; use a recipe without one, such as default.",
        )


@contextmanager
def _merged_for_now(layers: list[tuple[str, Any]]) -> Iterator[None]:
    """Merge inside this block; the weights come back to the last bit (`unmerge` alone would leave rounding)."""
    kept = [layer.get_base_layer().weight.detach().clone() for _, layer in layers]
    try:
        for _, layer in layers:
            layer.merge()
        yield
    finally:
        for (_, layer), weight in zip(layers, kept, strict=True):
            layer.unmerge()
            layer.get_base_layer().weight.copy_(weight)


def _attention(backbone: Backbone, layers: list[tuple[str, Any]]) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Return the output of each module that holds adapted layers, and the names of the layers that were called."""
    found: dict[str, torch.Tensor] = {}
    called: set[str] = set()

    def keep(name: str, output: Any) -> None:
        found[name] = (output[0] if isinstance(output, tuple) else output).float()

    hooks = []
    for name, layer in layers:
        holder = name.rpartition(".")[0]
        hooks.append(layer.register_forward_hook(lambda *_, name=name: called.add(name)))
        module = backbone.model.get_submodule(holder)
        hooks.append(module.register_forward_hook(lambda *given, holder=holder: keep(holder, given[2])))
    patch, blocks = backbone.info.patch, backbone.info.blocks
    images = torch.rand((1, 3, 2 * patch, 3 * patch), generator=torch.Generator().manual_seed(1))
    try:
        backbone(images.to(next(backbone.model.parameters()).device), blocks=(blocks,))
    finally:
        for hook in hooks:
            hook.remove()
    return found, called
