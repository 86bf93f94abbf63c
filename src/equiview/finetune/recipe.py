"""A recipe: how features are made, what is trained on beside the user's objects, and the stages that adapt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from ..errors import bad_input
from ..models.extractor import FeatureConfig, blocks_at


class Settings(Protocol):
    """Settings of a stage: a frozen dataclass that names its stage, see `stages.STAGES`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def stage(self) -> str: ...


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Recipe:
    """Everything about an adaptation except the data, the seed and the machine.

    Attributes:
        name: Shown in records.
        stages: Settings of what is done, in order; each stage occurs once.
        features: How features are extracted; its `blocks` are filled from `depths` when those are given.
        depths: Blocks as shares of the depth (0-1], for backbones of any size; empty leaves `features.blocks`.
        auxiliary_objects: Objects a run trains on beside the user's own; procedural ones need no download.
        auxiliary_views: Views of each of them; None for as many as of the user's own.
        keep_auxiliary: What heads learn from them is computed once for a backbone and kept on disk, in half precision.
        time_budget_s: Seconds the whole adaptation (rendering, training, solving) may take; what does not fit is left
            out by a plan made once, see `plan`. None for no limit.
    """

    name: str
    stages: tuple[Settings, ...] = ()
    features: FeatureConfig = FeatureConfig()
    depths: tuple[float, ...] = ()
    auxiliary_objects: tuple[str, ...] = ()
    auxiliary_views: int | None = None
    keep_auxiliary: bool = False
    time_budget_s: float | None = None

    def __post_init__(self) -> None:
        names = [settings.stage for settings in self.stages]
        if len(set(names)) < len(names):
            raise bad_input("recipe stages", "every stage once", ", ".join(names), "Leave out the second one.")
        if self.auxiliary_views is not None and self.auxiliary_views < 2:
            raise bad_input("recipe auxiliary_views", "2 or more", str(self.auxiliary_views), "6 are enough.")
        if self.time_budget_s is not None and not 0 <= self.time_budget_s < math.inf:
            found = str(self.time_budget_s)
            raise bad_input("recipe time_budget_s", "seconds, 0 or more, or none", found, "Give seconds, or none.")

    def find(self, kind: type[S]) -> S | None:
        """Return the settings of a stage, by their type; None where the recipe does not have it."""
        return next((settings for settings in self.stages if isinstance(settings, kind)), None)

    def stage(self, kind: type[S]) -> S:
        """Return the settings of a stage, by their type.

        Raises:
            EquiviewError: The recipe does not have this stage.
        """
        settings = self.find(kind)
        if settings is None:
            found = ", ".join(own.stage for own in self.stages)
            raise bad_input(f"recipe {self.name}", f"a stage with {kind.__name__}", found, "Choose another recipe.")
        return settings

    def with_stage(self, settings: Settings) -> "Recipe":
        """Return the recipe with other settings for one of its stages."""
        return replace(self, stages=tuple(settings if s.stage == settings.stage else s for s in self.stages))

    def feature_config(self, blocks: int) -> FeatureConfig:
        """Return how features are extracted from a backbone of this many blocks.

        Raises:
            EquiviewError: A depth is outside (0, 1].
        """
        if not self.depths:
            return self.features
        if not all(0 < depth <= 1 for depth in self.depths):
            raise bad_input("recipe depths", "shares in (0, 1]", str(self.depths), "1 is the last block.")
        return replace(self.features, blocks=blocks_at(self.depths, blocks))

    def views_of_auxiliary(self, own: int) -> int:
        """Return how many views of each auxiliary object there are, beside so many of the user's own."""
        return own if self.auxiliary_views is None else self.auxiliary_views

    @property
    def strength(self) -> float:
        """Of the last head that is learned; 1 where none is."""
        return next((s.strength for s in reversed(self.stages) if _has_strength(s)), 1.0)  # type: ignore[attr-defined]

    def at_strength(self, strength: float) -> "Recipe":
        """Return the recipe with its learned heads applied at another strength."""
        changed: Sequence[Any] = [replace(s, strength=strength) if _has_strength(s) else s for s in self.stages]  # type: ignore[type-var]
        return replace(self, stages=tuple(changed))


def _has_strength(settings: Settings) -> bool:
    return "strength" in {field.name for field in fields(settings)}
