"""From pictures to feature maps that know which pixels they describe."""

import copy
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import nn

from ..errors import bad_input
from ..hub import check_repo, push
from ..limits import MAX_SIDE, require_at_most
from ..model_card import CARD_FILE, Card, card_text
from ..records import FeaturesRecord, Settings
from ..sampling import sample_grid, token_from_pixel
from ..schema import check_fields
from ..types import FeatureMap, View
from .adapters.lora import has_lora, lora_strength, merge_lora
from .adapters.record import FILES, Adapter
from .adapters.saving import RESERVED, save_adapter
from .backbones.base import Backbone, Position, check_settings, grid_hw
from .heads import common_strength, head_spec, with_fine, without_fine

Picture = View | UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class FeatureConfig:
    """How features are extracted; part of every protocol.

    Attributes:
        blocks: Numbers from 1; empty is the last block. Several are each L2-normalised over channels and concatenated.
        norm: Apply the final LayerNorm to every block.
        long_side: The longer side of the image is resized to this many pixels (to whole patches), the other follows.
        stride: Of the patch embedding in network pixels; `None` is the patch size.
        position: How position tables are resampled, `hf` or `dinov2`.
        sizes: Shares of `long_side` at which the picture is seen, such as (0.7, 1, 1.4), each a pass of the network;
            the features of every block are L2-normalised, brought to the tokens of size 1 and averaged. Empty: once.
        mirrored: Share (0-0.5) of the mirrored picture's features, turned back, in that average, and as many passes
            again; a half takes what is left and what is right for one another.

    Raises:
        EquiviewError: A value of another type, a size that is not above 0, a share outside 0..0.5, or either with a
            stride of its own.
    """

    blocks: tuple[int, ...] = ()
    norm: bool = True
    long_side: int = 640
    stride: int | None = None
    position: Position = "hf"
    sizes: tuple[float, ...] = ()
    mirrored: float = 0.0

    def __post_init__(self) -> None:
        check_fields(vars(self), FeatureConfig, "feature options", "See FeatureConfig for what each of them means.")
        for name in ("blocks", "sizes"):  # Lists, where they come from JSON.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not all(0 < size < math.inf for size in self.sizes):
            raise bad_input("sizes", "shares of the resolution above 0", str(self.sizes), "For example 0.7, 1, 1.4.")
        require_at_most("long_side", self.long_side * max(self.sizes, default=1), MAX_SIDE)
        if not 0 <= self.mirrored <= 0.5:
            raise bad_input("mirrored", "a share from 0 to 0.5", str(self.mirrored), "0.25 is a good one.")
        if self.several and self.stride is not None:
            fix = "Leave the stride out: only whole patches lie at the same places in all of them."
            raise bad_input("stride with sizes or mirrored", "the patch size", str(self.stride), fix)

    @property
    def several(self) -> bool:
        """Whether a picture is seen more than once."""
        return bool(self.sizes or self.mirrored)

    @property
    def single_pass(self) -> "FeatureConfig":
        """The same for pictures seen once, as they are."""
        return replace(self, sizes=(), mirrored=0.0)


def feature_config(**options: Any) -> FeatureConfig:
    """Return a `FeatureConfig`; an option it does not have is refused by name."""
    check_fields(options, FeatureConfig, "feature options", "See FeatureConfig for what each of them means.")
    return FeatureConfig(**options)


class Extractor(nn.Module):
    """A backbone, a way to use it, and optionally a head on top: what `load` returns.

    `model(images)` gives dense maps [b c rows cols] of a batch of RGB images in 0..1, `model.maps(pictures)` one
    `FeatureMap` a picture, `model.at(images, xy)` descriptors at points. Put it under `torch.no_grad()` unless
    gradients are wanted.

    Args:
        backbone: From `load_backbone`.
        config: Which blocks, at which resolution.
        head: A module [b c h w] to [b c2 h w], see `heads`.
        adapter: The folder that LoRA and head were loaded from, for the record; None where there is none.

    Raises:
        EquiviewError: A block, stride or position mode the backbone does not have, or a resolution below one patch.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: FeatureConfig = FeatureConfig(),
        head: nn.Module | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.config = config
        self.head = head
        self.adapter = adapter
        self.merged_strength: float | None = None
        check_settings(backbone.info, self.blocks, config.stride, config.position)
        if config.long_side < backbone.info.patch:
            expected = f"at least one patch of {backbone.info.patch} px"
            raise bad_input("long_side", expected, str(config.long_side), "640 is the default.")

    @property
    def blocks(self) -> tuple[int, ...]:
        """Block numbers, the default resolved."""
        return tuple(self.config.blocks) or (self.backbone.info.blocks,)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def network_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the size an image is resized to: whole patches, each side rounded on its own."""
        patch, scale = self.backbone.info.patch, self.config.long_side / max(image_hw)
        h, w = (max(1, round(side * scale / patch)) * patch for side in image_hw)
        return h, w

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b c rows cols"]:
        """Resize, run the backbone and the head. Differentiable in the weights and the images.

        Args:
            images: RGB in 0..1, any size.

        Returns:
            Features, not L2-normalised after the head. One block alone is not normalised either; several are, each.
        """
        image_hw = (int(images.shape[2]), int(images.shape[3]))
        if self.config.several:
            features = self._seen_several_times(images, image_hw)
        else:
            features = join_blocks(self._blocks(resize(images, self.network_hw(image_hw))))
        return features if self.head is None else self.head(features)

    def _blocks(self, images: Float[torch.Tensor, "b 3 h w"]) -> list[Float[torch.Tensor, "b c rows cols"]]:
        config = self.config
        return self.backbone(
            images, blocks=self.blocks, norm=config.norm, stride=config.stride, position=config.position
        )

    def _seen_several_times(
        self, images: Float[torch.Tensor, "b 3 h w"], image_hw: tuple[int, int]
    ) -> Float[torch.Tensor, "b c rows cols"]:
        patch, count, share = self.backbone.info.patch, len(self.blocks), self.config.mirrored
        total = torch.zeros(())
        for size in self.config.sizes or (1.0,):
            h, w = (max(1, round(size * side / patch)) * patch for side in self.network_hw(image_hw))
            own = unit_blocks(torch.cat(self._blocks(resize(images, (h, w))), 1), count)
            if share:
                mirror = unit_blocks(torch.cat(self._blocks(resize(images.flip(3), (h, w))), 1), count).flip(3)
                own = unit_blocks((1 - share) * own + share * mirror, count)
            total = total + unit_blocks(resize(own, self.grid(image_hw)), count)
        return unit_blocks(total, count)

    def maps(
        self, views: Iterable[Picture], *, batch_size: int = 4, device: str | torch.device | None = None
    ) -> Iterator[FeatureMap]:
        """Yield one feature map per picture, in order; at most one batch is in memory.

        Args:
            views: Views or 8-bit RGB pictures, sizes may differ (equal neighbours share a batch).
            batch_size: Pictures at once.
            device: Where the tokens go; `None` leaves them where the backbone is.

        Returns:
            Float32 tokens without gradient; strides and offsets are pixels of the ORIGINAL picture.
        """
        batch: list[np.ndarray] = []
        for view in views:
            rgb = picture_rgb(view)
            if batch and (len(batch) == batch_size or rgb.shape != batch[0].shape):
                yield from self._batch_maps(batch, device)
                batch = []
            batch.append(rgb)
        if batch:
            yield from self._batch_maps(batch, device)

    @torch.no_grad()
    def _batch_maps(self, batch: list[np.ndarray], device: str | torch.device | None) -> list[FeatureMap]:
        images = image_batch(batch, self.device)
        tokens = self(images).float()
        tokens = tokens if device is None else tokens.to(device)
        return [self.feature_map(one, batch[0].shape[:2]) for one in tokens]

    def feature_map(self, tokens: Float[torch.Tensor, "c h w"], image_hw: tuple[int, int]) -> FeatureMap:
        """Return tokens of an image of this size as a map that knows its pixels."""
        return FeatureMap(tokens, *self.geometry(image_hw), image_hw)

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

    def geometry(self, image_hw: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return stride_xy and offset_xy of the tokens in the pixels of an image of this size.

        A token's centre is patch/2 + stride * j in network pixels; a resize is one multiplication.
        """
        patch = self.backbone.info.patch
        stride = self.config.stride or patch
        h, w = self.network_hw(image_hw)
        scale_x, scale_y = image_hw[1] / w, image_hw[0] / h
        return (stride * scale_x, stride * scale_y), (patch / 2 * scale_x, patch / 2 * scale_y)

    def grid(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return token rows and columns for an image of this size."""
        patch = self.backbone.info.patch
        return grid_hw(self.network_hw(image_hw), patch, self.config.stride or patch)

    def for_places(self) -> "Extractor":
        """Return these features with a fine part where they are averaged: for pose, see `heads.with_fine`."""
        return self._with_head(with_fine(self.head))

    def for_kinds(self) -> "Extractor":
        """Return these features without their fine part: for places of one kind in other objects (transfer)."""
        return self._with_head(without_fine(self.head))

    def _with_head(self, head: nn.Module | None) -> "Extractor":
        # The weights, the adapter and its strength are the same.
        changed = copy.copy(self)
        changed._modules = self._modules | {"head": head}
        return changed

    def merged(self) -> "Extractor":
        """Add the LoRA update to the weights, in place, and return the extractor: same features, faster.

        The strength it has now is then part of the weights.
        """
        if has_lora(self.backbone):
            self.merged_strength = lora_strength(self.backbone)
            merge_lora(self.backbone)
        return self

    def push_to_hub(
        self, repo: str, *, card: str | None = None, private: bool = False, message: str = "Adapter of equiview"
    ) -> str:
        """Put the adapter, as it is now, into a repository of the Hugging Face hub, as one commit.

        Args:
            repo: OWNER/NAME; made where it is new.
            card: The text of its README.md. None is one without scores; `push_folder` makes one of a run.
            private: A new repository is private.
            message: Of the commit.

        Returns:
            The address of the commit; `load(..., adapter=repo)` gives these features back.

        Raises:
            EquiviewError: There is no adapter here, or it was merged; the hub does not take it.
        """
        check_repo(repo)
        if self.merged_strength is not None or (self.head is None and not has_lora(self.backbone)):
            found = "a merged LoRA" if self.merged_strength is not None else "the features of the backbone alone"
            raise bad_input("push_to_hub", "a model with a LoRA or a head", found, "Load it with its adapter.")
        kept = {} if self.adapter is None else {k: v for k, v in self.adapter.record.items() if k not in RESERVED}
        with tempfile.TemporaryDirectory(prefix="equiview-") as temporary:
            folder = save_adapter(Path(temporary) / "adapter", self, kept)
            text = card_text(Card(repo, self.backbone.info.id)) if card is None else card
            (folder / CARD_FILE).write_text(text, encoding="utf-8")
            return push(folder, repo, private=private, message=message, replaces=FILES)

    def describe(self) -> FeaturesRecord:
        """Return what names these features, an adapter and its strength now included (JSON)."""
        info, config = self.backbone.info, self.config
        head = head_spec(self.head)
        return {
            "backbone": info.id,
            "weights_sha256": info.weights_sha256,
            "family": info.family,
            "patch": info.patch,
            "blocks": list(self.blocks),
            "norm": config.norm,
            "long_side": config.long_side,
            "stride": config.stride or info.patch,
            "position": config.position,
            "mean": list(info.mean),
            "std": list(info.std),
            **({"sizes": list(config.sizes), "mirrored": config.mirrored} if config.several else {}),
            "head": head,
            "dtype": str(next(self.backbone.parameters()).dtype).removeprefix("torch."),
            **({} if self.adapter is None else {"adapter": self._describe_adapter(self.adapter, head)}),
        }

    def _describe_adapter(self, adapter: Adapter, head: list[Settings]) -> Settings:
        lora, strength = adapter.record["lora"], lora_strength(self.backbone)
        # Once merged it has no strength to read.
        strength = self.merged_strength if strength is None else strength
        kept: Settings | None = None
        if lora is not None:
            kept = {"rank": lora["rank"], "alpha": lora["alpha"], "targets": lora["targets"], "covers": lora["covers"]}
            kept |= {} if strength is None else {"strength": strength}
        # None where parts were saved with different strengths: each part's own is beside it.
        found: Settings = {"sha256": adapter.sha256, "lora": kept, "strength": common_strength(head, strength)}
        return found if adapter.source is None else {**found, **asdict(adapter.source)}


class MapSource(Protocol):
    """Anything that turns pictures into feature maps, one each, in order: an `Extractor`, the oracle, noise."""

    def maps(self, views: Iterable[Any], *, batch_size: int = 4) -> Iterator[FeatureMap]: ...

    def describe(self) -> FeaturesRecord: ...


def resize(images: Float[torch.Tensor, "b c h w"], hw: tuple[int, int]) -> Float[torch.Tensor, "b c h2 w2"]:
    """Resize bilinearly with antialiasing, half-pixel centres; the same size is returned untouched."""
    if tuple(images.shape[2:]) == tuple(hw):
        return images
    return F.interpolate(images, size=hw, mode="bilinear", align_corners=False, antialias=True)


def image_batch(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], device: torch.device) -> Float[torch.Tensor, "b 3 h w"]:
    """Return 8-bit RGB pictures of one size as a batch in 0..1."""
    return torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255


def blocks_at(depths: Iterable[float], blocks: int) -> tuple[int, ...]:
    """Return the blocks at these shares (0-1] of a depth, each once."""
    return tuple(dict.fromkeys(max(1, round(depth * blocks)) for depth in depths))


def join_blocks(maps: Sequence[Float[torch.Tensor, "b c h w"]]) -> Float[torch.Tensor, "b c2 h w"]:
    """Concatenate maps of several blocks, each L2-normalised over its channels; one alone stays as it is."""
    return maps[0] if len(maps) == 1 else torch.cat([F.normalize(one, dim=1) for one in maps], 1)


def unit_blocks(maps: Float[torch.Tensor, "b c h w"], count: int) -> Float[torch.Tensor, "b c h w"]:
    """L2-normalise each of `count` concatenated blocks over its channels."""
    b, _, h, w = maps.shape
    return F.normalize(maps.reshape(b, count, -1, h, w), dim=2).reshape(maps.shape)


def picture_rgb(view: Picture) -> UInt8[np.ndarray, "h w 3"]:
    """Return the colours of a view or picture.

    Raises:
        EquiviewError: Not 8-bit RGB.
    """
    rgb = view.rgb if isinstance(view, View) else np.asarray(view)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        found = f"{rgb.dtype} of shape {rgb.shape}"
        raise bad_input("picture", "8-bit RGB [h, w, 3]", found, "Convert it (float pictures: times 255).")
    return rgb


def split_blocks(fmap: FeatureMap, count: int) -> list[FeatureMap]:
    """Split a map of `count` concatenated blocks into one per block.

    Many choices of blocks and heads are compared cheaply by extracting all blocks once, without a head.

    Raises:
        EquiviewError: The channels do not divide.
    """
    channels = fmap.tokens.shape[0]
    if count < 1 or channels % count:
        raise bad_input("blocks", f"a number that divides {channels} channels", str(count), "Give how many there are.")
    return [fmap.replace_tokens(part) for part in fmap.tokens.split(channels // count)]
