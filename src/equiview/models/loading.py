"""The one line most users need: a backbone, optionally with an adapter, as a torch module."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float

from ..errors import bad_input
from ..sampling import sample_grid, token_from_pixel
from .adapters import adapter_folder, has_lora, load_adapter, lora_strength, merge_lora, read_record
from .adapters.folder import RECORD_FILE, file_sha256
from .adapters.strength import common_strength
from .backbones import load_backbone
from .extractor import Extractor, FeatureConfig


class EquiviewModel(Extractor):
    """An extractor with features at points: what `load` returns.

    `model(images)` gives dense maps [b c rows cols] of a batch of RGB images in 0..1, `model.maps(pictures)` one
    `FeatureMap` a picture, `model.at(images, xy)` descriptors at points. It is in evaluation mode; put it under
    `torch.no_grad()` unless gradients are wanted.

    Attributes:
        adapter: What a protocol says about the adapter's files (JSON); None without one.
    """

    adapter: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """Return what names these features, the adapter and its strength now included (JSON)."""
        described = super().describe()
        if self.adapter is None:
            return described
        lora, strength = self.adapter["lora"], lora_strength(self.backbone)
        if lora is not None:
            # Once merged it has no strength to read; `merged` noted the one it was merged at.
            lora = lora | ({} if strength is None else {"strength": strength})
            strength = lora["strength"]
        # None where parts were saved with different ones: each part's own is beside it.
        own = {"strength": common_strength(described["head"], strength), "lora": lora}
        return described | {"adapter": self.adapter | own}

    def at(
        self, images: Float[torch.Tensor, "b 3 h w"], xy: Float[torch.Tensor, "b n 2"]
    ) -> Float[torch.Tensor, "b n c"]:
        """Return L2-normalised float32 descriptors at points of a batch of images.

        Args:
            images: RGB in 0..1, any size.
            xy: Pixels of these images, corner origin: (0.5, 0.5) is the centre of the first pixel. Points outside the
                outermost token centres get the border's feature.

        Raises:
            EquiviewError: The shapes do not fit together, or a point is not finite.
        """
        if xy.ndim != 3 or xy.shape[-1] != 2 or xy.shape[0] != images.shape[0]:
            found, fix = f"shape {tuple(xy.shape)}", "Give every image of the batch the same number of points."
            raise bad_input("xy", f"[{images.shape[0]}, n, 2] for {images.shape[0]} images", found, fix)
        if not torch.isfinite(xy).all():
            raise bad_input("xy", "finite pixels", "NaN or infinity", "Drop these points first.")
        maps = self(images).float()
        # All images share one grid; which of them the map holds does not matter, and there may be none.
        grid = self.feature_map(maps.flatten(0, 1), (int(images.shape[2]), int(images.shape[3])))
        return F.normalize(sample_grid(maps, token_from_pixel(grid, xy.to(maps))), dim=-1, eps=1e-12)

    def merged(self) -> "EquiviewModel":
        """Add the LoRA update to the weights, in place, and return the model: same features, faster.

        The strength it has now is then part of the weights.
        """
        if has_lora(self.backbone):
            if self.adapter is not None:
                self.adapter = self.adapter | {"lora": self.describe()["adapter"]["lora"]}
            merge_lora(self.backbone)
        return self


def load(
    name: str | Path,
    *,
    adapter: str | Path | None = None,
    strength: float | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_other_weights: bool = False,
    **features: Any,
) -> EquiviewModel:
    """Load a backbone with an adapter.

    Args:
        name: A folder, a hub id, `timm:NAME` or `hub:REPO:ENTRY`, see `load_backbone`.
        adapter: An adapter folder, or a run folder of `improve` or `finetune` that contains `adapter/`. Without it
            the features are the pretrained ones.
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
    backbone = load_backbone(name, device=device, dtype=dtype)
    if adapter is not None:
        options: dict[str, Any] = {"allow_other_weights": allow_other_weights, "strength": strength, **features}
        extractor = load_adapter(Path(adapter), backbone, **options)
        model = EquiviewModel(backbone, extractor.config, extractor.head).eval()
        model.adapter = _describe_adapter(adapter_folder(Path(adapter)))
        return model
    known = [field.name for field in fields(FeatureConfig)]
    unknown = sorted(set(features) - set(known))
    if unknown:
        raise bad_input("load", f"feature options among {known}", ", ".join(unknown), "Check the spelling.")
    config = FeatureConfig(**features)
    return EquiviewModel(backbone, config).eval()


def _describe_adapter(folder: Path) -> dict[str, Any]:
    lora = read_record(folder)["lora"]
    kept = None if lora is None else {key: lora[key] for key in ("rank", "alpha", "targets", "covers")}
    # The record holds the sha256 of every other file, so its own names the adapter.
    return {"sha256": file_sha256(folder / RECORD_FILE), "lora": kept}
