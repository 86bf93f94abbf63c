"""The demo: `improve` on objects and a backbone that are made on the spot, so that it needs no files and no network."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .adapters import LoraSpec
from .finetune.recipes import get_recipe
from .improve import ImproveConfig, improve
from .io import atomic_folder, write_json
from .runs import Progress

log = logging.getLogger(__name__)

TRAIN_OBJECTS = ("procedural:1",)
TEST_OBJECTS = tuple(f"procedural:{seed}" for seed in range(11, 16))
LONG_SIDE = 448
STEPS = 80
DIM, BLOCKS, PATCH = 96, 4, 16
NOTE = (
    f"The backbone of this demo is a small ViT ({BLOCKS} blocks, {DIM} channels) with RANDOM weights: nothing was "
    "pretrained. Its numbers show how equiview works, not what DINOv2 or any other pretrained model does. "
    "For numbers that mean something, run `equiview improve` with a pretrained backbone."
)


def run_demo(
    out: str | Path, *, device: str = "cpu", seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Train briefly on one procedural object, solve the closed form on top, and score it on five other objects.

    A network of random weights has nothing to uncover, so unlike the `default` recipe the demo trains (LoRA). The
    training stops after a number of steps and never after a time, so that slow machines train as long as fast ones.

    Args:
        out: The run folder, as of `improve`, with the backbone in `backbone/`.
        device: Where it runs.
        seed: Of the backbone's weights, the views and the points.
        progress: Called with (stage, done, total); stages as of `improve`.

    Returns:
        The content of summary.json (see docs/protocols.md), with the note that the backbone is random.

    Raises:
        EquiviewError: The folder holds another run, or cannot be written.
    """
    log.info(NOTE)
    backbone = Path(out) / "backbone"
    if not backbone.exists():
        write_random_vit(backbone, seed)
    recipe = get_recipe("one-step")
    recipe = replace(
        recipe,
        name="demo",
        features=replace(recipe.features, long_side=LONG_SIDE),
        kind="train_then_closed_form",
        lora=LoraSpec(rank=8, last_blocks=None),
        loss="info_nce",
        temperature=0.05,
        steps=STEPS,
    )
    config = ImproveConfig(recipe, device=device, seed=seed, notes=(NOTE,))
    return improve(str(backbone), TRAIN_OBJECTS, TEST_OBJECTS, Path(out), config, progress)


def write_random_vit(folder: Path, seed: int) -> None:
    """Write a `transformers` folder with a small ViT of random weights, complete or not at all.

    Args:
        folder: It must not exist.
        seed: Same seed, same weights.

    Raises:
        EquiviewError: It cannot be written.
    """
    from safetensors.torch import save_file
    from transformers import ViTConfig, ViTModel

    settings = ViTConfig(
        architectures=["ViTModel"],
        hidden_size=DIM,
        num_hidden_layers=BLOCKS,
        num_attention_heads=DIM // 32,
        intermediate_size=4 * DIM,
        image_size=224,
        patch_size=PATCH,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViTModel(settings, add_pooling_layer=False)
    with atomic_folder(folder) as temporary:
        settings.save_pretrained(temporary)
        write_json(temporary / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
        save_file(model.state_dict(), temporary / "model.safetensors", metadata={"format": "pt"})
