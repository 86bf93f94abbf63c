"""Published protocols by name, for the data sets of a bench, with the numbers that their authors report.

published.json holds the numbers with their sources. A setting that a publication does not state is left as it is, and
what differs here is said in words.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import bad_input
from ...io import read_json
from ...matching.localise import Localise
from ...matching.tracking import TrackConfig
from ...metrics.pck import Scoring
from ...models.extractor import Extractor
from ...tasks.tracking import TrackingConfig
from ...tasks.transfer import PAPER_TOKENS, TransferConfig, paper_config
from .settings import Opened

NUMBERS = Path(__file__).with_name("published.json")
# The end of a backbone's name, as the hub or timm has it, and what publications call it.
BACKBONES = {
    "dinov2-small": "DINOv2-S",
    "dinov2-base": "DINOv2-B",
    "dinov2-large": "DINOv2-L",
    "dinov2-giant": "DINOv2-G",
    "dinov2-with-registers-small": "DINOv2-S-reg",
    "dinov2-with-registers-base": "DINOv2-B-reg",
    "dinov2-with-registers-large": "DINOv2-L-reg",
    "dinov2-with-registers-giant": "DINOv2-G-reg",
    "dinov3-vitb16-pretrain-lvd1689m": "DINOv3-B",
    "dinov3-vitl16-pretrain-lvd1689m": "DINOv3-L",
    "dino-vitb16": "DINO-B",
    "vit-mae-base": "MAE-B",
}


@dataclass(frozen=True)
class Protocol:
    """How one publication measures one data set.

    Attributes:
        name: Of the publication.
        data_set: As benches call it.
        words: Its settings, and what differs here.
        apply: The opened data set with its settings, for a patch of so many pixels; None where it is listed only.
        stride: Distance of tokens for a patch of so many pixels; None is the patch.
    """

    name: str
    data_set: str
    words: str
    apply: Callable[[Opened, int], Opened] | None = None
    stride: Callable[[int], int] | None = None


def _paper_transfer(opened: Opened, patch: int) -> Opened:
    return replace(opened, config=paper_config(patch), long_side=PAPER_TOKENS * patch)


def _sd_dino(opened: Opened, patch: int) -> Opened:
    config = TransferConfig(Localise("token"), square_px=PAPER_TOKENS * patch)
    return replace(opened, config=config, scoring=Scoring("box", "pair"), long_side=PAPER_TOKENS * patch)


def _tokens(opened: Opened, patch: int) -> Opened:
    return replace(opened, config=TrackingConfig("first", track=TrackConfig("token")), long_side=448)


_SQUARE = "a black square of 60x60 tokens (840 px at patch 14)"
_POINTS = "every fourth pixel of the object, bicubic, ratio test, the best 1,000"
PROTOCOLS = (
    Protocol("paper", "pf-pascal", f"{_SQUARE}, arg-max of the dot product, PCK of the side", _paper_transfer),
    Protocol("paper", "pf-pascal-same", f"{_SQUARE}, arg-max of the dot product, PCK of the side", _paper_transfer),
    Protocol(
        "paper",
        "tapvid-davis-strided",
        "854 px, stride of half a patch, soft-argmax within 35 px, anchors decide occlusion (DINO-Tracker untrained)",
        lambda opened, patch: replace(opened, config=TrackingConfig("strided", protocol="paper"), long_side=854),
        lambda patch: patch // 2,
    ),
    Protocol("paper", "onepose-lowtexture", "listed only: its templates are points of OnePose's reconstruction"),
    Protocol("paper", "objaverse", "listed only: 1,000 objects that are not published; `equiview measure` has its rig"),
    Protocol("paper", "mvimgnet", "listed only: 1,000 captures that are not published; `equiview measure` reads any"),
    Protocol(
        "probe3d",
        "navi",
        f"512 px, {_POINTS}; pairs are drawn here with another generator",
        lambda opened, patch: replace(opened, long_side=512),
    ),
    Protocol(
        "probe3d",
        "scannet-1500",
        f"640 px, {_POINTS}; pixels are those of 160x120",
        lambda opened, patch: replace(opened, long_side=640),
    ),
    Protocol(
        "omniprobe",
        "navi",
        f"512 px, {_POINTS}; pairs are drawn here with another generator",
        lambda opened, patch: replace(opened, long_side=512),
    ),
    Protocol(
        "omniprobe",
        "tapvid-davis",
        "queries first, the best token's centre; 448 px here with the aspect kept (there 256x256 enlarged to 448x448), "
        "and occlusion is judged here (there every point is visible), so compare delta only",
        _tokens,
    ),
    Protocol("sd-dino", "spair", f"{_SQUARE}, the best token's centre, PCK of the box, mean over pairs", _sd_dino),
    Protocol(
        "tapvid",
        "tapvid-davis",
        "the official scores on 256x256, queries first, equiview's own tracker",
        lambda opened, patch: opened,
    ),
)
NAMES = tuple(dict.fromkeys(one.name for one in PROTOCOLS))


def protocols_of(name: str) -> dict[str, Protocol]:
    """Return what a publication measures and can be run here, by data set.

    Raises:
        EquiviewError: There is none of that name.
    """
    if name not in NAMES:
        raise bad_input("protocol", f"one of {', '.join(NAMES)}", repr(name), "equiview protocols lists them.")
    return {one.data_set: one for one in PROTOCOLS if one.name == name and one.apply is not None}


@cache
def _numbers() -> dict[str, Any]:
    found: dict[str, Any] = read_json(NUMBERS)
    return found


def source_of(name: str) -> str:
    """Return where the numbers of a protocol are from; "" where it has none."""
    return str(_numbers().get(name, {}).get("source", ""))


def published(name: str, data_set: str) -> Mapping[str, Mapping[str, float]]:
    """Return the published scores of a protocol on a data set, by backbone and metric."""
    found: Mapping[str, Mapping[str, float]] = _numbers().get(name, {}).get("sets", {}).get(data_set, {})
    return found


def backbone_name(backbone: str) -> str | None:
    """Return what publications call a backbone, by the end of its name; None where none of them measured it."""
    return BACKBONES.get(Path(backbone).name.lower())


def with_protocol(source: Any, opened: Opened, protocol: Protocol) -> tuple[Any, Opened]:
    """Return features and data set with the settings of a protocol; doubles of features count as patch 14."""
    patch = source.backbone.info.patch if isinstance(source, Extractor) else 14
    assert protocol.apply is not None
    if isinstance(source, Extractor) and protocol.stride is not None:
        changed = copy.copy(source)
        changed.config = replace(source.config, stride=protocol.stride(patch))
        source = changed
    return source, protocol.apply(opened, patch)
