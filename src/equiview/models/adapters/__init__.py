"""Adapters: LoRA on a backbone, and the folders that hold one together with its head."""

from .folder import FORMAT_VERSION, adapter_folder, load_adapter, read_record, save_adapter
from .lora import (
    LoraSpec,
    LoraTargets,
    add_lora,
    find_targets,
    has_lora,
    lora_disabled,
    lora_parameters,
    lora_strength,
    merge_lora,
    set_lora_strength,
)
from .strength import set_strength, strength_of

__all__ = [
    "FORMAT_VERSION",
    "LoraSpec",
    "LoraTargets",
    "adapter_folder",
    "add_lora",
    "find_targets",
    "has_lora",
    "load_adapter",
    "lora_disabled",
    "lora_parameters",
    "lora_strength",
    "merge_lora",
    "read_record",
    "save_adapter",
    "set_lora_strength",
    "set_strength",
    "strength_of",
]
