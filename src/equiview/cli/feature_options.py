"""From the options that name features to the features."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import bad_input
from .common import quiet_transformers, resolve_device

if TYPE_CHECKING:
    from ..models.extractor import Extractor


def open_features(
    backbone: str,
    adapter: Path | None,
    strength: float | None,
    features: dict[str, Any],
    random_seed: int | None = None,
    *,
    device: str,
    dtype: str = "float32",
) -> "Extractor":
    """Load what is measured.

    Args:
        backbone: Its name.
        adapter: Its folder, if there is one.
        strength: How much of the adapter is applied (0-1); None for as it was saved.
        features: Settings of `FeatureConfig`; those that are None were not given. `thorough`: as that recipe sees.
        random_seed: Of random weights; None for the backbone's own.
        device: Where it runs, as `--device` has it.
        dtype: Of the weights.

    Raises:
        EquiviewError: It cannot be loaded, an adapter is asked for on random weights, or a strength of no adapter.
    """
    if strength is not None and adapter is None:
        fix = "Give the adapter, or leave --strength out."
        raise bad_input("--strength", "an --adapter beside it", f"{strength:g} alone", fix)
    quiet_transformers()
    import torch

    from ..finetune.recipes import THOROUGH
    from ..models.backbones import load_backbone
    from ..models.extractor import Extractor, FeatureConfig
    from ..models.loading import load

    device, kind = resolve_device(device), getattr(torch, dtype)
    features = {name: value for name, value in features.items() if value is not None}
    if features.pop("thorough", False):
        features |= {"sizes": THOROUGH.features.sizes, "mirrored": THOROUGH.features.mirrored}
    if random_seed is None:
        return load(backbone, adapter=adapter, strength=strength, device=device, dtype=kind, **features)
    if adapter is not None:
        raise bad_input("--random-weights", "no --adapter beside it", str(adapter), "Leave one of the two out.")
    model = load_backbone(backbone, device=device, dtype=kind, random_weights_seed=random_seed)
    return Extractor(model, FeatureConfig(**features)).eval()
