"""Checkpoints released with the paper (3DCorrEnhance, `finetune.py` on_save_checkpoint), without running pickled code.

Layout, found by reading real files: `state_dict` has one entry `refine_conv`, itself a dict of weight and bias; beside
`state_dict` stand `w_a_000`, `w_b_000`, ... with index 2k for q and 2k + 1 for v of the k-th adapted block (the last
four). There is no scale factor, and rank, model size and registers are not stored: the first two follow from shapes.
"""

import logging
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import EquiviewError, bad_input
from ..io import file_sha256, require_file
from .adapters.folder import PEFT_PREFIX, save_adapter, set_lora_state
from .adapters.lora import find_targets, has_lora, inject
from .backbones import Backbone, load_backbone
from .extractor import Extractor, FeatureConfig
from .heads import RandomConvHead

logger = logging.getLogger(__name__)

# One token per 8 px of an image whose long side is 640 px: 80 tokens, each a whole patch of the network's input.
LONG_SIDE_TOKENS = 80
_SIZES = {384: "small", 768: "base", 1024: "large", 1536: "giant"}
_KEY = re.compile(r"w_([ab])_(\d{3})")


@dataclass(frozen=True)
class ReleasedCheckpoint:
    """What is in a released file.

    Attributes:
        lora_a: A of q and v of every adapted block, in block order: q, v, q, v, ... each [rank, dim].
        lora_b: B in the same order, each [dim, rank].
        conv: The head's `weight` [dim, dim, 3, 3] and `bias` [dim].
        step: Training steps, when the file says.
    """

    lora_a: tuple[torch.Tensor, ...]
    lora_b: tuple[torch.Tensor, ...]
    conv: dict[str, torch.Tensor]
    step: int | None

    @property
    def dim(self) -> int:
        return int(self.conv["weight"].shape[0])

    @property
    def rank(self) -> int:
        return int(self.lora_a[0].shape[0])

    @property
    def blocks(self) -> int:
        """How many of the last blocks are adapted."""
        return len(self.lora_a) // 2


def read_checkpoint(path: str | Path) -> ReleasedCheckpoint:
    """Read a released `.ckpt` file with torch's restricted unpickler: only tensors and plain containers are accepted.

    Raises:
        EquiviewError: The file is missing, truncated, holds code or objects, or other tensors than expected.
    """
    path = require_file(Path(path), "a released .ckpt file")
    content = _load(path)
    if not isinstance(content, dict):
        raise bad_input(str(path), "a dict of a released checkpoint", type(content).__name__, _WHICH)
    weights = {key: content[key] for key in content if isinstance(key, str) and _KEY.fullmatch(key)}
    state = content.get("state_dict")
    conv = state.get("refine_conv") if isinstance(state, dict) else None
    if not weights or not isinstance(conv, dict) or set(conv) != {"weight", "bias"}:
        inner = f", state_dict with {sorted(map(str, state))[:8]}" if isinstance(state, dict) else ""
        found = f"the keys {sorted(map(str, content))[:12]}{inner}"
        raise bad_input(
            str(path), "w_a_000, w_b_000, ... and state_dict['refine_conv'] of weight and bias", found, _WHICH
        )
    lora_a, lora_b = (_ordered(path, weights, letter) for letter in "ab")
    step = content.get("global_step")
    checkpoint = ReleasedCheckpoint(
        lora_a, lora_b, {k: _tensor(path, k, v) for k, v in conv.items()}, step if isinstance(step, int) else None
    )
    _check_shapes(path, checkpoint)
    return checkpoint


_WHICH = "Give a checkpoint released with the paper (dinov2_base.ckpt, ...)."


def _load(path: Path) -> Any:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        text = str(error)
        if "global" in text.lower() or "Unsupported class" in text:
            fix = "Nothing was executed. Do not load this file with other tools unless you trust its source."
            raise bad_input(
                str(path), "tensors and plain containers only", f"pickled code ({_first(text)})", fix
            ) from error
        fix = "Nothing was executed. Download it again."
        raise bad_input(str(path), "a file written by torch.save", _first(text), fix) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        found = f"a truncated or broken file ({_first(str(error))})"
        raise bad_input(str(path), "a file written by torch.save", found, "Download it again.") from error


def _first(text: str) -> str:
    """Return the part of torch's long message that says what was found."""
    matched = re.search(r"(GLOBAL [\w.]+|Unsupported operand[^\n]*)", text)
    found = matched[0] if matched else text.strip().split("\n")[0].split(". ")[0]
    return found[:200] or "it ends early"


def _tensor(path: Path, name: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or not torch.isfinite(value).all():
        raise bad_input(f"{path}: {name}", "a tensor of finite floats", type(value).__name__, "Download it again.")
    return value.detach().float()


def _ordered(path: Path, weights: dict[str, Any], letter: str) -> tuple[torch.Tensor, ...]:
    keys = sorted(key for key in weights if key.startswith(f"w_{letter}_"))
    expected = [f"w_{letter}_{i:03d}" for i in range(len(weights) // 2)]
    if keys != expected or len(keys) % 2:
        raise bad_input(str(path), f"{expected[0]} to {expected[-1]}, q and v of each block", f"{keys}", _WHICH)
    return tuple(_tensor(path, key, weights[key]) for key in keys)


def _check_shapes(path: Path, found: ReleasedCheckpoint) -> None:
    dim, rank = found.dim, found.rank
    wanted = {"refine_conv weight": (dim, dim, 3, 3), "refine_conv bias": (dim,)}
    shapes = {f"refine_conv {key}": tuple(value.shape) for key, value in found.conv.items()}
    for i, (a, b) in enumerate(zip(found.lora_a, found.lora_b, strict=True)):
        wanted |= {f"w_a_{i:03d}": (rank, dim), f"w_b_{i:03d}": (dim, rank)}
        shapes |= {f"w_a_{i:03d}": tuple(a.shape), f"w_b_{i:03d}": tuple(b.shape)}
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise bad_input(f"{path}: {name}", f"shape {shape}", str(shapes[name]), _WHICH)


def apply_checkpoint(checkpoint: ReleasedCheckpoint, backbone: Backbone) -> Extractor:
    """Put a released checkpoint on a backbone, in place.

    Where q, k and v are one fused linear (timm, the original DINOv2 code) the two updates become one of rank 2r: A is
    A_q above A_v, B is block-wise B_q, 0, B_v. That is exact; the rows of k stay as they are (until trained further).

    Returns:
        The extractor as released: last block after the final LayerNorm, the 3x3 convolution, 80 tokens on the long
        side, DINOv2's positions resampled the original way. (The released code rounds the short side down to whole
        tokens, this package to the nearest: equal for square images and most others.)

    Raises:
        EquiviewError: Another size of backbone, or one with an adapter already.
    """
    info = backbone.info
    if checkpoint.dim != info.dim:
        size = _SIZES.get(checkpoint.dim, "of this size")
        raise bad_input(
            f"checkpoint for {info.id}",
            f"{info.dim} channels",
            f"{checkpoint.dim} (DINOv2 {size})",
            f"Load a backbone of {checkpoint.dim} channels, for instance {_suggestion(checkpoint.dim, False)}.",
        )
    if has_lora(backbone):
        raise EquiviewError(f"{info.id} has an adapter already. Load the backbone anew.")
    targets = find_targets(backbone, checkpoint.blocks)
    a, b = list(checkpoint.lora_a), list(checkpoint.lora_b)
    rank = checkpoint.rank
    if targets.fused:
        a, b = _fuse(a, b)
        rank *= 2
    state: dict[str, torch.Tensor] = {}
    for name, one_a, one_b in zip(targets.names, a, b, strict=True):
        state |= {f"{PEFT_PREFIX}{name}.lora_A.weight": one_a, f"{PEFT_PREFIX}{name}.lora_B.weight": one_b}
    inject(backbone, targets.names, rank, rank)
    set_lora_state(backbone, state, "released checkpoint")
    first = next(backbone.model.parameters())
    head = RandomConvHead(checkpoint.dim)
    head.conv.load_state_dict(checkpoint.conv)
    head = head.to(first.device, first.dtype)
    # torch.hub's own forward resizes positions the original way already; timm's models have a way of their own.
    original = info.family in ("dinov2", "dinov2_with_registers")
    config = FeatureConfig((info.blocks,), True, LONG_SIDE_TOKENS * info.patch, None, "dinov2" if original else "hf")
    return Extractor(backbone.requires_grad_(False), config, head.requires_grad_(False)).eval()


def _fuse(a: list[torch.Tensor], b: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Join q and v of each block into one update of a [3 dim, dim] linear."""
    fused_a, fused_b = [], []
    for i in range(0, len(a), 2):
        dim, rank = b[i].shape
        joined = torch.zeros(3 * dim, 2 * rank)
        joined[:dim, :rank] = b[i]
        joined[2 * dim :, rank:] = b[i + 1]
        fused_a.append(torch.cat([a[i], a[i + 1]]))
        fused_b.append(joined)
    return fused_a, fused_b


def import_checkpoint(
    path: str | Path,
    folder: str | Path,
    *,
    backbone: str | Backbone | None = None,
    device: str | torch.device = "cpu",
) -> Path:
    """Turn a released `.ckpt` file into an adapter folder.

    Args:
        path: The file.
        folder: The adapter folder to write.
        backbone: What it belongs to, as `load_backbone` takes it, or loaded already (it is changed). `None`: the
            DINOv2 of the file's width from the hub, with registers if the file's name contains "reg" (the file's
            content does not say).
        device: Where the backbone is loaded.

    Returns:
        The folder, for `load(..., adapter=folder)`.

    Raises:
        EquiviewError: An unusable file, or one that does not fit the backbone.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    if backbone is None:
        backbone = _guess(path, checkpoint)
        logger.info("%s: imported for %s; name another backbone if that is wrong", path.name, backbone)
    if not isinstance(backbone, Backbone):
        backbone = load_backbone(backbone, device=device)
    extractor = apply_checkpoint(checkpoint, backbone)
    record = {
        "recipe": {"name": "paper", "source": "checkpoint released with 3DCorrEnhance"},
        "data": None,
        "seed": None,
        "imported": {"file": path.name, "sha256": file_sha256(path), "rank": checkpoint.rank, "steps": checkpoint.step},
    }
    return save_adapter(Path(folder), extractor, record)


def _guess(path: Path, checkpoint: ReleasedCheckpoint) -> str:
    other = [name for name in ("mae", "clip", "deit") if name in path.name.lower()]
    if other or checkpoint.dim not in _SIZES:
        found = f"{path.name}, {checkpoint.dim} channels"
        fix = "Name the backbone it was made for (timm:NAME for the timm models)."
        raise bad_input("backbone", "a DINOv2 checkpoint when none is named", found, fix)
    return _suggestion(checkpoint.dim, "reg" in path.name.lower())


def _suggestion(dim: int, registers: bool) -> str:
    return f"facebook/dinov2-{'with-registers-' if registers else ''}{_SIZES.get(dim, 'base')}"
