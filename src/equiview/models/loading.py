"""The one line most users need: a backbone, optionally with an adapter, as a torch module."""

from pathlib import Path
from typing import Any

import torch

from ..errors import bad_input
from .adapters import load_adapter
from .backbones import load_backbone
from .extractor import Extractor, feature_config


def load(
    name: str | Path,
    *,
    adapter: str | Path | None = None,
    strength: float | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_other_weights: bool = False,
    **features: Any,
) -> Extractor:
    """Load a backbone with an adapter, in evaluation mode.

    Args:
        name: A folder, a hub id, `timm:NAME` or `hub:REPO:ENTRY`, see `load_backbone`.
        adapter: An adapter folder, a run folder of `improve` or `finetune` that contains `adapter/`, or an adapter on
            the Hugging Face hub, OWNER/NAME or OWNER/NAME@REVISION; a local folder of that name comes first. Without
            it the features are the pretrained ones.
        strength: How much of the adapter is applied: 0 gives the pretrained features through the parts of its head
            that were not fitted, 1 the adapted ones; `None` is as it was saved. `set_strength` changes it later.
        device: Where it runs.
        dtype: Of the weights and maps (`at` and `maps` give float32 whatever it is).
        allow_other_weights: Accept weights of the same architecture that the adapter was not made for.
        features: Fields of `FeatureConfig` (`blocks`, `norm`, `long_side`, `stride`, `position`, `sizes`, `mirrored`);
            the adapter's own are the defaults.

    Raises:
        EquiviewError: The backbone or the adapter cannot be loaded or do not fit together, or the adapter cannot have
            this strength.
    """
    if strength is not None and adapter is None:
        raise bad_input("strength", "an adapter beside it", "none", "Give the adapter, or leave the strength out.")
    if adapter is None:
        config = feature_config(**features)
        return Extractor(load_backbone(name, device=device, dtype=dtype), config).eval()
    backbone = load_backbone(name, device=device, dtype=dtype)
    options: dict[str, Any] = {"allow_other_weights": allow_other_weights, "strength": strength, **features}
    return load_adapter(adapter, backbone, **options)
