"""Adapter folders: what a finetuning run hands over, and the way back into an extractor.

    adapter_config.json, adapter_model.safetensors   the LoRA, readable by plain `peft`; absent without one
    head.safetensors                                 the head's weights; absent without a head
    equiview.json                                    which backbone, protocol, head, recipe, data, seed, versions

The whole folder appears at once, and `equiview.json` holds the sha256 of the other files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ...errors import EquiviewError, bad_input
from ...io import atomic_folder, read_json, require_file, require_folder
from ..backbones.base import Backbone
from ..extractor import Extractor, FeatureConfig
from ..heads import build_head, check_strength, head_parts, head_spec
from .lora import (
    ADAPTER_NAME,
    FUSED_NAMES,
    find_targets,
    has_lora,
    inject,
    lora_layers,
    lora_parameters,
    lora_strength,
    peft_config,
    set_lora_strength,
)
from .strength import check_adjustable, set_strength

FORMAT_VERSION = 1
RECORD_FILE, HEAD_FILE = "equiview.json", "head.safetensors"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
FILES = (RECORD_FILE, HEAD_FILE, CONFIG_FILE, WEIGHTS_FILE)
# What PeftModel puts before the names of the model it wraps.
PEFT_PREFIX = "base_model.model."
RESERVED = ("format", "format_version", "backbone", "features", "head", "lora", "files", "versions")


def save_adapter(folder: Path, extractor: Extractor, record: Mapping[str, Any] | None = None) -> Path:
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
        bad = [key for key, value in (state or {}).items() if not torch.isfinite(value).all()]
        if bad:
            raise bad_input(name, "finite weights", f"NaN or infinity in {bad[0]}", "Train again with a lower rate.")
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
    folder: Path, extractor: Extractor, record: dict[str, Any], tensors: dict[str, dict[str, torch.Tensor] | None]
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


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lora_record(backbone: Backbone) -> dict[str, Any]:
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


def read_record(folder: Path) -> dict[str, Any]:
    """Read and check `equiview.json` and the checksums of the files it names.

    Raises:
        EquiviewError: A file is missing, changed or broken, or the format is unknown.
    """
    folder = require_folder(folder, "an adapter folder (as `equiview improve` writes)")
    record = read_json(require_file(folder / RECORD_FILE, "the record of an adapter folder"))
    if not isinstance(record, dict) or record.get("format") != "equiview-adapter":
        found = repr(record.get("format")) if isinstance(record, dict) else type(record).__name__
        raise bad_input(f"{folder / RECORD_FILE}: format", "'equiview-adapter'", found, "Give an adapter folder.")
    if record.get("format_version") != FORMAT_VERSION:
        fix = "Update equiview, or save the adapter with this version."
        raise bad_input(
            f"{folder / RECORD_FILE}: format_version", str(FORMAT_VERSION), repr(record.get("format_version")), fix
        )
    types = {"backbone": dict, "features": dict, "head": list, "lora": dict | None, "files": dict}
    wrong = [key for key, kind in types.items() if key not in record or not isinstance(record[key], kind)]
    if wrong:
        found = "a record where they are missing or of another type"
        raise bad_input(str(folder / RECORD_FILE), f"the keys {', '.join(wrong)}", found, "Save it again.")
    for name, expected in record["files"].items():
        require_file(folder / name, "a file of the adapter")
        if file_sha256(folder / name) != expected:
            fix = "Copy the whole folder again."
            raise bad_input(str(folder / name), f"sha256 {expected[:12]}...", "a truncated or changed file", fix)
    return record


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file; a broken one is named."""
    require_file(path, "a safetensors file")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        fix = "Copy the whole folder again."
        raise bad_input(str(path), "a safetensors file", f"a truncated or corrupt one ({error})", fix) from error


def adapter_folder(path: Path) -> Path:
    """Return the adapter folder meant by `path`: itself, or `path/adapter` of a run folder."""
    path = Path(path)
    if not (path / RECORD_FILE).is_file() and (path / "adapter" / RECORD_FILE).is_file():
        return path / "adapter"
    return path


def load_adapter(
    folder: Path,
    backbone: Backbone,
    *,
    allow_other_weights: bool = False,
    trainable: bool = False,
    strength: float | None = None,
    **overrides: Any,
) -> Extractor:
    """Put an adapter on a backbone, in place, and return the extractor it belongs to.

    Args:
        folder: An adapter folder, or the run folder that contains `adapter/`.
        backbone: A fresh backbone of the architecture it was made for.
        allow_other_weights: Accept a backbone of the same architecture whose weights differ from those the adapter
            was made for (another finetune, another library's copy). The result is then not the published one.
        trainable: Leave the LoRA and head weights trainable, to go on finetuning.
        strength: How much of the adapter is applied, see `set_strength`: 0 gives the base features through the same
            fixed parts of the head, 1 the adapted ones; `None` is as it was saved.
        overrides: Fields of `FeatureConfig` to change, for instance `long_side`.

    Raises:
        EquiviewError: A missing, truncated or corrupt file, an unknown format, another backbone, or a strength the
            adapter cannot have.
    """
    folder = adapter_folder(folder)
    record = read_record(folder)
    if strength is not None:
        # Before the backbone is touched.
        check_adjustable(record["head"], record["lora"] is not None, check_strength(strength))
    _check_backbone(folder, record["backbone"], backbone, allow_other_weights)
    if has_lora(backbone):
        raise EquiviewError(f"{backbone.info.id} has an adapter already. Load the backbone anew before {folder}.")
    config = _feature_config(folder, record, overrides)
    dtype = next(backbone.model.parameters()).dtype
    if record["lora"] is not None:
        as_saved = check_strength(record["lora"].get("strength", 1.0), f"{folder / RECORD_FILE}: LoRA strength")
        _load_lora(folder, backbone)
        set_lora_strength(backbone, as_saved)
        for parameter in lora_parameters(backbone):
            parameter.requires_grad_(trainable)
    head = None
    if record["head"]:
        head = build_head(record["head"], read_tensors(folder / HEAD_FILE))
        head = head.to(next(backbone.model.parameters()).device, dtype).requires_grad_(trainable)
    extractor = Extractor(backbone, config, head).eval()
    return extractor if strength is None else set_strength(extractor, strength)


def _check_backbone(folder: Path, made_for: dict[str, Any], backbone: Backbone, allow_other_weights: bool) -> None:
    info = backbone.info
    for key in ("dim", "blocks", "patch"):
        if made_for.get(key) != getattr(info, key):
            raise bad_input(
                f"{folder}: made for {made_for.get('id')}; {key}",
                str(made_for.get(key)),
                f"{getattr(info, key)} in {info.id}",
                "Load the backbone the adapter was made for.",
            )
    if made_for.get("weights_sha256") != info.weights_sha256 and not allow_other_weights:
        raise bad_input(
            f"{folder}: backbone weights",
            f"those of {made_for.get('id')} (sha256 {str(made_for.get('weights_sha256'))[:12]}...)",
            f"those of {info.id} (sha256 {info.weights_sha256[:12]}...)",
            "Load the backbone the adapter was made for (from Python, allow_other_weights=True takes it as it is).",
        )


def _feature_config(folder: Path, record: dict[str, Any], overrides: dict[str, Any]) -> FeatureConfig:
    known = {field.name for field in fields(FeatureConfig)}
    for where, keys in ((f"{folder / RECORD_FILE}: features", record["features"]), ("feature options", overrides)):
        unknown = sorted(set(keys) - known)
        if unknown:
            raise bad_input(where, f"names among {sorted(known)}", ", ".join(unknown), "Check the spelling.")
    values = {**record["features"], **overrides}
    values["blocks"] = tuple(values.get("blocks", ()))
    if record["head"] and len(values["blocks"]) != len(record["features"].get("blocks", ())):
        fix = "Leave `blocks` out."
        raise bad_input("blocks", f"{record['features']['blocks']}, which the head needs", str(values["blocks"]), fix)
    return FeatureConfig(**values)


def _load_lora(folder: Path, backbone: Backbone) -> None:
    state = read_tensors(folder / WEIGHTS_FILE)
    config = read_json(folder / CONFIG_FILE)
    names = sorted({key.removeprefix(PEFT_PREFIX).rsplit(".lora_", 1)[0] for key in state})
    absent = [name for name in names if not isinstance(_submodule(backbone.model, name), nn.Linear)]
    if absent or not names:
        present = find_targets(backbone, 1).names
        raise bad_input(
            str(folder / WEIGHTS_FILE),
            f"weights for linears of {backbone.info.id} (its projections are called like {present[0]})",
            f"weights for {absent[0]}" if absent else "no weights",
            "Load the backbone from the source the adapter was made with.",
        )
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        fix = "Copy the folder again."
        raise bad_input(str(folder / CONFIG_FILE), "r and lora_alpha", f"neither ({error})", fix) from error
    inject(backbone, tuple(names), rank, alpha)
    set_lora_state(backbone, state, str(folder / WEIGHTS_FILE))


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    found: Any = model
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def set_lora_state(backbone: Backbone, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Copy adapter weights into injected layers; every name and shape must fit.

    Raises:
        EquiviewError: A tensor is missing, too many, or has another shape.
    """
    left = dict(state)
    for name, layer in lora_layers(backbone):
        for part in ("lora_A", "lora_B"):
            weight = getattr(layer, part)[ADAPTER_NAME].weight
            value = left.pop(f"{PEFT_PREFIX}{name}.{part}.weight", None)
            if value is None or value.shape != weight.shape:
                found = "nothing" if value is None else f"shape {tuple(value.shape)}"
                fix = "The file belongs to another backbone."
                raise bad_input(f"{what}: {name}.{part}", f"shape {tuple(weight.shape)}", found, fix)
            with torch.no_grad():
                weight.copy_(value)
    if left:
        raise bad_input(
            what, "LoRA weights A and B only", f"{min(left)} too", "The file belongs to another kind of adapter."
        )
