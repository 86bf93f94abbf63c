"""Tiny random models of every family, made here from seeds."""

from collections.abc import Callable
from pathlib import Path

import torch
import transformers

COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 56,
    "patch_size": 14,
}
ROPE = {**COMMON, "patch_size": 16, "image_size": 64}
SPECS = {
    "dinov2": ("Dinov2Model", COMMON),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {**COMMON, "num_register_tokens": 3}),
    "dinov3_vit": ("DINOv3ViTModel", {**ROPE, "num_register_tokens": 4}),
    "clip": ("CLIPVisionModel", COMMON),
    "vit_mae": ("ViTMAEModel", {**COMMON, "patch_size": 8, "mask_ratio": 0.75}),
    "deit": ("DeiTModel", {**COMMON, "patch_size": 8}),
    "vit": ("ViTModel", {**COMMON, "patch_size": 8}),
    "siglip": ("SiglipVisionModel", COMMON),
}
PREFIX = {
    "dinov2": 1,
    "dinov2_with_registers": 4,
    "dinov3_vit": 5,
    "clip": 1,
    "vit_mae": 1,
    "deit": 2,
    "vit": 1,
    "siglip": 0,
}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "projection_size": 32,
}
# Larger models whose vision encoder must be found: class, and whether the config is made of two towers.
WHOLE = {
    "CLIPModel": "clip",
    "CLIPVisionModelWithProjection": "clip",
    "CLIPForImageClassification": "clip",
    "SiglipModel": "siglip",
    "SiglipForImageClassification": "siglip",
    "ViTForImageClassification": "vit",
    "DeiTForImageClassificationWithTeacher": "deit",
    "Dinov2ForImageClassification": "dinov2",
    "Dinov2Backbone": "dinov2",
    "Dinov2WithRegistersForImageClassification": "dinov2_with_registers",
    "DINOv3ViTBackbone": "dinov3_vit",
    "ViTMAEForPreTraining": "vit_mae",
}


def make_model(family: str, seed: int = 0) -> torch.nn.Module:
    """Return the family's vision model with values large enough that every mistake shows."""
    name, options = SPECS[family]
    cls = getattr(transformers, name)
    return _random(lambda: cls(cls.config_class(**options)), seed)


def make_whole(name: str, seed: int = 0) -> torch.nn.Module:
    """Return a larger model around a vision encoder."""
    cls = getattr(transformers, name)
    options = SPECS[WHOLE[name]][1]
    if hasattr(cls.config_class(), "vision_config"):
        config = cls.config_class(vision_config=options, text_config=TEXT, projection_dim=32)
    else:
        config = cls.config_class(**options)
    return _random(lambda: cls(config), seed)


def _random(build: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    # `transformers` starts weights from torch's own state: without a seed a model would depend on the tests before it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.1 * noise)
    return model.eval()


def save(model: torch.nn.Module, folder: Path) -> Path:
    """Write the folder a user would have."""
    model.save_pretrained(folder)
    return folder
