"""Writing an adapter folder (what is in one: see `folder`), and what of a model goes into it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import nn

from ...errors import bad_input
from ...io import atomic_folder, file_sha256, read_json
from ...records import Settings
from ...schema import check_weights
from ..backbones.base import Backbone
from ..heads import head_parts, head_spec
from .lora import ADAPTER_NAME, FUSED_NAMES, has_lora, lora_layers, lora_strength, peft_config
from .record import CONFIG_FILE, FILES, FORMAT_VERSION, HEAD_FILE, RECORD_FILE, WEIGHTS_FILE

# What PeftModel puts before the names of the model it wraps.
PEFT_PREFIX = "base_model.model."
RESERVED = ("format", "format_version", "backbone", "features", "head", "lora", "files", "versions")


class Adapted(Protocol):
    """What of an `Extractor` is saved."""

    backbone: Backbone
    config: Any
    head: nn.Module | None

    @property
    def blocks(self) -> tuple[int, ...]: ...


def save_adapter(folder: Path, extractor: Adapted, record: Mapping[str, Any] | None = None) -> Path:
    """Write an adapter folder; an older adapter in the same place is replaced as a whole.

    Args:
        folder: Where to.
        extractor: Its LoRA (if any), head and configuration are saved, the backbone is only named.
        record: JSON values to keep beside them: `recipe`, `data`, `seed`, `protocol`, ...

    Returns:
        The folder.

    Raises:
        EquiviewError: The folder holds other files, the record is not JSON or uses a reserved name, the weights are
            not finite, or the disk refuses.
    """
    folder = Path(folder)
    record = dict(record or {})
    taken = sorted(set(record) & set(RESERVED))
    if taken:
        raise bad_input("adapter record", f"names other than {', '.join(RESERVED)}", ", ".join(taken), "Rename them.")
    _check_replaceable(folder)
    tensors = {WEIGHTS_FILE: lora_state(extractor.backbone), HEAD_FILE: head_state(extractor.head)}
    for name, state in tensors.items():
        check_weights(state or {}, name, "Train again with a lower rate.")
    with atomic_folder(folder) as temporary:
        _write(temporary, extractor, record, tensors)
    return folder


def _check_replaceable(folder: Path) -> None:
    if folder.is_file():
        raise bad_input(str(folder), "a folder", "a file", "Choose another name.")
    others = sorted(p.name for p in folder.iterdir() if p.name not in FILES) if folder.is_dir() else []
    if others:
        fix = "Choose a new folder; nothing was changed."
        raise bad_input(str(folder), "a new folder or an adapter's", f"other files ({', '.join(others[:3])})", fix)


def _write(
    folder: Path, extractor: Adapted, record: Settings, tensors: dict[str, dict[str, torch.Tensor] | None]
) -> None:
    for name, state in tensors.items():
        if state is not None:
            save_file(state, folder / name, metadata={"format": "pt"})
    lora = None
    if has_lora(extractor.backbone):
        lora = _lora_record(extractor.backbone)
        peft_config(tuple(lora["targets"]), lora["rank"], lora["alpha"], extractor.backbone.info.id).save_pretrained(
            folder
        )
        # peft keeps the names in a set; in order, the same adapter is the same file.
        text = read_json(folder / CONFIG_FILE) | {"target_modules": lora["targets"]}
        (folder / CONFIG_FILE).write_text(json.dumps(text, indent=2) + "\n")
    content = {
        "format": "equiview-adapter",
        "format_version": FORMAT_VERSION,
        "backbone": asdict(extractor.backbone.info),
        "features": asdict(replace(extractor.config, blocks=extractor.blocks)),
        "head": head_spec(extractor.head),
        "lora": lora,
        **record,
        "versions": versions(),
        "files": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
    }
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise bad_input("adapter record", "JSON values", str(error), "Convert numpy values and paths first.") from error
    (folder / RECORD_FILE).write_text(text + "\n")


def versions() -> dict[str, str]:
    """Return the versions of the packages a result depends on."""
    found = {}
    for package in ("equiview", "torch", "transformers", "peft", "timm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # timm is an extra.
            continue
    return found


def _lora_record(backbone: Backbone) -> Settings:
    layers = lora_layers(backbone)
    first = layers[0][1]
    rank, alpha = first.r[ADAPTER_NAME], first.lora_alpha[ADAPTER_NAME]
    covers = "q and v"
    if any(name.rsplit(".", 1)[-1] in FUSED_NAMES for name, _ in layers):
        updates = [layer.lora_B[ADAPTER_NAME].weight.detach().chunk(3) for _, layer in layers]
        only_q_v = any(q.any() for q, _, _ in updates) and not any(k.any() for _, k, _ in updates)
        covers = "q and v of a fused linear (its k rows are zero)" if only_q_v else "q, k and v (one fused linear)"
    return {
        "rank": rank,
        "alpha": alpha,
        "scale": alpha / rank,
        # peft reads the folder at full strength: its file has the alpha that was trained with.
        "strength": lora_strength(backbone),
        "targets": [name for name, _ in layers],
        "covers": covers,
    }


def lora_state(backbone: Backbone) -> dict[str, torch.Tensor] | None:
    """Return the adapter's weights under the names plain `peft` uses; None without an adapter."""
    state: dict[str, torch.Tensor] = {}
    for name, layer in lora_layers(backbone):
        for part in ("lora_A", "lora_B"):
            weight = getattr(layer, part)[ADAPTER_NAME].weight
            state[f"{PEFT_PREFIX}{name}.{part}.weight"] = weight.detach().cpu().contiguous()
    return state or None


def head_state(head: nn.Module | None) -> dict[str, torch.Tensor] | None:
    """Return a head's weights (an empty dict for one without parameters); None without a head."""
    parts = head_parts(head)
    if not parts:
        return None
    # The names `build_head` expects: one part stands alone, several are numbered without nesting.
    state: dict[str, torch.Tensor] = {}
    for i, part in enumerate(parts):
        prefix = f"{i}." if len(parts) > 1 else ""
        state |= {prefix + key: value.detach().cpu().contiguous() for key, value in part.state_dict().items()}
    return state
