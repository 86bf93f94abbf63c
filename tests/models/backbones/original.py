"""The tiny original-layout DINOv2 weights of the golden files, as backbones."""

from pathlib import Path

import numpy as np
import torch

from equiview.models.backbones import Backbone
from equiview.models.backbones.dinov2_names import backbone_from_dinov2

HEADS = {"A": 4, "R": 4}


def weights(golden: Path, which: str) -> dict[str, torch.Tensor]:
    data = np.load(golden / f"f00_tiny_vit_{which}.npz")
    return {name: torch.from_numpy(data[name]) for name in data.files}


def tiny(golden: Path, which: str, *, lora: bool = False) -> Backbone:
    """Return the tiny ViT, with its LoRA matrices added to the weights when asked."""
    found = weights(golden, which)
    state = {name.removeprefix("vit/"): value for name, value in found.items() if name.startswith("vit/")}
    backbone = backbone_from_dinov2(state, heads=HEADS[which], name=f"tiny {which}")
    if lora:
        blocks = backbone.model.encoder.layer
        for number in range(8):
            # q and v of the last four blocks, in turn (golden README, f00).
            attention = blocks[len(blocks) - 4 + number // 2].attention
            layer = attention.q_proj if number % 2 == 0 else attention.v_proj
            with torch.no_grad():
                layer.weight += found[f"lora/w_b_{number:03d}"] @ found[f"lora/w_a_{number:03d}"]
    return backbone


def conv(golden: Path, which: str) -> torch.nn.Conv2d:
    found = weights(golden, which)
    dim = len(found["conv/bias"])
    layer = torch.nn.Conv2d(dim, dim, 3, padding=1)
    layer.load_state_dict({"weight": found["conv/weight"], "bias": found["conv/bias"]})
    return layer.requires_grad_(False)
