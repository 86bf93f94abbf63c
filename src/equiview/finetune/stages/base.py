"""What a stage of a recipe is, and what it is given."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.extractor import Extractor
from ...types import View
from ..costs import Costs
from ..recipe import Recipe

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Context:
    """What every stage of a run is given, beside its settings and the extractor so far.

    Attributes:
        objects: Views of all training objects by name, auxiliary ones included.
        auxiliary: Names of those that are not the user's own, with the names their training pairs are kept under; None
            for those of which none are kept.
        store: Where the training pairs of auxiliary objects are kept: a folder, None to keep none.
        out_dir: Checkpoints and the training log go here.
        photos: Folder of unlabeled photos; None draws images instead.
        seed: Of everything random.
        stop_at: `time.monotonic()` at which training stops because it overran its plan; None for never.
        progress: Called with (what is done, parts done, parts in all).
    """

    objects: Mapping[str, Sequence[View]]
    auxiliary: Mapping[str, str | None]
    store: Path | None
    out_dir: Path
    photos: Path | None
    seed: int
    stop_at: float | None
    progress: Progress

    @property
    def own_objects(self) -> dict[str, Sequence[View]]:
        """Views of the user's own objects by name."""
        return {name: views for name, views in self.objects.items() if name not in self.auxiliary}

    def stop_after_s(self) -> float | None:
        """Return the seconds until the overrun stop; None for never."""
        return None if self.stop_at is None else max(0.0, self.stop_at - time.monotonic())


@dataclass(frozen=True)
class Stage:
    """A stage of a recipe: its settings, what it does, and what others must know of it.

    Attributes:
        settings: A frozen dataclass with a field `stage`, the name of the stage in `STAGES`.
        run: Called with the settings, the extractor so far and the context; returns the extractor from then on.
        ungrouped: Names of settings that users type without the name of the stage (`lora.rank`, `strength`).
        reports: What the stage calls the context's `progress` with.
        seen_once: It learns on pictures seen once, whatever the recipe's features are.
        check: Called with the settings and the plain extractor before anything is rendered; raises `EquiviewError`.
        afford: Called with the settings, the recipe, the costs and the seconds there are; returns the recipe with
            counts that fit. None where the stage takes no budget.
        seconds: Called with the settings, the recipe and the costs; returns how long the stage takes.
        counts: Names of settings that `afford` may lower.
    """

    settings: type
    run: Callable[[Any, Extractor, Context], Extractor]
    ungrouped: frozenset[str] = frozenset()
    reports: tuple[str, ...] = ()
    seen_once: bool = False
    check: Callable[[Any, Extractor], None] = lambda settings, extractor: None
    afford: Callable[[Any, Recipe, Costs, float], Recipe] | None = None
    seconds: Callable[[Any, Recipe, Costs], float] = lambda settings, recipe, costs: 0.0
    counts: tuple[str, ...] = ()
