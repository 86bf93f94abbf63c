"""Which features a command works on, and loading them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import bad_input
from ..records import Settings

if TYPE_CHECKING:
    from ..models.extractor import Extractor

Position = Literal["hf", "dinov2"]
Dtype = Literal["float32", "bfloat16"]
Part = Literal["own", "fine", "coarse"]


@dataclass(frozen=True)
class FeatureOptions:
    """Everything that names features; None is what the adapter was made for, or the backbone's usual value.

    Attributes:
        backbone: Its name.
        adapter: Its folder, the run folder that holds it, or its name on the hub.
        preset: Blocks and fixed head by the name of a preset, its file, or `auto`.
        strength: How much of the adapter is applied, 0 to 1.
        blocks: Blocks that are concatenated, from 1.
        norm: The final LayerNorm on every block.
        long_side: Pictures are resized to this, pixels.
        thorough: Pictures are seen in several sizes and mirrored, as that recipe does.
        stride: Of the patches, pixels.
        position: How positions are resized.
        random_seed: Of random weights.
        average: The mean of 3x3 tokens, where there is no adapter.
        dtype: Of the weights.
        device: A torch device, or `auto`.
    """

    backbone: str
    adapter: Path | None = None
    strength: float | None = None
    preset: str | None = None
    blocks: tuple[int, ...] | None = None
    norm: bool | None = None
    long_side: int | None = None
    thorough: bool = False
    stride: int | None = None
    position: Position | None = None
    random_seed: int | None = None
    average: bool = False
    dtype: Dtype = "float32"
    device: str = "cpu"

    @property
    def settings(self) -> Settings:
        """Settings of `FeatureConfig` that were given."""
        names = ("blocks", "norm", "long_side", "stride", "position")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def open_features(options: FeatureOptions, part: Part = "own") -> "Extractor":
    """Load what is measured.

    Args:
        options: What was asked for.
        part: `fine` adds a fine part to averaged features, for tasks that need exact places (`heads.with_fine`);
            `coarse` takes it away, for places of one kind in other objects; `own` leaves them as they are.

    Raises:
        EquiviewError: It cannot be loaded, an adapter is asked for on random weights, or a strength of no adapter.
    """
    adapter, strength = options.adapter, options.strength
    if strength is not None and adapter is None:
        fix = "Give the adapter, or leave --strength out."
        raise bad_input("--strength", "an --adapter beside it", f"{strength:g} alone", fix)
    if options.random_seed is not None and adapter is not None:
        raise bad_input("--random-weights", "no --adapter beside it", str(adapter), "Leave one of the two out.")
    _check_preset(options)
    quiet_transformers()
    import torch

    from ..finetune.recipes import THOROUGH
    from ..models.backbones import load_backbone
    from ..models.extractor import Extractor, FeatureConfig
    from ..models.heads import AverageHead
    from ..models.loading import load

    device, kind, settings = resolve_device(options.device), getattr(torch, options.dtype), options.settings
    if options.thorough:
        settings |= {"sizes": THOROUGH.features.sizes, "mirrored": THOROUGH.features.mirrored}
    found: Extractor
    if options.random_seed is None:
        found = load(options.backbone, adapter=adapter, strength=strength, device=device, dtype=kind, **settings)
    else:
        model = load_backbone(options.backbone, device=device, dtype=kind, random_weights_seed=options.random_seed)
        found = Extractor(model, FeatureConfig(**settings)).eval()
    if options.average and adapter is None and options.preset is None:
        found.head = AverageHead()
    if options.preset is not None:
        from .choose import find_preset
        from .presets import with_preset

        found = with_preset(found, find_preset(options.preset, found), options.long_side)
    return {"own": found, "fine": found.for_places(), "coarse": found.for_kinds()}[part]


def _check_preset(options: FeatureOptions) -> None:
    """Refuse what says the same as a preset.

    Raises:
        EquiviewError: An adapter or blocks beside it.
    """
    for name in ("adapter", "blocks") if options.preset is not None else ():
        if getattr(options, name) is not None:
            found, fix = str(getattr(options, name)), "Leave one of the two out: a preset names blocks and a head."
            raise bad_input("--features", f"no --{name} beside it", found, fix)


def resolve_device(name: str) -> str:
    """Return a usable torch device; `auto` is CUDA where there is a card.

    Raises:
        EquiviewError: The name means nothing, or the device is not there.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise bad_input("--device", "auto, cpu, cuda, cuda:1 or mps", repr(name), "Check the spelling.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise bad_input("--device", name, f"{torch.cuda.device_count()} CUDA devices here", "Use --device cpu or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise bad_input("--device", "mps", "a torch or a machine without it", "Use --device cpu.")
    return name


def quiet_transformers() -> None:
    """Keep the hub client's own bars and warnings off stderr while ours are shown."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
