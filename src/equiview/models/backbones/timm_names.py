"""Weights of `transformers` Vision Transformers as `timm` has them: names, fused projections, positions, arguments.

Source of the layout: timm `models/vision_transformer.py` (VisionTransformer, `_convert_dinov2`) and `models/deit.py`
(VisionTransformerDistilled).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import bad_input
from ...records import Settings
from .base import BackboneInfo, base_model
from .position import table_side

# Entry points whose other arguments are right; the sizes are given with the weights.
_ARCHITECTURES = {
    "vit": "vit_base_patch16_224",
    "vit_mae": "vit_base_patch16_224",
    "deit": "deit_base_distilled_patch16_224",
    "dinov2": "vit_base_patch14_dinov2",
    "dinov2_with_registers": "vit_base_patch14_reg4_dinov2",
}
_SWIGLU = "vit_giant_patch14_dinov2"
_TOP = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_IN_BLOCK = {
    "attention.o_proj": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.down_proj": "mlp.fc2",
}
# Several tensors here are one there, along the first axis, in this order.
_FUSED = {
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "mlp.fc1": ("mlp.gate_proj", "mlp.up_proj"),
}
_UNUSED = re.compile(r"embeddings\.mask_token|pooler\..*")
_BLOCK = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class TimmForm:
    """A model for `timm`.

    Attributes:
        architecture: Entry point.
        arguments: Of the entry point.
        state: Weights by timm's names.
    """

    architecture: str
    arguments: Settings
    state: dict[str, torch.Tensor]


def timm_form(info: BackboneInfo, model: nn.Module) -> TimmForm:
    """Return a `transformers` Vision Transformer as `timm` has it; its LoRA must be merged.

    Raises:
        EquiviewError: A family or an activation that timm's Vision Transformer does not have.
    """
    inner = base_model(model)
    config = inner.config
    if info.family not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        raise bad_input(f"timm form of {info.id}", f"one of {known}", info.family, "Export without --timm.")
    if config.hidden_act != "gelu":
        fix = "Export without --timm."
        raise bad_input(f"timm form of {info.id}", "the activation gelu", str(config.hidden_act), fix)
    state = _timm_state(inner.state_dict())
    table = state["pos_embed"]
    swiglu = getattr(config, "use_swiglu_ffn", False)
    arguments: Settings = {
        "img_size": info.patch * table_side(table.shape[1] - _prefix_in_table(info), f"{info.id}: positions"),
        "patch_size": info.patch,
        "embed_dim": info.dim,
        "depth": info.blocks,
        "num_heads": config.num_attention_heads,
        # timm takes the whole part of ratio times channels.
        "mlp_ratio": (state["blocks.0.mlp.fc1.weight"].shape[0] + 0.25) / info.dim,
        "qkv_bias": bool(config.qkv_bias),
        "dynamic_img_size": True,
    }
    if info.family == "dinov2_with_registers":
        _without_class_position(state)
    if info.family.startswith("dinov2"):
        registers = info.prefix_tokens - 1
        arguments |= {"init_values": 1e-5, "reg_tokens": registers, "no_embed_class": registers > 0}
    return TimmForm(_SWIGLU if swiglu else _ARCHITECTURES[info.family], arguments, state)


def _prefix_in_table(info: BackboneInfo) -> int:
    return 2 if info.family == "deit" else 1


def _without_class_position(state: dict[str, torch.Tensor]) -> None:
    """Add the class token's position to the token: timm's table of a model with registers has patches only."""
    table = state["pos_embed"]
    state["cls_token"] = state["cls_token"] + table[:, :1]
    state["pos_embed"] = table[:, 1:].clone()


def _timm_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed: dict[str, torch.Tensor] = {}
    waiting: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        block = _BLOCK.fullmatch(name)
        if block is not None:
            _put_block_entry(renamed, waiting, f"blocks.{block[1]}.", block[2], tensor)
        elif not _UNUSED.fullmatch(name):
            renamed[_TOP[name]] = tensor
    for name, parts in waiting.items():
        stem, _, leaf = name.rpartition(".")
        order = next(order for fused, order in _FUSED.items() if stem.endswith(fused))
        renamed[f"{stem}.{leaf}"] = torch.cat([parts[part] for part in order])
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in renamed.items()}


def _put_block_entry(
    renamed: dict[str, torch.Tensor],
    waiting: dict[str, dict[str, torch.Tensor]],
    prefix: str,
    name: str,
    tensor: torch.Tensor,
) -> None:
    stem, _, leaf = name.rpartition(".")
    for fused, parts in _FUSED.items():
        if stem in parts:
            waiting.setdefault(f"{prefix}{fused}.{leaf}", {})[stem] = tensor
            return
    if name in _IN_BLOCK:
        renamed[prefix + _IN_BLOCK[name]] = tensor
    else:
        renamed[f"{prefix}{_IN_BLOCK.get(stem, stem)}.{leaf}"] = tensor


def timm_config(info: BackboneInfo, form: TimmForm) -> dict[str, Any]:
    """Return the `config.json` with which `timm.create_model("local-dir:FOLDER")` finds everything."""
    side = form.arguments["img_size"]
    return {
        "architecture": form.architecture,
        "num_classes": 0,
        "num_features": info.dim,
        "global_pool": "token",
        "model_args": form.arguments,
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [3, side, side],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": list(info.mean),
            "std": list(info.std),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
