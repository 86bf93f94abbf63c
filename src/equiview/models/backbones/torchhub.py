"""Models of `torch.hub` with the DINOv2 interface: `get_intermediate_layers`."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from ...errors import TEXT_CHARS, EquiviewError, bad_input, cut
from ...schema import reason
from .base import IMAGENET, Backbone, BackboneInfo, Position, base_model, own_way_only, state_sha256, whole_patches
from .dinov2_names import backbone_from_dinov2


def load_torchhub(name: str, *, random_weights_seed: int | None = None) -> Backbone:
    """Load `hub:REPO:ENTRY`: REPO is `owner/name[:ref]` on GitHub or a local folder with a `hubconf.py`.

    An original DINOv2 model is rebuilt in `transformers` from its weights (same features with `position="dinov2"`, and
    strides and LoRA as for every DINOv2). Others are used through `get_intermediate_layers`, their own way: no other
    stride or position mode. The repository's code runs on this machine; for a GitHub owner that is not
    facebookresearch, torch asks before it does.

    Raises:
        EquiviewError: The name is not of that form, nothing can be loaded, or it has another interface.
    """
    repo, _, entry = name.removeprefix("hub:").rpartition(":")
    if not repo or not entry:
        fix = "For instance hub:facebookresearch/dinov2:dinov2_vitb14."
        raise bad_input(name, "hub:REPO:ENTRY", repr(name), fix)
    model = _load(name, repo, entry, random_weights_seed)
    if type(model).__name__ == "DinoVisionTransformer" and getattr(model, "pos_embed", None) is not None:
        return backbone_from_dinov2(model.state_dict(), heads=getattr(model, "num_heads", None), name=name)
    for part in ("get_intermediate_layers", "patch_size", "embed_dim", "blocks", "norm"):
        if not hasattr(model, part):
            found, fix = f"a {type(model).__name__} without {part}", "Use a backbone entry, not one with a task head."
            raise bad_input(name, "a model with the DINOv2 interface", found, fix)
    model.eval().requires_grad_(False)
    registers = getattr(model, "num_register_tokens", None) or getattr(model, "n_storage_tokens", None) or 0
    info = BackboneInfo(
        id=name,
        family="hub",
        patch=model.patch_size,
        dim=model.embed_dim,
        blocks=getattr(model, "n_blocks", len(model.blocks)),
        prefix_tokens=1 + registers,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        weights_sha256=state_sha256(model.state_dict()),
    )
    return Backbone(info, model, encode)


def encode(
    model: nn.Module,
    images: Float[torch.Tensor, "b 3 h w"],
    blocks: tuple[int, ...],
    *,
    norm: bool,
    stride: int,
    position: Position,
) -> list[Float[torch.Tensor, "b c rows cols"]]:
    """Run the model; `base.Backbone.forward` says what comes back."""
    inner = base_model(model)
    own_way_only("torch.hub", stride, inner.patch_size, position)
    order = sorted(set(blocks))
    images = whole_patches(images, inner.patch_size).to(next(inner.parameters()).dtype)
    maps = inner.get_intermediate_layers(images, n=[block - 1 for block in order], reshape=True, norm=norm)
    return [maps[order.index(block)] for block in blocks]


def _load(name: str, repo: str, entry: str, seed: int | None) -> Any:
    local = Path(repo).expanduser().is_dir()
    options = {} if seed is None else {"pretrained": False}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            return torch.hub.load(
                str(Path(repo).expanduser()) if local else repo,
                entry,
                source="local" if local else "github",
                trust_repo=True if local or repo.startswith("facebookresearch/") else "check",
                verbose=False,
                **options,
            )
    except Exception as error:
        told = cut(f"{type(error).__name__}: {reason(error)}", TEXT_CHARS)
        raise EquiviewError(
            f"{name}: torch.hub could not load it ({told}). Check the name and the network, "
            "or clone the repository and give hub:FOLDER:ENTRY."
        ) from error
