"""Weights of the original DINOv2 code under the names `transformers` uses.

Source of the layout: facebookresearch/dinov2 `models/vision_transformer.py` (DinoVisionTransformer) and
`layers/swiglu_ffn.py`; the released checkpoints of 3DCorrEnhance build on it.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ...errors import bad_input
from .base import IMAGENET, Backbone, BackboneInfo, state_sha256
from .huggingface import wrap
from .position import table_side

_TOP = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_IN_BLOCK = {
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.w3": "mlp.down_proj",
}
# One tensor of the original is several here, equal parts along the first axis, in this order.
_SPLIT = {
    "attn.qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "mlp.w12": ("mlp.gate_proj", "mlp.up_proj"),
}
# Chunked models write blocks.CHUNK.BLOCK, with BLOCK counted through.
_BLOCK = re.compile(r"blocks\.(?:\d+\.)?(\d+)\.([a-z].*)")


def transformers_state(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename (and split) the weights of an original DINOv2 model; the values stay.

    Raises:
        EquiviewError: A name that such a model does not have.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        block = _BLOCK.fullmatch(name)
        if name in _TOP:
            renamed[_TOP[name]] = tensor
        elif block is not None:
            renamed.update(_block_entries(f"encoder.layer.{block[1]}.", block[2], tensor))
        else:
            fix = "Heads and teachers are stored apart; give the backbone's state dict."
            raise bad_input("DINOv2 weights", "names of DinoVisionTransformer", repr(name), fix)
    return renamed


def _block_entries(prefix: str, name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    stem, _, leaf = name.rpartition(".")
    if stem in _SPLIT:
        parts = tensor.chunk(len(_SPLIT[stem]))
        return {f"{prefix}{new}.{leaf}": part for new, part in zip(_SPLIT[stem], parts, strict=True)}
    if name in _IN_BLOCK:
        return {prefix + _IN_BLOCK[name]: tensor}
    return {f"{prefix}{_IN_BLOCK.get(stem, stem)}.{leaf}": tensor}


def backbone_from_dinov2(
    state: Mapping[str, torch.Tensor], *, heads: int | None = None, name: str = "dinov2"
) -> Backbone:
    """Build a backbone from the weights of an original DINOv2 model, with or without registers.

    Its features are those of the original code with `position="dinov2"`.

    Args:
        state: `DinoVisionTransformer.state_dict()`.
        heads: Attention heads; `None` is one per 64 channels, as in all published sizes.
        name: The id in the record.

    Raises:
        EquiviewError: Names or shapes of another model.
    """
    renamed = transformers_state(state)
    model = _empty_model(renamed, heads)
    try:
        report = model.load_state_dict(renamed, strict=False)
    except RuntimeError as error:
        raise bad_input(name, "weights of a DINOv2 model", str(error), "Use the file as published.") from error
    missing = [key for key in report.missing_keys if not key.endswith("mask_token")]
    if missing or report.unexpected_keys:
        found = f"missing {missing[:3]}, unknown {report.unexpected_keys[:3]}"
        raise bad_input(name, "weights of a DINOv2 model", found, "Use the file as published.")
    model.eval().requires_grad_(False)
    config = model.config
    registers = getattr(config, "num_register_tokens", 0)
    info = BackboneInfo(
        id=name,
        family=config.model_type,
        patch=config.patch_size,
        dim=config.hidden_size,
        blocks=config.num_hidden_layers,
        prefix_tokens=1 + registers,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        weights_sha256=state_sha256(model.state_dict()),
    )
    return wrap(model, info)


def _empty_model(renamed: Mapping[str, torch.Tensor], heads: int | None) -> Any:
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    needed = ("embeddings.position_embeddings", "embeddings.patch_embeddings.projection.weight")
    if any(key not in renamed for key in needed):
        raise bad_input(
            "DINOv2 weights", "pos_embed and patch_embed", f"{len(renamed)} others", "Give the whole model."
        )
    table, patch_weight = (renamed[key] for key in needed)
    dim, patch = table.shape[-1], patch_weight.shape[-1]
    options: dict[str, Any] = {
        "hidden_size": dim,
        "patch_size": patch,
        "image_size": patch * table_side(table.shape[1] - 1, "DINOv2 pos_embed"),
        "num_hidden_layers": 1
        + max((int(key.split(".")[2]) for key in renamed if key.startswith("encoder")), default=0),
        "num_attention_heads": heads or max(1, dim // 64),
        "use_swiglu_ffn": any("gate_proj" in key for key in renamed),
        "attn_implementation": "sdpa",
    }
    # The initial values are overwritten; the fork keeps them from moving the global random state.
    with torch.random.fork_rng(devices=[]):
        if "embeddings.register_tokens" in renamed:
            count = renamed["embeddings.register_tokens"].shape[1]
            return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(num_register_tokens=count, **options))
        return Dinov2Model(Dinov2Config(**options))
