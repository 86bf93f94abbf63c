"""What every backbone is: pictures in, dense token maps of chosen blocks out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float
from torch import nn

from ...errors import bad_input

Position = Literal["hf", "dinov2"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class BackboneInfo:
    """What is fixed about a backbone.

    Attributes:
        id: The name it was loaded by.
        family: `dinov2`, `dinov2_with_registers`, `dinov3_vit`, `clip`, `vit_mae`, `deit`, `vit`, `siglip`, or that of
            another source (`timm`, `hub`).
        patch: Side of a patch in network pixels.
        dim: Channels of a token.
        blocks: Number of transformer blocks.
        prefix_tokens: Tokens before the patch tokens (class, distillation, registers).
        mean: Subtracted from RGB in 0..1.
        std: Divided by after that.
        weights_sha256: Of the float32 values, whatever the file layout and the names (see `state_sha256`).
    """

    id: str
    family: str
    patch: int
    dim: int
    blocks: int
    prefix_tokens: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights_sha256: str


class Encode(Protocol):
    """The part that differs between sources of models; images are mean/std normalised already."""

    def __call__(  # noqa: D102
        self,
        model: nn.Module,
        images: Float[torch.Tensor, "b 3 h w"],
        blocks: tuple[int, ...],
        *,
        norm: bool,
        stride: int,
        position: Position,
    ) -> list[Float[torch.Tensor, "b c rows cols"]]: ...


class Backbone(nn.Module):
    """A Vision Transformer that gives dense maps.

    Attributes:
        info: What is fixed about it.
        model: The wrapped module; a LoRA adapter is injected here (it may be replaced by a `PeftModel`).
    """

    def __init__(self, info: BackboneInfo, model: nn.Module, encode: Encode) -> None:
        super().__init__()
        self.info = info
        self.model = model
        self._encode = encode

    def forward(
        self,
        images: Float[torch.Tensor, "b 3 h w"],
        *,
        blocks: tuple[int, ...],
        norm: bool = True,
        stride: int | None = None,
        position: Position = "hf",
    ) -> list[Float[torch.Tensor, "b c rows cols"]]:
        """Return one map per requested block, in the order asked, prefix tokens removed, not L2-normalised.

        Args:
            images: RGB in 0..1, not mean/std normalised; any height and width of at least one patch. Pixels beyond
                the last whole patch are not seen.
            blocks: Numbers from 1 to `info.blocks`; block n is `hidden_states[n]` of `transformers`. Blocks after
                the highest one are not computed.
            norm: Apply the model's final LayerNorm to every requested block.
            stride: Of the patch embedding in pixels; `None` is the patch size.
            position: How the position table is resampled, see `position.resample_table`.

        Returns:
            Maps with rows = 1 + (h - patch) // stride, in the dtype of the model.

        Raises:
            EquiviewError: A block, stride, position mode or image size the model does not have.
        """
        self._check(images, blocks, stride, position)
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.info.mean, self.info.std))
        return self._encode(
            self.model,
            (images - mean) / std,
            tuple(blocks),
            norm=norm,
            stride=self.info.patch if stride is None else stride,
            position=position,
        )

    def _check(self, images: torch.Tensor, blocks: tuple[int, ...], stride: int | None, position: str) -> None:
        info = self.info
        check_settings(info, blocks, stride, position)
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            found = f"{images.dtype} of shape {tuple(images.shape)}"
            raise bad_input("images", "float RGB [b, 3, h, w] in 0..1", found, "Divide 8-bit pictures by 255.")
        if min(images.shape[2:]) < info.patch:
            found = f"{images.shape[2]} x {images.shape[3]}"
            raise bad_input("images", f"at least one patch of {info.patch} px", found, "Use a larger long side.")


def check_settings(info: BackboneInfo, blocks: tuple[int, ...], stride: int | None, position: str) -> None:
    """Refuse settings the backbone does not have.

    Raises:
        EquiviewError: No block or one outside 1..info.blocks, a stride beyond the patch, or an unknown position mode.
    """
    wrong = [block for block in blocks if not 1 <= block <= info.blocks]
    if wrong or not blocks:
        fix = "Blocks count from 1."
        raise bad_input("blocks", f"blocks 1..{info.blocks} of {info.id}", str(wrong or "none"), fix)
    if stride is not None and not 1 <= stride <= info.patch:
        fix = "A larger stride would leave pixels out; leave it empty for the patch size."
        raise bad_input("stride", f"1 to {info.patch} pixels (the patch of {info.id})", str(stride), fix)
    if position not in ("hf", "dinov2"):
        raise bad_input("position", "'hf' or 'dinov2'", repr(position), "Leave it at 'hf' when unsure.")


def base_model(model: nn.Module) -> Any:
    """Return the model inside a `PeftModel`, or the model itself. LoRA layers stay in place either way.

    The type is open because what is inside differs by source and family.
    """
    unwrap = getattr(model, "get_base_model", None)
    return model if unwrap is None else unwrap()


def own_way_only(source: str, stride: int, patch: int, position: Position) -> None:
    """Refuse a stride or position mode for a model that is used as a closed box; `hf` then means its own way."""
    if stride != patch or position != "hf":
        found, fix = f"stride {stride}, position {position!r}", "Load the model through transformers for these."
        raise bad_input(f"{source} model", f"stride {patch} and position 'hf' (its own way)", found, fix)


def whole_patches(images: Float[torch.Tensor, "b 3 h w"], patch: int) -> Float[torch.Tensor, "b 3 h2 w2"]:
    """Cut off the pixels beyond the last whole patch at the right and the bottom: the geometry stays."""
    return images[..., : images.shape[2] // patch * patch, : images.shape[3] // patch * patch]


def grid_hw(image_hw: tuple[int, int], patch: int, stride: int) -> tuple[int, int]:
    """Return token rows and columns: 1 + (size - patch) // stride."""
    return 1 + (image_hw[0] - patch) // stride, 1 + (image_hw[1] - patch) // stride


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Hash weights by value: names and file layout do not matter (they change between library versions).

    Every tensor is hashed as float32 with its shape, and the sorted digests are hashed again.
    """
    digests = []
    for tensor in state.values():
        digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()
