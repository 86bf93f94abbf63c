"""A tiny random ViT and the sphere world: a training run in a second."""

from dataclasses import fields, replace

import torch
import transformers

from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.pairs import PairConfig
from equiview.finetune.recipe import Recipe, Settings
from equiview.finetune.stages.add_head import AddHead, HeadName
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


def recipe(*heads: Settings, network: bool = True, head: HeadName = "none", **changes) -> Recipe:
    """A recipe that trains the network (or not) and then learns heads; changes are of the network or the recipe."""
    own = {field.name: changes.pop(field.name) for field in fields(Recipe) if field.name in changes}
    small = {"pairs": PairConfig(points=60), "lora": LoraSpec(last_blocks=2)}
    trained = (NetworkTraining(**(small | changes)),) if network else ()
    return Recipe("test", (AddHead(head=head), *trained, *heads), **({"features": FeatureConfig(long_side=64)} | own))


def of_network(recipe: Recipe) -> NetworkTraining:
    return recipe.stage(NetworkTraining)


def changed(recipe: Recipe, **changes) -> Recipe:
    """The recipe with other settings of the network's training."""
    return recipe.with_stage(replace(of_network(recipe), **changes))
