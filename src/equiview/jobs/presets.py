"""Presets: which blocks of a backbone, and which fixed head, written by `choose` or shipped with the package."""

import logging
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ..errors import bad_input
from ..finetune.overrides import override
from ..finetune.recipe import Recipe
from ..finetune.stages.add_head import NOTHING_LEARNED, AddHead, HeadName, add_head
from ..io import read_json, require_file
from ..models.backbones.base import Backbone, BackboneInfo
from ..models.extractor import Extractor
from ..records import Settings
from ..schema import check

log = logging.getLogger(__name__)

FORMAT = "equiview preset 1"
FILE = "choice.json"
SHIPPED = Path(__file__).with_name("presets.json")
AUTO = "auto"
_FIX = "Write it again with equiview choose."


class BackboneOfPreset(TypedDict):
    """What a preset was chosen on."""

    family: str
    blocks: int
    weights_sha256: str


class PresetFile(TypedDict):
    """What a preset's file holds; `choose` writes more beside it."""

    format: str
    backbone: BackboneOfPreset
    blocks: list[int]
    head: str
    long_side: int | None
    recipes: NotRequired[dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Preset:
    """Features by name.

    Attributes:
        name: Shown in messages and records: a shipped name, or the file.
        blocks: Numbers from 1, of a backbone of `of_blocks` blocks.
        of_blocks: Depth of the backbone it was chosen on.
        head: A fixed head.
        long_side: Pixels, where the choice is for one size of pictures; None leaves the size alone.
        family: Of the backbone it was chosen on.
        weights_sha256: Of that backbone.
        whole_family: It is offered for other backbones of the family.
        recipes: Settings that took other values on this backbone, by the name of the recipe, see `override`.
    """

    name: str
    blocks: tuple[int, ...]
    of_blocks: int
    head: HeadName
    long_side: int | None
    family: str
    weights_sha256: str
    whole_family: bool = False
    recipes: Mapping[str, Settings] = field(default_factory=dict)

    def fitted(self, info: BackboneInfo) -> "Preset":
        """Return it for another depth, at the same shares; what it was not chosen on is said."""
        if info.weights_sha256 != self.weights_sha256:
            log.info("features %s were chosen on other weights (%s)", self.name, self.family)
        if info.blocks == self.of_blocks:
            return self
        blocks = tuple(dict.fromkeys(max(1, round(b / self.of_blocks * info.blocks)) for b in self.blocks))
        log.info("blocks %s of %d become %s of %d", self.blocks, self.of_blocks, blocks, info.blocks)
        return replace(self, blocks=blocks, of_blocks=info.blocks)


def preset_of(content: Any, name: str) -> Preset:
    """Return the preset that a file holds.

    Raises:
        EquiviewError: Another format, a key that is missing or of another type, an unknown head, or blocks that the
            backbone it names does not have.
    """
    found = content.get("format") if isinstance(content, Mapping) else type(content).__name__
    if found != FORMAT:
        raise bad_input(name, f"format {FORMAT!r}", repr(found), _FIX)
    check(content, PresetFile, name, _FIX)
    backbone, blocks, head = content["backbone"], content["blocks"], content["head"]
    if head not in NOTHING_LEARNED:
        raise bad_input(f"{name}: head", f"one of {', '.join(NOTHING_LEARNED)}", repr(head), _FIX)
    if not blocks or len(set(blocks)) < len(blocks) or not all(1 <= b <= backbone["blocks"] for b in blocks):
        raise bad_input(f"{name}: blocks", f"different blocks 1..{backbone['blocks']}", str(blocks), _FIX)
    size = content["long_side"]
    if size is not None and not 16 <= size <= 8192:
        raise bad_input(f"{name}: long_side", "16 to 8192 px, or null", str(size), _FIX)
    return Preset(
        name=name,
        blocks=tuple(blocks),
        of_blocks=backbone["blocks"],
        head=typing.cast(HeadName, head),
        long_side=size,
        family=backbone["family"],
        weights_sha256=backbone["weights_sha256"],
        whole_family=bool(content.get("whole_family", False)),
        recipes=content.get("recipes", {}),
    )


def shipped_presets() -> dict[str, Preset]:
    """Return the presets of the package by name; presets.json says which command measured each, and where."""
    return {name: preset_of(content, name) for name, content in read_json(SHIPPED).items()}


def read_preset(name: str) -> Preset:
    """Return a shipped preset, or that of a file or of a folder of `choose`.

    Raises:
        EquiviewError: There is none, or it is broken.
    """
    shipped, path = shipped_presets(), Path(name)
    if name in shipped:
        return shipped[name]
    if path.is_dir():
        path = require_file(path / FILE, "the preset of a finished equiview choose")
    if not path.is_file():
        names = ", ".join((AUTO, *shipped))
        raise bad_input("--features", f"{names}, or a file written by equiview choose", repr(name), "Check the name.")
    return preset_of(read_json(path), str(path))


def measured_preset(info: BackboneInfo) -> Preset | None:
    """Return the shipped preset of these weights, or else of their family; None where neither was measured."""
    shipped = shipped_presets().values()
    own = [one for one in shipped if one.weights_sha256 == info.weights_sha256]
    return next(iter(own + [one for one in shipped if one.whole_family and one.family == info.family]), None)


def with_preset(source: Extractor, preset: Preset, long_side: int | None = None) -> Extractor:
    """Return the features of a preset; a size given goes before the preset's own."""
    preset = preset.fitted(source.backbone.info)
    changes: dict[str, Any] = {"blocks": preset.blocks}
    if preset.long_side is not None and long_side is None:
        changes["long_side"] = preset.long_side
    plain = Extractor(source.backbone, replace(source.config, **changes))
    return add_head(AddHead(head=preset.head), plain, seed=0).eval()


def recipe_with_preset(recipe: Recipe, preset: Preset, backbone: Backbone) -> Recipe:
    """Return the recipe on a preset's blocks, and with its fixed head in place of the recipe's own fixed head.

    Settings that the preset has for this recipe are changed too.
    """
    preset = preset.fitted(backbone.info)
    size = recipe.features.long_side if preset.long_side is None else preset.long_side
    features = replace(recipe.features, blocks=preset.blocks, long_side=size)
    recipe = replace(recipe, depths=(), features=features)
    own = recipe.find(AddHead)
    if own is not None and own.head in NOTHING_LEARNED:
        recipe = recipe.with_stage(AddHead(head=preset.head))
    return override(recipe, preset.recipes.get(recipe.name, {}))


def advice(recipe: Recipe, info: BackboneInfo) -> str | None:
    """Return a sentence where a measured preset of this backbone has other blocks than a recipe of fixed shares."""
    preset = measured_preset(info)
    if preset is None or not recipe.depths:
        return None
    preset = preset.fitted(info)
    own = recipe.feature_config(info.blocks).blocks
    if own == preset.blocks:
        return None
    wanted, used = (", ".join(map(str, blocks)) for blocks in (preset.blocks, own))
    return (
        f"blocks {wanted} ({preset.head}) matched best on development objects for this backbone or one like it; the "
        f"recipe {recipe.name} uses {used}. --features auto takes them."
    )
