"""Backbones: `load_backbone(name)` gives a module that turns pictures into dense token maps."""

import logging
from pathlib import Path

import torch

from ...errors import EquiviewError, bad_input
from ...schema import check_weights, library_loading
from .base import Backbone, BackboneInfo, base_model, state_sha256
from .huggingface import load_huggingface
from .tiny import TINY, TINY_FOLDER

__all__ = ["TINY", "TINY_FOLDER", "Backbone", "BackboneInfo", "base_model", "load_backbone", "state_sha256"]

log = logging.getLogger(__name__)


def load_backbone(
    name: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    random_weights_seed: int | None = None,
) -> Backbone:
    """Load a backbone by name, frozen and in evaluation mode.

    Args:
        name: `equiview/tiny` (comes with the package), a local folder written by `save_pretrained`, a Hugging Face
            hub id (`facebook/dinov2-base`), `timm:NAME` (extra `timm`), or `hub:REPO:ENTRY`
            (`hub:facebookresearch/dinov2:dinov2_vitb14`).
        device: Where the weights go.
        dtype: Of the weights and the maps.
        random_weights_seed: The same architecture, initialised afresh from this seed: the random-weights control.

    Raises:
        EquiviewError: It cannot be found, is of an unsupported type, is broken, or does not give the maps it says.
    """
    name = str(name)
    if name.startswith("timm:"):
        from .timm import load_timm

        backbone = load_timm(name, random_weights_seed=random_weights_seed)
    elif name.startswith("hub:"):
        from .torchhub import load_torchhub

        backbone = load_torchhub(name, random_weights_seed=random_weights_seed)
    else:
        backbone = load_huggingface(name, _find_folder(name), random_weights_seed=random_weights_seed)
    prove_maps(backbone)
    return backbone.to(device=device, dtype=dtype)


def prove_maps(backbone: Backbone) -> None:
    """Run a backbone on a picture of 2 x 3 patches: hybrids and hierarchical models have other maps than they state.

    Raises:
        EquiviewError: Weights that are not finite floats, a failure, or a map of another size.
    """
    info, fix = backbone.info, "Use a plain Vision Transformer of RGB pictures with float weights."
    check_weights(dict(backbone.model.named_parameters()), info.id, fix)
    what = f"a Vision Transformer with one token for each patch of {info.patch} x {info.patch} RGB pixels"
    with library_loading(info.id, what, fix), torch.no_grad():
        (fmap,) = backbone(torch.zeros(1, 3, 2 * info.patch, 3 * info.patch), blocks=(info.blocks,))
    if tuple(fmap.shape) != (1, info.dim, 2, 3):
        found = f"{tuple(fmap.shape[1:])} for a picture of 2 x 3 patches, not {(info.dim, 2, 3)}"
        raise bad_input(info.id, what, found, fix)


def _find_folder(name: str) -> Path:
    """Return the local folder of a model: in the package, the name itself, the hub's cache, or a fresh download."""
    if name == TINY:
        return TINY_FOLDER
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise bad_input(name, "a model folder with config.json", "none in it", _LOCAL)
        return folder
    parts = name.split("/")
    if folder.exists() or name.startswith((".", "/", "~")) or len(parts) > 2 or not all(parts):
        found = "a file" if folder.exists() else "nothing there"
        raise bad_input(
            name, "a folder written by save_pretrained, or a hub id like facebook/dinov2-base", found, _LOCAL
        )
    return _from_hub(name)


_LOCAL = (
    "With a network, `hf download NAME --local-dir FOLDER` fetches a model; "
    "`model.save_pretrained(FOLDER)` writes one; then give the folder."
)
_SMALL = ("config.json", "preprocessor_config.json", "processor_config.json")
_SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin"))


def _from_hub(name: str) -> Path:
    """Find a model in the cache, which is used without asking the network, or download it."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import httpx

    for weights in (_SAFETENSORS, _PICKLED):
        try:
            # The patterns of the download: without them the hub's library calls its own partial copy incomplete.
            cached = Path(snapshot_download(name, allow_patterns=[*_SMALL, *weights], local_files_only=True))
        except LocalEntryNotFoundError:
            continue
        except HFValidationError as error:
            raise bad_input(name, "a hub id or a folder", str(error), _LOCAL) from error
        if (cached / "config.json").is_file() and _has_weights(cached):
            return cached
    log.info("%s is not in the local cache; asking the hub", name)
    try:
        # This question has a time limit, which the download has not: a silent network is found out in seconds.
        files = [file.rfilename for file in HfApi().model_info(name, timeout=5).siblings or []]
        weights = _SAFETENSORS if any(file.endswith(".safetensors") for file in files) else _PICKLED
        return Path(snapshot_download(name, allow_patterns=[*_SMALL, *weights], etag_timeout=5))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EquiviewError(
            f"{name}: not a folder here, not in the cache, and the hub did not give it ({reason}). Check the name "
            f"and the network (and access, for a gated model). {_LOCAL}"
        ) from error
