"""A tiny random ViT and the sphere world: a training run in a second."""

import torch
import transformers

from equiview.finetune.pairs import PairConfig
from equiview.finetune.recipes import Recipe
from equiview.models.adapters.lora import LoraSpec
from equiview.models.backbones.base import Backbone, BackboneInfo
from equiview.models.backbones.huggingface import wrap
from equiview.models.extractor import FeatureConfig
from worlds import sphere_ring


def tiny_backbone(seed: int = 0) -> Backbone:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, image_size=64, patch_size=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.ViTModel(config, add_pooling_layer=False)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    model.eval().requires_grad_(False)
    mean_std = ((0.5,) * 3,) * 2
    return wrap(model, BackboneInfo("tiny", "vit", 8, 32, 3, 1, *mean_std, weights_sha256=f"seed {seed}"))


def objects(n: int = 6) -> dict:
    return {"sphere": sphere_ring(n)}


def recipe(**changes) -> Recipe:
    settings = {
        "features": FeatureConfig(long_side=64),
        "pairs": PairConfig(points=60),
        "lora": LoraSpec(last_blocks=2),
    }

    return Recipe("test", **(settings | changes))
