"""One training step of the reference through the tiny ViT (f03b): loss, gradients, the AdamW update."""

from pathlib import Path

import numpy as np
import pytest
import torch

from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.pairs import PairSample
from equiview.finetune.recipes import get_recipe
from equiview.finetune.train import accumulate_gradients, trainable
from equiview.models.adapters.lora import LoraSpec, add_lora, lora_layers
from equiview.models.backbones.dinov2_names import backbone_from_dinov2
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import RandomConvHead

PATCHES = {"A": 80 // 8, "R": 96 // 8}


def reference_extractor(golden: Path, which: str) -> Extractor:
    """The tiny ViT with the golden LoRA matrices and convolution, at the reference's resolution."""
    data = np.load(golden / f"f00_tiny_vit_{which}.npz")
    weights = {name: torch.from_numpy(data[name]) for name in data.files}
    state = {name.removeprefix("vit/"): value for name, value in weights.items() if name.startswith("vit/")}
    backbone = backbone_from_dinov2(state, heads=4)
    add_lora(backbone, LoraSpec(rank=4, last_blocks=4), seed=0)
    head = RandomConvHead(backbone.info.dim)
    head.conv.load_state_dict({"weight": weights["conv/weight"], "bias": weights["conv/bias"]})
    with torch.no_grad():
        for number, (_, layer) in enumerate(lora_layers(backbone)):
            layer.lora_A["default"].weight.copy_(weights[f"lora/w_a_{number:03d}"])
            layer.lora_B["default"].weight.copy_(weights[f"lora/w_b_{number:03d}"])
    return Extractor(backbone, FeatureConfig(long_side=PATCHES[which] * 14, position="dinov2"), head)


def reference_pair(data: dict, which: str) -> PairSample:
    images = [torch.from_numpy(data[f"{which}/in/rgb_{i}_uint8"])[0].float() / 255 for i in (1, 2)]
    points = [torch.from_numpy(data[f"{which}/in/{name}_{i}"])[0] for name in ("pts2d", "pts3d") for i in (1, 2)]
    masks = [torch.ones(image.shape[1:], dtype=torch.bool) for image in images]
    return PairSample(*images, *masks, *points, "golden", (0, 1), 0, aligned=False)


@pytest.mark.shared
@pytest.mark.parametrize("which", ["A", "R"])
def test_one_step_of_the_paper_recipe_is_the_reference_s(golden: Path, which: str):
    data = np.load(golden / "f03b_training_step_network.npz")
    extractor, settings = reference_extractor(golden, which), get_recipe("paper").stage(NetworkTraining)
    parameters = trainable(extractor)
    assert sum(p.numel() for p in parameters.values()) == data[f"{which}/out/n_trainable"]
    optimiser = torch.optim.AdamW(parameters.values(), lr=settings.lr, weight_decay=settings.weight_decay)
    pair = reference_pair(data, which)
    loss = accumulate_gradients(extractor, [pair], settings, torch.device("cpu"), optimiser)
    assert loss == pytest.approx(float(data[f"{which}/out/loss"]), abs=1e-5)

    norm = torch.stack([p.grad.square().sum() for p in parameters.values()]).sum().sqrt()
    assert norm == pytest.approx(float(data[f"{which}/out/grad_total_norm"]), rel=1e-3)  # below 1: not clipped
    layers = [layer for _, layer in lora_layers(extractor.backbone)]
    for number, layer in enumerate(layers):
        close(layer.lora_A["default"].weight.grad, data[f"{which}/out/grad_w_a_{number:03d}"])
        close(layer.lora_B["default"].weight.grad, data[f"{which}/out/grad_w_b_{number:03d}"])
    conv = extractor.head.conv
    close(conv.bias.grad, data[f"{which}/out/grad_conv_bias"])
    close(conv.weight.grad[::8, ::8], data[f"{which}/out/grad_conv_weight_sub"])
    assert conv.weight.grad.norm() == pytest.approx(float(data[f"{which}/out/grad_conv_weight_norm"]), rel=1e-3)

    first, last = layers[0].lora_A["default"].weight, layers[-1].lora_B["default"].weight
    after = {"w_a_000": first, "w_b_007": last, "conv_bias": conv.bias}
    optimiser.step()
    for name, value in after.items():
        error = (value.detach() - torch.from_numpy(data[f"{which}/out/after_step_{name}"])).abs()
        # Adam's first step is the sign of the gradient: where that is near zero, either sign is right.
        clear = value.grad.abs() > 1e-3 * value.grad.abs().max()
        assert error[clear].max() < 1e-6 and error.max() < 2.1e-5, name


def close(gradient: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
