"""Vision Transformers of `timm` (extra `timm`), through `forward_intermediates`."""

from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from ...errors import TEXT_CHARS, EquiviewError, bad_input, cut
from ...schema import reason
from .base import Backbone, BackboneInfo, Position, base_model, own_way_only, state_sha256, whole_patches


def load_timm(name: str, *, random_weights_seed: int | None = None) -> Backbone:
    """Load `timm:NAME`, for instance `timm:vit_base_patch14_dinov2.lvd142m` or `timm:local-dir:FOLDER`.

    Positions are resampled timm's own way and the stride is the patch size: other settings are refused.

    Raises:
        EquiviewError: timm is not installed, does not know the name, cannot get the weights, or it is no ViT.
    """
    timm = _import_timm()
    found = name.removeprefix("timm:")
    if not found.startswith(("local-dir:", "hf-hub:", "hf_hub:")) and not timm.is_model(found):
        close = ", ".join(timm.list_models(f"*{found.split('.')[0].split('_patch')[0]}*")[:4]) or "none alike"
        raise bad_input(name, "a model timm has", f"an unknown name (alike: {close})", "See timm.list_models().")
    model = _create(timm, name, found, random_weights_seed)
    for part in ("blocks", "patch_embed", "forward_intermediates", "num_prefix_tokens"):
        if not hasattr(model, part):
            kind, fix = type(model).__name__, "Choose one whose name starts with vit_, deit or eva."
            raise bad_input(name, "a Vision Transformer with one token grid", f"a {kind}", fix)
    model.eval().requires_grad_(False)
    if isinstance(getattr(model.patch_embed, "backbone", None), nn.Module):
        found, fix = "a hybrid, whose patches come out of a convolutional network", "Choose a plain one, such as vit_*."
        raise bad_input(name, "a Vision Transformer of pixel patches", found, fix)
    mean, std = _mean_std(name, model.pretrained_cfg)
    info = BackboneInfo(
        id=name,
        family="timm",
        patch=model.patch_embed.patch_size[0],
        dim=model.embed_dim,
        blocks=len(model.blocks),
        prefix_tokens=model.num_prefix_tokens,
        mean=mean,
        std=std,
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
    """Run the model up to the highest block asked for; `base.Backbone.forward` says what comes back."""
    inner = base_model(model)
    patch = inner.patch_embed.patch_size[0]
    own_way_only("timm", stride, patch, position)
    # timm returns them in the order of the model, each once.
    order = sorted(set(blocks))
    images = whole_patches(images, patch).to(inner.patch_embed.proj.weight.dtype)
    maps = inner.forward_intermediates(
        images,
        indices=[block - 1 for block in order],
        norm=False,
        stop_early=True,
        output_fmt="NCHW",
        intermediates_only=True,
    )
    if norm:
        # Models finetuned with average pooling keep their final LayerNorm after the pooling, as `fc_norm`.
        final = inner.norm if not isinstance(inner.norm, nn.Identity) else getattr(inner, "fc_norm", inner.norm)
        maps = [final(one.movedim(1, -1)).movedim(-1, 1) for one in maps]
    return [maps[order.index(block)] for block in blocks]


def _mean_std(name: str, config: Any) -> tuple[Any, Any]:
    mean, std = (tuple(config.get(key) or ()) for key in ("mean", "std"))
    if not (len(mean) == len(std) == 3 and min(std) > 0):
        fix = "Choose a model of RGB pictures, or correct its config.json."
        raise bad_input(f"{name}: mean and std", "three numbers each, std above 0", f"{mean} and {std}", fix)
    return mean, std


def _import_timm():
    try:
        import timm
    except ImportError as error:
        raise EquiviewError(
            f"timm: models are an extra that is not installed or does not import ({error}). "
            "Install it with: pip install 'equiview[timm]' (it needs a torchvision that fits your torch)."
        ) from error
    except RuntimeError as error:
        # torchvision's compiled part beside a torch of another build.
        raise EquiviewError(
            f"timm: torchvision does not fit this torch ({error}). Install both from the same index."
        ) from error
    return timm


def _create(timm, name: str, found: str, seed: int | None) -> Any:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            return timm.create_model(found, pretrained=seed is None, num_classes=0, dynamic_img_size=True)
    except TypeError as error:
        # dynamic_img_size is an argument of plain Vision Transformers only.
        fix = "Choose one whose name starts with vit_, deit or eva."
        raise bad_input(name, "a Vision Transformer that takes any image size", str(error), fix) from error
    except Exception as error:
        told = cut(reason(error), TEXT_CHARS)
        raise EquiviewError(
            f"{name}: timm could not get the weights ({told}). Check the network, or save the model with "
            "timm.models.push_to_hf_hub's folder form and give timm:local-dir:FOLDER."
        ) from error
