"""Eight families of Vision Transformers from `transformers`, through one adapter.

The embeddings are computed here (patch convolution at any stride, prefix tokens, resampled positions) and the blocks
of the `transformers` model are then run one by one. Its own embedding code is not used because it differs between
families in what it accepts, shuffles tokens (MAE) and has no strided form.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NotRequired, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from ...errors import bad_input, shown
from ...io import read_json
from ...schema import check, library_loading, reason
from .base import IMAGENET, Backbone, BackboneInfo, Position, base_model, grid_hw, state_sha256
from .normalisation import mean_std
from .position import resample_table, rotary, table_side

_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True)
class Family:
    """Where things are in the `transformers` model of a family.

    Attributes:
        name: Of the family.
        model_class: Name of the class in `transformers`.
        blocks: Path of the list of blocks.
        final_norm: Path of the final LayerNorm (CLIP: its post LayerNorm, which `transformers` itself applies to the
            class token only).
        patch_conv: Path of the patch embedding.
        prefix: Paths of tokens that have an entry in the position table.
        table: Path of the position table, prefix entries first; `None` for rotary positions.
        registers: Path of tokens that go between prefix and patches and have no position.
        first_norm: Path of a LayerNorm before block 1.
        antialias: The table is low-passed when shrunk.
        mean_std: When the folder does not say.
        options: Arguments of the class: leave out parts that are not used here.
    """

    name: str
    model_class: str
    blocks: str = "layers"
    final_norm: str = "layernorm"
    patch_conv: str = "embeddings.patch_embeddings.projection"
    prefix: tuple[str, ...] = ("embeddings.cls_token",)
    table: str | None = "embeddings.position_embeddings"
    registers: str | None = None
    first_norm: str | None = None
    antialias: bool = False
    mean_std: tuple = IMAGENET
    options: tuple[tuple[str, Any], ...] = ()


_NO_POOLER = (("add_pooling_layer", False),)
_TOWER: dict[str, Any] = {
    "final_norm": "post_layernorm",
    "blocks": "encoder.layers",
    "patch_conv": "embeddings.patch_embedding",
}
_TOWER["table"] = "embeddings.position_embedding.weight"
_DINOV2 = Family("dinov2", "Dinov2Model", blocks="encoder.layer")
_CLIP_FAMILY = Family(
    "clip",
    "CLIPVisionModel",
    prefix=("embeddings.class_embedding",),
    first_norm="pre_layrnorm",
    mean_std=_CLIP,
    **_TOWER,
)
_SIGLIP = Family("siglip", "SiglipVisionModel", prefix=(), mean_std=_HALF, **_TOWER)
FAMILIES: dict[str, Family] = {
    "dinov2": _DINOV2,
    "dinov2_with_registers": replace(
        _DINOV2,
        name="dinov2_with_registers",
        model_class="Dinov2WithRegistersModel",
        registers="embeddings.register_tokens",
        antialias=True,
    ),
    "dinov3_vit": Family(
        "dinov3_vit",
        "DINOv3ViTModel",
        blocks="model.layer",
        final_norm="norm",
        patch_conv="embeddings.patch_embeddings",
        table=None,
        registers="embeddings.register_tokens",
    ),
    "clip": _CLIP_FAMILY,
    "clip_vision_model": _CLIP_FAMILY,
    "vit_mae": Family("vit_mae", "ViTMAEModel"),
    "deit": Family(
        "deit",
        "DeiTModel",
        prefix=("embeddings.cls_token", "embeddings.distillation_token"),
        options=_NO_POOLER,
    ),
    "vit": Family("vit", "ViTModel", options=_NO_POOLER),
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
}


class ModelConfig(TypedDict):
    """What is looked at in `config.json` before `transformers` reads it; a model of two towers has it inside."""

    model_type: NotRequired[str | None]
    num_channels: NotRequired[int]
    hidden_size: NotRequired[int]
    num_hidden_layers: NotRequired[int]
    vision_config: NotRequired[dict[str, Any]]
    quantization_config: NotRequired[dict[str, Any] | None]


def load_huggingface(name: str, folder: Path, *, random_weights_seed: int | None = None) -> Backbone:
    """Load the vision encoder in a `save_pretrained` folder, in float32 on the CPU, frozen.

    Args:
        name: For messages and the record (the hub id the folder belongs to).
        folder: With `config.json` and, unless weights are random, the weights. A folder of a larger model (CLIP,
            a classifier) gives its vision encoder.
        random_weights_seed: Initialise the same architecture afresh instead.

    Raises:
        EquiviewError: An unsupported type, a missing or broken file, or weights that do not belong to the config.
    """
    raw = read_json(folder / "config.json")
    _check_config(raw, str(folder / "config.json"))
    family = _family(name, raw)
    config = _vision_config(family, raw, folder)
    if random_weights_seed is None:
        model = _pretrained(family, config, folder)
    else:
        model = _random(family, config, random_weights_seed)
    model.eval().requires_grad_(False)
    mean, std = mean_std(name, folder, family.name, family.mean_std)
    info = BackboneInfo(
        id=name,
        family=family.name,
        patch=attrgetter(family.patch_conv)(model).kernel_size[0],
        dim=config.hidden_size,
        blocks=config.num_hidden_layers,
        prefix_tokens=_prefix_count(family, model),
        mean=mean,
        std=std,
        weights_sha256=state_sha256(model.state_dict()),
    )
    return wrap(model, info)


def wrap(model: nn.Module, info: BackboneInfo) -> Backbone:
    """Make a backbone of a `transformers` model of one of the families (`info.family`)."""
    return Backbone(info, model, partial(encode, FAMILIES[info.family]))


def encode(
    family: Family,
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
    hidden, grid = _embed(family, inner, images, stride, position)
    extra: dict[str, Any] = {}
    if family.table is None:
        config = inner.config
        extra["position_embeddings"] = rotary(
            grid,
            patch=attrgetter(family.patch_conv)(inner).kernel_size[0],
            stride=stride,
            head_dim=config.hidden_size // config.num_attention_heads,
            theta=config.rope_theta,
            like=hidden,
        )
    found: dict[int, torch.Tensor] = {}
    for number, block in enumerate(attrgetter(family.blocks)(inner)[: max(blocks)], 1):
        hidden = block(hidden, attention_mask=None, **extra)
        if number in blocks:
            found[number] = _to_map(attrgetter(family.final_norm)(inner)(hidden) if norm else hidden, grid)
    return [found[number] for number in blocks]


def _embed(
    family: Family, model: Any, images: torch.Tensor, stride: int, position: Position
) -> tuple[Float[torch.Tensor, "b n c"], tuple[int, int]]:
    """Return the input of block 1 and the token grid."""
    conv = attrgetter(family.patch_conv)(model)
    patch = conv.kernel_size[0]
    # The stride is an argument of this call and never of the module: nothing to restore, also when something raises.
    tokens = F.conv2d(images.to(conv.weight.dtype), conv.weight, conv.bias, stride=stride).flatten(2).transpose(1, 2)
    image_hw = (int(images.shape[2]), int(images.shape[3]))
    grid = grid_hw(image_hw, patch, stride)
    batch, _, dim = tokens.shape
    prefix = [attrgetter(path)(model).reshape(1, 1, dim) for path in family.prefix]
    if family.table is not None:
        table = attrgetter(family.table)(model).reshape(-1, dim)
        own, table = table[: len(prefix)], table[len(prefix) :]
        prefix = [token + own[i] for i, token in enumerate(prefix)]
        tokens = tokens + _positions(family, table, grid, image_hw, stride == patch, position)
    elif position != "hf":
        found, fix = f"{family.name}, which has rotary positions and no table", "Use position 'hf'."
        raise bad_input("position 'dinov2'", "a model with a position table", found, fix)
    if family.registers is not None:
        prefix.append(attrgetter(family.registers)(model))
    hidden = torch.cat([*(token.expand(batch, -1, -1) for token in prefix), tokens], 1)
    if family.first_norm is not None:
        hidden = attrgetter(family.first_norm)(model)(hidden)
    return hidden, grid


def _positions(
    family: Family,
    table: torch.Tensor,
    grid: tuple[int, int],
    image_hw: tuple[int, int],
    whole_patches: bool,
    position: Position,
) -> torch.Tensor:
    """Choose the family's way of resampling."""
    square = image_hw[0] == image_hw[1]
    if position == "dinov2" and family.antialias and whole_patches:
        # The original register models were trained with offset 0 and antialias, which is resampling by size. Only
        # their strided form (3DCorrEnhance, `_fix_pos_enc`) uses the offset 0.1.
        position = "hf"
    return resample_table(table, grid, position=position, antialias=family.antialias, square_image=square)


def _to_map(tokens: Float[torch.Tensor, "b n c"], grid: tuple[int, int]) -> Float[torch.Tensor, "b c rows cols"]:
    patches = tokens[:, tokens.shape[1] - grid[0] * grid[1] :]
    return patches.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)


def _check_config(raw: Any, path: str) -> None:
    fix = "Download it again."
    check(raw, ModelConfig, path, fix)
    tower = raw.get("vision_config", raw)
    check(tower, ModelConfig, f"{path}: vision_config", fix)
    quantised = raw.get("quantization_config") or tower.get("quantization_config")
    if quantised:
        found = f"weights quantised by {shown(quantised.get('quant_method'))}"
        raise bad_input(path, "float weights", found, "Use the model before its quantisation.")
    if tower.get("num_channels", 3) != 3:
        found, fix = f"{tower['num_channels']}", "Use a model of RGB pictures."
        raise bad_input(f"{path}: num_channels", "3 (RGB)", found, fix)


def _family(name: str, raw: dict[str, Any]) -> Family:
    kind = raw.get("model_type")
    if kind in FAMILIES:
        return FAMILIES[kind]
    if kind in ("siglip2", "siglip2_vision_model"):
        raise bad_input(
            name,
            "a fixed-resolution SigLIP2 checkpoint (its model_type is 'siglip')",
            "the NaFlex form (model_type 'siglip2'), which takes lists of patches instead of pictures",
            "Use for instance google/siglip2-base-patch16-224.",
        )
    supported = ", ".join(sorted({family.name for family in FAMILIES.values()}))
    raise bad_input(f"{name}: model_type", f"one of {supported}", shown(kind), "timm models load as timm:NAME.")


def _vision_config(family: Family, raw: dict[str, Any], folder: Path) -> Any:
    import transformers

    config_class = getattr(transformers, family.model_class).config_class
    try:
        # A full CLIP or SigLIP config holds the vision tower's under a key of its own.
        config = config_class.from_dict(raw["vision_config"]) if "vision_config" in raw else config_class.from_dict(raw)
    except Exception as error:
        what = str(folder / "config.json")
        raise bad_input(what, f"a {family.name} config", reason(error), "Download it again.") from error
    if hasattr(config, "vision_use_head"):
        config.vision_use_head = False
    return config


def _random(family: Family, config: Any, seed: int) -> Any:
    import transformers

    loading = library_loading(config.name_or_path or family.name, f"a {family.name} config", "Fix config.json.")
    with torch.random.fork_rng(devices=[]), loading:
        torch.manual_seed(seed)
        # The dtype is said, because a config may carry that of its checkpoint (CLIP: float16).
        model = getattr(transformers, family.model_class)._from_config(
            config, dtype=torch.float32, attn_implementation="sdpa", **dict(family.options)
        )
        _finish_random(family, model)
    return model


def _finish_random(family: Family, model: Any) -> None:
    """Give positions to the families that `transformers` 5.23 leaves with a table of zeros (MAE, DeiT)."""
    if family.table is None or attrgetter(family.table)(model).any():
        return
    if family.name == "vit_mae":
        # Its fixed sines are skipped because the convolution, done before, is flagged as initialised.
        model.embeddings.patch_embeddings.projection._is_hf_initialized = False
        model.embeddings.initialize_weights()
        return
    for path in (*family.prefix, family.table):
        # As the original DeiT does.
        nn.init.trunc_normal_(attrgetter(path)(model), std=model.config.initializer_range)


def _pretrained(family: Family, config: Any, folder: Path) -> Any:
    import transformers

    _check_files(folder)
    try:
        with _quiet():
            model, report = getattr(transformers, family.model_class).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **dict(family.options),
            )
    except Exception as error:
        fix = "Download or save it again."
        raise bad_input(str(folder), f"weights of a {family.model_class}", _reason(error), fix) from error
    # Without these checks transformers only warns, and the "pretrained" features would be random ones.
    wrong = sorted(key for key in report["missing_keys"] if not key.endswith("mask_token"))
    wrong += [f"{key} of another size ({tuple(shape)})" for key, shape, *_ in report["mismatched_keys"]]
    if wrong:
        found = f"{len(wrong)} missing, for instance {wrong[0]}"
        raise bad_input(str(folder), f"all weights of a {family.model_class}", found, "Save or download it again.")
    return model


def _reason(error: Exception) -> str:
    if isinstance(error, UnpicklingError | EOFError | KeyError):
        # torch's restricted reader refused it, malicious files included; its own advice is to switch that off.
        return "a pytorch_model.bin that is no plain pickle of tensors"
    return reason(error).split(". ")[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `transformers` from drawing a bar and from listing the parts of a larger checkpoint not used here."""
    from transformers.utils import logging as hf_logging

    bars = hf_logging.is_progress_bar_enabled()
    level = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def _check_files(folder: Path) -> None:
    """Open every weight file's header, so that a broken one is named."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files and not list(folder.glob("pytorch_model*.bin")):
        found, fix = "neither model.safetensors nor pytorch_model.bin", "Save the model with save_pretrained."
        raise bad_input(str(folder), "a folder with weights", found, fix)
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            found = f"a truncated or corrupt one ({error})"
            raise bad_input(str(file), "a safetensors file", found, "Download it again.") from error


def _prefix_count(family: Family, model: Any) -> int:
    if family.table is not None:
        entries = attrgetter(family.table)(model).reshape(-1, model.config.hidden_size).shape[0]
        table_side(entries - len(family.prefix), model.config.name_or_path or family.name)
    registers = 0 if family.registers is None else attrgetter(family.registers)(model).shape[1]
    return len(family.prefix) + registers
