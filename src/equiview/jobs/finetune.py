"""Make an adapter: render the training objects, adapt a backbone on them, save it."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..data.contents import content_of
from ..data.lazy_views import LazyViews
from ..data.names import distinct_names, is_made
from ..data.open import Kind, open_source, source_kind
from ..errors import bad_input
from ..finetune.adapt import adapt
from ..finetune.costs import measure_costs
from ..finetune.network_settings import NetworkTraining
from ..finetune.overrides import override
from ..finetune.plan import make_plan, overrun_s, plan_record, plan_words, takes_budget, with_plan
from ..finetune.recipe import Recipe
from ..finetune.recipes import RECIPES, WHITENED, check_recipe, features_learned_on
from ..finetune.stages.add_head import AddHead
from ..finetune.unlabeled_images import photo_files
from ..io import cache_folder, read_json, write_json
from ..models.adapters import save_adapter
from ..models.adapters.record import RECORD_FILE
from ..models.backbones import Backbone, load_backbone
from ..models.extractor import Extractor
from ..records import Settings
from ..schema import as_record
from ..types import View
from .choose import find_preset
from .presets import AUTO, advice, recipe_with_preset
from .run_folder import (
    Progress,
    as_json,
    check_distinct,
    check_names,
    check_sources,
    claim_folder,
    open_objects,
    refuse_file,
)

log = logging.getLogger(__name__)

OF_THE_RECIPE = "recipe"
FEATURE_SETTINGS = {"depths", "features.blocks", "head", "add_head.head"}
"""Who gives one of these by hand has chosen the features."""


@dataclass(frozen=True)
class ImproveConfig:
    """What a run does, apart from the backbone and the objects.

    Attributes:
        recipe: How features are adapted.
        views: Views rendered of each object.
        points: Surface points of each view, for measuring.
        photos: Folder of unlabeled photos for closed forms; None draws pictures instead.
        budget_s: Seconds the adaptation may take, from mesh to adapter, in place of the recipe's.
        device: `cpu`, `cuda`, ...
        dtype: Of the backbone, `float32` or `bfloat16`.
        seed: Of everything random.
        notes: Sentences shown on top of the report.
        features: Blocks and fixed head by the name or file of a preset, `recipe` for the recipe's own, None for those
            that were measured, or else are chosen now, for a backbone (of a recipe that names blocks by their depth).
        changes: Settings of the recipe that the user gave, see `override`: they go before those of a preset.
        preset: Name of the features that took the place of the recipe's own (`with_features`); None for the recipe's.
    """

    recipe: Recipe
    views: int = 12
    points: int = 300
    photos: str | None = None
    budget_s: float | None = None
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    notes: tuple[str, ...] = ()
    features: str | None = OF_THE_RECIPE
    changes: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None

    @property
    def record(self) -> Settings:
        """What makes a run another one: everything but where it runs."""
        # What was asked for shows in the recipe.
        left_out = {"device", "features", "changes"} | ({"preset"} if self.preset is None else set())
        return {key: value for key, value in asdict(self).items() if key not in left_out}


def with_features(
    backbone: Backbone, config: ImproveConfig, out: Path | None = None, progress: Progress | None = None
) -> ImproveConfig:
    """Return the run with the features it asks for in place of the recipe's own blocks and fixed head.

    Args:
        backbone: Loaded; not changed.
        config: The run; its `features` say which.
        out: The run folder: one that was begun with the recipe's own features goes on with them.
        progress: As of `choose`.

    Raises:
        EquiviewError: There is no such preset, or the run folder is a file.
    """
    if out is not None:
        refuse_file(out)  # Before features are chosen, which takes minutes.
    recipe, name = config.recipe, config.features
    if name == OF_THE_RECIPE or (name is None and (not _takes_measured_features(config) or _has_its_own(out))):
        return config
    preset = find_preset(AUTO if name is None else name, Extractor(backbone), progress)
    # A preset's settings are of the recipe as it is; what the user changed comes after them.
    plain = RECIPES.get(recipe.name, recipe) if config.changes else recipe
    changed = override(recipe_with_preset(plain, preset, backbone), config.changes)
    own = replace(recipe, depths=(), features=recipe.feature_config(backbone.info.blocks))
    if name is None and changed == own:
        return config
    blocks = changed.feature_config(backbone.info.blocks).blocks
    log.info("features %s: blocks %s, head %s", preset.name, ", ".join(map(str, blocks)), preset.head)
    return replace(config, recipe=changed, preset=preset.name)


def _takes_measured_features(config: ImproveConfig) -> bool:
    """Say whether a recipe stands on the features that were chosen for DeiT-Tiny, and nobody asked for others."""
    head = config.recipe.find(AddHead)
    usual = bool(config.recipe.depths) and head is not None and head.head == WHITENED.head
    return usual and not config.changes.keys() & FEATURE_SETTINGS


def _has_its_own(out: Path | None) -> bool:
    path = None if out is None else out / "run.json"
    return path is not None and path.is_file() and "preset" not in as_record(read_json(path), str(path))


def finetune(
    backbone: str, train_objects: Sequence[str], out: Path, config: ImproveConfig, progress: Progress | None = None
) -> Path:
    """Adapt on the training objects without measuring what it is worth; return the folder of the adapter.

    Raises:
        EquiviewError: Bad input, or a folder holding another run.
    """
    check_training_objects(train_objects, config.recipe)
    loaded = load(backbone, config)
    config = with_features(loaded, config, out, progress)
    check_distinct([*distinct_names(train_objects), *distinct_names(config.recipe.auxiliary_objects)], "objects")
    claim_folder(out, {"backbone": backbone, "train_objects": train_objects} | config.record)
    if not is_adapted(out):
        report = progress or (lambda stage, done, total: None)
        make_adapter(loaded, train_objects, out, config, report)
    return out / "adapter"


def check_training_objects(own: Sequence[str], recipe: Recipe) -> None:
    """Open what is trained on as far as is cheap.

    Raises:
        EquiviewError: There is nothing to train on, an object is named twice or cannot be opened, or a recipe that
            learns from one's own objects alone has none.
    """
    if not own and not recipe.auxiliary_objects:
        fix = "Name a mesh, or builtin:mug; --recipe general needs no object of one's own."
        raise bad_input("train objects", "at least one object", "none", fix)
    if not own and any(getattr(settings, "own_objects_only", False) for settings in recipe.stages):
        fix = "Name one, or take --recipe general."
        raise bad_input(f"recipe {recipe.name}", "an object of one's own", "none", fix)
    if own:
        check_names(own, "train objects")
    check_sources([*own, *(one for one in recipe.auxiliary_objects if not is_made(one))])


def load(backbone: str, config: ImproveConfig) -> Backbone:
    """Load the backbone where and how the run wants it."""
    return load_backbone(backbone, device=config.device, dtype=getattr(torch, config.dtype))


def is_adapted(out: Path) -> bool:
    """Say whether a run folder has its finished adapter."""
    return (out / "adapter" / RECORD_FILE).exists()


def make_adapter(
    backbone: Backbone, train_objects: Sequence[str], out: Path, config: ImproveConfig, progress: Progress
) -> None:
    """Render the training objects, adapt and save; the backbone is left with the recipe's LoRA, if it has one."""
    started = time.monotonic()
    recipe = config.recipe
    check_recipe(backbone, recipe)
    told = advice(recipe, backbone.info) if config.preset is None else None
    if told is not None:
        log.info("%s", told)
    if config.photos is not None:
        photo_files(Path(config.photos))
    budget = recipe.time_budget_s if config.budget_s is None else config.budget_s
    objects, recipe = open_training_objects(backbone, train_objects, out, config, budget, progress)
    if config.budget_s is not None and not takes_budget(recipe):
        log.warning("one step takes no budget: %g s is not looked at", config.budget_s)
    done: dict[str, tuple[int, int]] = {}

    def report(stage: str, *count: int) -> None:
        done[stage] = (count[0], count[1])
        progress(stage, *count)

    extractor = adapt(
        backbone,
        objects,
        recipe,
        out,
        photos=None if config.photos is None else Path(config.photos),
        store=cache_folder() / "pairs" if recipe.keep_auxiliary else None,
        seed=config.seed,
        stop_after_s=None if budget is None else overrun_s(budget) - (time.monotonic() - started),
        progress=report,
    )
    learned = [*train_objects, *recipe.auxiliary_objects]
    contents = {name: content_of(source) for name, source in zip(distinct_names(learned), learned, strict=True)}
    record = {
        "recipe": asdict(recipe),
        "data": {"objects": sorted(objects), "contents": contents, "views": config.views, "photos": config.photos},
        "seed": config.seed,
        **({} if config.preset is None else {"preset": config.preset}),
        "seconds": round(time.monotonic() - started, 1),
        "budget_s": budget,
        "trained": done.get("train"),
        "trained_network": of_recipe(done.get("train network"), config.recipe),
    }
    save_adapter(out / "adapter", extractor, as_json(record))


def of_recipe(steps: tuple[int, int] | None, recipe: Recipe) -> tuple[int, int] | None:
    """Return the steps of training the network that were done, and those the recipe has before any plan."""
    return None if steps is None else (steps[0], recipe.stage(NetworkTraining).steps)


def open_training_objects(
    backbone: Backbone,
    train_objects: Sequence[str],
    out: Path,
    config: ImproveConfig,
    budget_s: float | None,
    progress: Progress,
) -> tuple[dict[str, Sequence[View]], Recipe]:
    """Render the user's objects and the auxiliary ones; return them with the recipe as far as there is time for it.

    A budget is turned into a plan once, which is logged and kept in plan.json: one of an earlier sitting holds.
    """
    views = config.views
    objects = open_objects(train_objects, views, config.seed, out / "views", progress)
    path, former = out / "plan.json", out / "companions.json"
    if not path.exists() and not former.exists():
        write_json(path, planned(backbone, objects, config, budget_s))
    recipe = with_plan(config.recipe, read_json(path if path.exists() else former))
    count = recipe.views_of_auxiliary(views)
    if recipe.keep_auxiliary:
        return objects | open_when_asked(recipe.auxiliary_objects, count, out / "views"), recipe
    return objects | open_objects(recipe.auxiliary_objects, count, config.seed, out / "views", progress), recipe


def open_when_asked(sources: Sequence[str], n_views: int, cache: Path) -> dict[str, Sequence[View]]:
    """Return objects by name; those to render are rendered when they are looked at, which a kept one never is.

    They are the same for every seed of a run, so that all runs can share what is kept.
    """
    objects: dict[str, Sequence[View]] = {}
    for name, source in zip(distinct_names(sources), sources, strict=True):
        open_views = partial(open_source, source, n_views=n_views, cache_dir=cache)
        rendered = source_kind(source) in (Kind.MADE, Kind.MESH)
        objects[name] = LazyViews(n_views, open_views) if rendered else open_views()
    return objects


def planned(
    backbone: Backbone, objects: Mapping[str, Sequence[View]], config: ImproveConfig, budget_s: float | None
) -> dict[str, Any]:
    """Return the record of a plan for the user's objects in this time, and log it."""
    recipe = config.recipe
    if budget_s is None or not takes_budget(recipe):
        return plan_record(recipe, budget_s, None)
    views = [view for of_object in objects.values() for view in of_object]
    costs = measure_costs(features_learned_on(backbone, recipe), views, recipe.views_of_auxiliary(config.views))
    recipe = make_plan(recipe, costs, budget_s)
    log.info("plan for %g s; the same on any machine: %s", budget_s, plan_words(recipe))
    return plan_record(recipe, budget_s, costs)
