"""Export: a `transformers` folder with the LoRA merged and the head inside, and the way to measure it again."""

import copy
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import nn

from ..errors import EquiviewError, bad_input
from ..io import atomic_folder, file_sha256, read_json, require_file
from ..records import FeaturesRecord, Settings
from ..schema import as_record, check, check_fields, check_weights, library_loading
from . import exported_model
from .adapters import has_lora, merge_lora
from .backbones.base import Backbone, BackboneInfo
from .backbones.huggingface import FAMILIES
from .extractor import Extractor, FeatureConfig, feature_config
from .heads import check_head, head_parts, head_spec
from .loading import load

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

MODEL_FILE = "modeling_equiview.py"
# A large plain export is written in several weight files.
_OURS = re.compile(
    rf"config\.json|model.*\.safetensors(\.index\.json)?|preprocessor_config\.json|README\.md|{re.escape(MODEL_FILE)}"
)

USAGE = """# Features written by equiview

```python
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained("THIS FOLDER", trust_remote_code=True).eval()
images = torch.rand(1, 3, 480, 640)  # RGB in 0..1, any size
with torch.no_grad():
    features = model(pixel_values=model.preprocess(images)).feature_map  # [1, c, rows, cols], compared by cosine
```

`model.preprocess` resizes and normalises as the features were measured; no image processor of transformers does. The
token in row i and column j is centred on pixel (patch / 2 + stride * (j, i)) of the picture at the size
`model.network_hw(h, w)`, where (0.5, 0.5) is the centre of the first pixel; `model.patch` and `model.stride` say both.
"""


def export(
    model: Extractor | str | Path,
    folder: str | Path,
    *,
    adapter: str | Path | None = None,
    strength: float | None = None,
    plain: bool = False,
    allow_other_weights: bool = False,
) -> Path:
    """Write a folder that `transformers` loads without equiview.

    `AutoModel.from_pretrained(folder, trust_remote_code=True)` then gives the same features: chosen blocks, their
    normalisation, stride, position mode and head are part of it. Its input is `pixel_values` as everywhere in
    transformers (resized and mean/std normalised); `model.preprocess(images)` does both from RGB in 0..1.

    Args:
        model: An extractor (it is not changed), or the name of a backbone as `load` takes it.
        folder: Where to; an older export there is replaced as a whole.
        adapter: With a name: the adapter to put on it.
        strength: With an adapter: how much of it, as in `load`; fixed in what is written.
        plain: Write the merged backbone alone, in its own architecture (`AutoModel.from_pretrained(folder)`).
        allow_other_weights: As in `load`.

    Raises:
        EquiviewError: The backbone is not a transformers one, `plain` cannot give the same features, the folder holds
            other files, or the disk refuses.
    """
    opened = open_for_export(model, adapter, strength, allow_other_weights)
    if plain:
        check_plain(opened, "--plain")
    return write_export(opened, Path(folder), _write_plain if plain else _write_full, alone=plain)


def open_for_export(
    model: Extractor | str | Path, adapter: str | Path | None, strength: float | None, allow_other_weights: bool
) -> Extractor:
    """Return what is exported; the arguments are those of `export`.

    Raises:
        EquiviewError: It cannot be loaded, or is not a transformers backbone.
    """
    if isinstance(model, str | Path):
        model = load(model, adapter=adapter, strength=strength, allow_other_weights=allow_other_weights)
    elif strength is not None:
        raise bad_input("export strength", "nothing beside an extractor", str(strength), "Use set_strength on it.")
    elif adapter is not None:
        raise bad_input("export adapter", "nothing beside an extractor", str(adapter), "Give the backbone's name.")
    if model.backbone.info.family not in FAMILIES:
        raise bad_input(
            f"export of {model.backbone.info.id}",
            "a backbone in a transformers architecture",
            f"one from {model.backbone.info.family}",
            "Finetune the transformers version of it (for instance facebook/dinov2-base) to export it.",
        )
    return model


def write_export(
    model: Extractor, folder: Path, write: Callable[[Path, Extractor, "PreTrainedModel"], None], *, alone: bool
) -> Path:
    """Merge the LoRA in a copy, and let `write` fill the folder, which appears as a whole."""
    check_replaceable(folder)
    merged = copy.deepcopy(model.backbone)
    if has_lora(merged):
        merge_lora(merged)
    elif alone:
        logger.warning("there is no LoRA to merge: %s will hold the unchanged backbone", folder)
    with atomic_folder(folder) as temporary:
        write(temporary, model, cast("PreTrainedModel", merged.model))
    return folder


def check_plain(model: Extractor, option: str) -> None:
    """Refuse when the backbone alone would not give the features that were measured.

    Args:
        model: What is exported.
        option: That asked for it, for the message.

    Raises:
        EquiviewError: It would not.
    """
    config, info = model.config, model.backbone.info
    reasons = []
    kinds = [part["kind"] for part in head_spec(model.head)]
    if kinds:
        reasons.append(f"the gain sits in the head ({', '.join(kinds)}), which a plain backbone has no place for")
    if len(model.blocks) > 1:
        reasons.append(f"the features are blocks {list(model.blocks)} concatenated, a plain backbone gives one")
    if config.position != "hf":
        reasons.append("positions are resampled the 'dinov2' way, a plain backbone does it the 'hf' way")
    if config.several:
        reasons.append("pictures are seen in several sizes or mirrored, which a plain backbone does not do")
    if config.stride not in (None, info.patch):
        reasons.append(f"the patch stride is {config.stride}, a plain backbone has {info.patch}")
    if reasons:
        raise EquiviewError(
            f"export {option}: {'; '.join(reasons)}. Export without {option}: the folder includes it all."
        )
    if model.blocks != (info.blocks,) or not config.norm:
        where = f"hidden_states[{model.blocks[0]}]" + (" after the final LayerNorm" if config.norm else "")
        logger.warning("the measured features are %s of the exported backbone", where)


def check_replaceable(folder: Path) -> None:
    """Refuse a place that holds anything but an older export.

    Raises:
        EquiviewError: It does.
    """
    if folder.is_file():
        raise bad_input(str(folder), "a folder", "a file", "Choose another name.")
    others = sorted(p.name for p in folder.iterdir() if not _OURS.fullmatch(p.name)) if folder.is_dir() else []
    if others:
        fix = "Choose a new folder; nothing was changed."
        raise bad_input(str(folder), "a new folder or an export's", f"other files ({', '.join(others[:3])})", fix)


def _write_plain(folder: Path, model: Extractor, merged: "PreTrainedModel") -> None:
    merged.config.update({"equiview_protocol": model.describe()})
    merged.save_pretrained(folder)
    _write_preprocessor(folder, model)


def _write_full(folder: Path, model: Extractor, merged: "PreTrainedModel") -> None:
    parts = head_parts(model.head)
    state = {f"encoder.{key}": value for key, value in merged.state_dict().items()}
    for i, part in enumerate(parts):
        state |= {f"head.{i}.{key}": value for key, value in part.state_dict().items()}
    save_file(
        {key: value.detach().cpu().contiguous().clone() for key, value in state.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    shutil.copyfile(require_file(Path(exported_model.__file__), "the model template"), folder / MODEL_FILE)
    (folder / "config.json").write_text(json.dumps(_config(model, merged), indent=2) + "\n")
    (folder / "README.md").write_text(USAGE)
    _write_preprocessor(folder, model)


def _config(model: Extractor, merged: "PreTrainedModel") -> Settings:
    import transformers

    info = model.backbone.info
    family = FAMILIES[info.family]
    places = ("model_class", "blocks", "final_norm", "patch_conv", "prefix", "table", "registers", "first_norm")
    encoder = {name: getattr(family, name) for name in (*places, "antialias")}
    return {
        "model_type": exported_model.EquiviewConfig.model_type,
        "architectures": [exported_model.EquiviewFeatureModel.__name__],
        "auto_map": {
            "AutoConfig": f"{Path(MODEL_FILE).stem}.{exported_model.EquiviewConfig.__name__}",
            "AutoModel": f"{Path(MODEL_FILE).stem}.{exported_model.EquiviewFeatureModel.__name__}",
        },
        "dtype": str(next(merged.parameters()).dtype).removeprefix("torch."),
        "transformers_version": transformers.__version__,
        "backbone_config": merged.config.to_dict(),
        "encoder": {**encoder, "prefix": list(family.prefix), "options": dict(family.options)},
        "features": {**asdict(model.config), "blocks": list(model.blocks)},
        "head": head_spec(model.head),
        "image_mean": list(info.mean),
        "image_std": list(info.std),
        # For reading, measuring and pushing; the model itself does not use these two.
        "equiview_backbone": asdict(info),
        "equiview_protocol": model.describe(),
    }


def _write_preprocessor(folder: Path, model: Extractor) -> None:
    info, config = model.backbone.info, model.config
    value = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(info.mean),
        "image_std": list(info.std),
        # No processor of transformers resizes like this; the exported model's `preprocess` does.
        "equiview_resize": {
            "long_side": config.long_side,
            "multiple_of": info.patch,
            "interpolation": "bilinear, antialiased, half-pixel centres",
        },
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(value, indent=2) + "\n")


def export_files(folder: Path) -> list[Path]:
    """Return the files of an export, its README.md left out."""
    return sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name) and path.name != "README.md")


def read_protocol(folder: Path) -> FeaturesRecord:
    """Return what the features of an export were when it was written.

    Raises:
        EquiviewError: Not an export, a file of it is missing, or the model file is not equiview's own.
    """
    path, fix = folder / "config.json", "Export again."
    raw = as_record(read_json(path), str(path), ("equiview_protocol",), fix)
    check(raw["equiview_protocol"], ExportedProtocol, f"{path}: equiview_protocol", fix)
    if not is_for_timm(folder):
        require_file(folder / "preprocessor_config.json", "a file of the export")
    if not list(folder.glob("model*.safetensors")):
        raise bad_input(str(folder), "model.safetensors", "none", fix)
    if raw.get("model_type") == exported_model.EquiviewConfig.model_type:
        _check_code(folder)
    return cast(FeaturesRecord, raw["equiview_protocol"])


def is_for_timm(folder: Path) -> bool:
    """Say whether an export is one for timm, whose config.json names an entry point and holds mean and std."""
    return "architecture" in read_json(folder / "config.json")


def _check_code(folder: Path) -> None:
    ours = file_sha256(Path(exported_model.__file__))
    if file_sha256(require_file(folder / MODEL_FILE, "the exported model's code")) != ours:
        raise bad_input(
            str(folder / MODEL_FILE),
            "the model file of this version of equiview",
            "another one, whose code would be executed",
            "Export again, or load it with transformers yourself if you trust it.",
        )


class ExportedProtocol(TypedDict):
    """What is used of the record of an export's features."""

    backbone: str
    weights_sha256: str
    blocks: list[int]
    adapter: NotRequired[Settings]


class ExportedConfig(TypedDict):
    """What `open_export` reads of an export's `config.json`."""

    features: Settings
    head: list[Settings]
    equiview_backbone: Settings
    equiview_protocol: Settings


class ExportedExtractor(Extractor):
    """A reloaded export with the interface of an extractor: `maps`, `describe`, dense maps of a batch."""

    def __init__(self, backbone: Backbone, config: FeatureConfig, protocol: FeaturesRecord) -> None:
        super().__init__(backbone, config)
        self.protocol = protocol

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b c rows cols"]:
        model: Any = self.backbone.model
        return model(pixel_values=model.preprocess(images)).feature_map

    def describe(self) -> FeaturesRecord:
        return self.protocol


def open_export(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, **features: Any
) -> Extractor:
    """Load an export through `transformers`, as any user would, to measure it again.

    Args:
        folder: Written by `export`.
        device: Where it runs.
        dtype: `None` keeps the one it was written in.
        features: For a `plain` export only: the fields of `FeatureConfig` to use.

    Raises:
        EquiviewError: Not an export, a broken file, or a model file that is not equiview's own (its code would run).
    """
    folder = Path(folder)
    raw = read_json(folder / "config.json")
    check(raw, dict, str(folder / "config.json"), "Export again.")
    if raw.get("model_type") != exported_model.EquiviewConfig.model_type:
        return load(folder, device=device, dtype=dtype or torch.float32, **features)
    if features:
        fix = "Leave them out; export again with other ones."
        raise bad_input("open_export", "no feature options for a full export", ", ".join(features), fix)
    _check_code(folder)
    check(raw, ExportedConfig, str(folder / "config.json"), "Export again.")
    check_head(raw["head"], f"{folder / 'config.json'}: head", "Export again.")
    check_fields(
        raw["equiview_backbone"], BackboneInfo, f"{folder / 'config.json'}: equiview_backbone", "Export again."
    )
    values: Settings = {k: tuple(v) if isinstance(v, list) else v for k, v in raw["equiview_backbone"].items()}
    with library_loading(f"{folder / 'config.json'}: equiview_backbone", "all fields of a backbone", "Export again."):
        info = BackboneInfo(**values)
    config = feature_config(**raw["features"])
    backbone = Backbone(info, _from_pretrained(folder, dtype).to(device), _refuse)
    protocol: FeaturesRecord = {**raw["equiview_protocol"], "export_sha256": file_sha256(folder / "model.safetensors")}
    return ExportedExtractor(backbone, config, protocol).eval()


def _from_pretrained(folder: Path, dtype: torch.dtype | None) -> nn.Module:
    from transformers import AutoModel

    require_file(folder / "model.safetensors", "the exported weights")
    with library_loading(str(folder), "an export that loads", "Export again."):
        model, report = AutoModel.from_pretrained(
            folder,
            trust_remote_code=True,
            local_files_only=True,
            dtype=dtype or "auto",
            output_loading_info=True,
        )
    if report["missing_keys"] or report["unexpected_keys"]:
        found = f"{len(report['missing_keys'])} missing and {len(report['unexpected_keys'])} unknown"
        raise bad_input(str(folder / "model.safetensors"), "all weights of the model", found, "Export again.")
    check_weights(dict(model.named_parameters()), str(folder / "model.safetensors"), "Export again.")
    return model.eval().requires_grad_(False)


def _refuse(*_: Any, **__: Any) -> list[torch.Tensor]:
    raise EquiviewError("an exported model has its blocks built in; use the extractor that open_export returned.")
