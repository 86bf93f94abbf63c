"""Adapter folders: what a finetuning run hands over, and the way back into an extractor.

    adapter_config.json, adapter_model.safetensors   the LoRA, readable by plain `peft`; absent without one
    head.safetensors                                 the head's weights; absent without a head
    equiview.json                                    which backbone, protocol, head, recipe, data, seed, versions

The whole folder appears at once, and `equiview.json` holds the sha256 of the other files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import load_file
from torch import nn

from ...errors import EquiviewError, bad_input
from ...io import read_json, require_file
from ...records import Settings
from ...schema import check, check_fields, check_weights, library_loading
from ..backbones.base import Backbone
from ..extractor import Extractor, FeatureConfig, feature_config
from ..heads import build_head, check_strength
from .lora import (
    ADAPTER_NAME,
    LoraSpec,
    find_targets,
    has_lora,
    inject,
    lora_layers,
    lora_parameters,
    set_lora_strength,
)
from .record import (
    CONFIG_FILE,
    HEAD_FILE,
    RECORD_FILE,
    SAVE_AGAIN,
    WEIGHTS_FILE,
    Adapter,
    BackboneRecord,
    read_adapter,
)
from .saving import PEFT_PREFIX, save_adapter, versions
from .strength import check_adjustable, set_strength

__all__ = ["PEFT_PREFIX", "load_adapter", "save_adapter", "set_lora_state", "versions"]


class PeftConfig(TypedDict):
    """What is used of `adapter_config.json`."""

    r: int
    lora_alpha: float


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file of weights; a broken one, or one with NaN in it, is named."""
    require_file(path, "a safetensors file")
    fix = "Copy the whole folder again."
    with library_loading(str(path), "a safetensors file that is not truncated or corrupt", fix):
        state = load_file(path)
    check_weights(state, str(path), fix)
    return state


def load_adapter(
    name: Path | str,
    backbone: Backbone,
    *,
    allow_other_weights: bool = False,
    trainable: bool = False,
    strength: float | None = None,
    **overrides: Any,
) -> Extractor:
    """Put an adapter on a backbone, in place, and return the extractor it belongs to.

    Args:
        name: An adapter folder, the run folder that contains `adapter/`, or OWNER/NAME[@REVISION] on the hub.
        backbone: A fresh backbone of the architecture it was made for.
        allow_other_weights: Accept a backbone of the same architecture whose weights differ from those the adapter
            was made for (another finetune, another library's copy). The result is then not the published one.
        trainable: Leave the LoRA and head weights trainable, to go on finetuning.
        strength: How much of the adapter is applied, see `set_strength`: 0 gives the base features through the same
            fixed parts of the head, 1 the adapted ones; `None` is as it was saved.
        overrides: Fields of `FeatureConfig` to change, for instance `long_side`.

    Raises:
        EquiviewError: No such adapter, a missing, truncated or corrupt file, an unknown format, another backbone, or a
            strength the adapter cannot have.
    """
    adapter = read_adapter(name)
    folder, record = adapter.folder, adapter.record
    if strength is not None:
        # Before the backbone is touched.
        check_adjustable(record["head"], record["lora"] is not None, check_strength(strength))
    _check_backbone(folder, record["backbone"], backbone, allow_other_weights)
    if has_lora(backbone):
        raise EquiviewError(f"{backbone.info.id} has an adapter already. Load the backbone anew before {folder}.")
    config = _feature_config(adapter, overrides)
    dtype = next(backbone.model.parameters()).dtype
    head = None
    if record["head"]:
        head = build_head(record["head"], read_tensors(folder / HEAD_FILE), str(folder / HEAD_FILE))
        head = head.to(next(backbone.model.parameters()).device, dtype).requires_grad_(trainable)
    if record["lora"] is not None:
        _load_lora(folder, backbone)
        set_lora_strength(backbone, record["lora"].get("strength", 1.0))
        for parameter in lora_parameters(backbone):
            parameter.requires_grad_(trainable)
    extractor = Extractor(backbone, config, head, adapter).eval()
    return extractor if strength is None else set_strength(extractor, strength)


def _check_backbone(folder: Path, made_for: BackboneRecord, backbone: Backbone, allow_other_weights: bool) -> None:
    info = backbone.info
    for key in ("dim", "blocks", "patch"):
        if made_for[key] != getattr(info, key):
            raise bad_input(
                f"{folder}: made for {made_for['id']}; {key}",
                str(made_for[key]),
                f"{getattr(info, key)} in {info.id}",
                "Load the backbone the adapter was made for.",
            )
    if made_for["weights_sha256"] != info.weights_sha256 and not allow_other_weights:
        raise bad_input(
            f"{folder}: backbone weights",
            f"those of {made_for['id']} (sha256 {made_for['weights_sha256'][:12]}...)",
            f"those of {info.id} (sha256 {info.weights_sha256[:12]}...)",
            "Load the backbone the adapter was made for (from Python, allow_other_weights=True takes it as it is).",
        )


def _feature_config(adapter: Adapter, overrides: Settings) -> FeatureConfig:
    own = adapter.record["features"]
    check_fields(own, FeatureConfig, f"{adapter.folder / RECORD_FILE}: features", SAVE_AGAIN)
    config = feature_config(**{**own, **overrides})
    if adapter.record["head"] and len(config.blocks) != len(own.get("blocks", ())):
        raise bad_input("blocks", f"{own['blocks']}, which the head needs", str(config.blocks), "Leave `blocks` out.")
    return config


def _load_lora(folder: Path, backbone: Backbone) -> None:
    state = read_tensors(folder / WEIGHTS_FILE)
    config = read_json(folder / CONFIG_FILE)
    fix = "Copy the folder again."
    check(config, PeftConfig, str(folder / CONFIG_FILE), fix)
    spec = LoraSpec(config["r"], float(config["lora_alpha"]))  # Checks both.
    names = sorted({key.removeprefix(PEFT_PREFIX).rsplit(".lora_", 1)[0] for key in state})
    absent = [name for name in names if not isinstance(_submodule(backbone.model, name), nn.Linear)]
    if absent or not names:
        present = find_targets(backbone, 1).names
        raise bad_input(
            str(folder / WEIGHTS_FILE),
            f"weights for linears of {backbone.info.id} (its projections are called like {present[0]})",
            f"weights for {absent[0]}" if absent else "no weights",
            "Load the backbone from the source the adapter was made with.",
        )
    inject(backbone, tuple(names), spec.rank, float(config["lora_alpha"]))
    set_lora_state(backbone, state, str(folder / WEIGHTS_FILE))


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    found: Any = model
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def set_lora_state(backbone: Backbone, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Copy adapter weights into injected layers; every name and shape must fit.

    Raises:
        EquiviewError: A tensor is missing, too many, or has another shape.
    """
    left = dict(state)
    for name, layer in lora_layers(backbone):
        for part in ("lora_A", "lora_B"):
            weight = getattr(layer, part)[ADAPTER_NAME].weight
            value = left.pop(f"{PEFT_PREFIX}{name}.{part}.weight", None)
            if value is None or value.shape != weight.shape:
                found = "nothing" if value is None else f"shape {tuple(value.shape)}"
                fix = "The file belongs to another backbone."
                raise bad_input(f"{what}: {name}.{part}", f"shape {tuple(weight.shape)}", found, fix)
            with torch.no_grad():
                weight.copy_(value)
    if left:
        raise bad_input(
            what, "LoRA weights A and B only", f"{min(left)} too", "The file belongs to another kind of adapter."
        )
