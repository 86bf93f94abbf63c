"""Make an adapter: render the training objects, adapt a backbone on them, save it."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import bad_input
from ..finetune.adapt import adapt
from ..finetune.budget import Costs, affordable, seconds_per_map
from ..finetune.learned_heads import seen_once
from ..finetune.ordinary import PICTURES, photo_files
from ..finetune.recipes import FIXED_HEADS, TRAIN_HEAD, TRAIN_NETWORK, Recipe
from ..io import read_json, write_json
from ..models.adapters import save_adapter
from ..models.adapters.lora import check_rank, find_targets
from ..models.adapters.record import RECORD_FILE
from ..models.backbones import Backbone, load_backbone
from ..models.extractor import Extractor
from ..records import Settings
from ..types import View
from .run_folder import Progress, as_json, check_names, check_sources, claim_folder, open_objects

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImproveConfig:
    """What a run does, apart from the backbone and the objects.

    Attributes:
        recipe: How features are adapted.
        views: Views rendered of each object.
        points: Surface points of each view, for measuring.
        photos: Folder of ordinary photos for closed forms; None draws pictures instead.
        budget_s: Seconds the adaptation may take, from mesh to adapter, in place of the recipe's.
        device: `cpu`, `cuda`, ...
        dtype: Of the backbone, `float32` or `bfloat16`.
        seed: Of everything random.
        notes: Sentences shown on top of the report.
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

    @property
    def record(self) -> Settings:
        """What makes a run another one: everything but where it runs."""
        return {key: value for key, value in asdict(self).items() if key != "device"}


def finetune(
    backbone: str, train_objects: Sequence[str], out: Path, config: ImproveConfig, progress: Progress | None = None
) -> Path:
    """Adapt on the training objects without measuring what it is worth; return the folder of the adapter.

    Raises:
        EquiviewError: Bad input, or a folder holding another run.
    """
    check_names(train_objects, "train objects")
    check_sources(train_objects)
    claim_folder(out, {"backbone": backbone, "train_objects": train_objects} | config.record)
    if not is_adapted(out):
        report = progress or (lambda stage, done, total: None)
        make_adapter(load(backbone, config), train_objects, out, config, report)
    return out / "adapter"


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
    started, recipe = time.monotonic(), config.recipe
    check_recipe(backbone, recipe)
    if config.photos is not None:
        photo_files(Path(config.photos))
    budget = recipe.time_budget_s if config.budget_s is None else config.budget_s
    objects, recipe = open_training_objects(backbone, train_objects, out, config, budget, progress)
    if config.budget_s is not None and recipe.kind == "step_head":
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
        seed=config.seed,
        budget_s=None if budget is None else budget - (time.monotonic() - started),
        progress=report,
    )
    record = {
        "recipe": asdict(recipe),
        "data": {"objects": sorted(objects), "views": config.views, "photos": config.photos},
        "seed": config.seed,
        "seconds": round(time.monotonic() - started, 1),
        "budget_s": budget,
        "trained": done.get("train"),
        "trained_network": done.get("train network"),
    }
    save_adapter(out / "adapter", extractor, as_json(record))


def check_recipe(backbone: Backbone, recipe: Recipe) -> None:
    """Find a block, a size or a LoRA that does not fit the backbone before anything is rendered.

    Raises:
        EquiviewError: There is one, or a network is to be trained in which nothing is trainable.
    """
    plain = plain_extractor(backbone, recipe)
    if recipe.kind not in TRAIN_NETWORK:
        return
    if recipe.train_long_side is not None:
        Extractor(backbone, replace(plain.config, long_side=recipe.train_long_side))
    if recipe.lora is not None:
        check_rank(backbone, find_targets(backbone, recipe.lora.last_blocks).names, recipe.lora.rank)
    elif recipe.head in FIXED_HEADS:
        fix = "Set lora.rank=4, or choose a recipe that trains no network, such as default."
        raise bad_input("recipe lora", "an adapter, or a head that is trained with the network", "none", fix)


def open_training_objects(
    backbone: Backbone,
    train_objects: Sequence[str],
    out: Path,
    config: ImproveConfig,
    budget_s: float | None,
    progress: Progress,
) -> tuple[dict[str, Sequence[View]], Recipe]:
    """Render the user's objects and companions; return them with the recipe as far as there is time for it.

    What was decided in an earlier sitting holds.
    """
    started, views = time.monotonic(), config.views
    objects = open_objects(train_objects, views, config.seed, out / "views", progress)
    recipe, path = config.recipe, out / "companions.json"
    if not path.exists():
        if budget_s is not None and (recipe.companions or recipe.kind in TRAIN_HEAD):
            render_s = (time.monotonic() - started) / len(train_objects)
            map_s = seconds_per_map(plain_extractor(backbone, recipe), objects)
            left_s, own = budget_s - (time.monotonic() - started), sum(map(len, objects.values()))
            recipe = affordable(recipe, Costs(left_s, map_s, render_s, views, own, PICTURES))
        training = recipe.head_training
        counts = {} if training is None else {"members": training.members, "pictures": training.pictures}
        write_json(path, {"companions": list(recipe.companions), **counts})
    companions = read_json(path)
    recipe = with_counts(recipe, companions)
    return objects | open_objects(recipe.companions, views, config.seed, out / "views", progress), recipe


def with_counts(recipe: Recipe, counts: Mapping[str, Any]) -> Recipe:
    """Return a recipe with the companions, and where a head is trained the pictures, that were decided on."""
    recipe = replace(recipe, companions=tuple(counts["companions"]))
    if recipe.head_training is None:
        return recipe
    more = {name: counts[name] for name in ("members", "pictures")}
    return replace(recipe, head_training=replace(recipe.head_training, **more))


def plain_extractor(backbone: Backbone, recipe: Recipe) -> Extractor:
    """Return the features a recipe learns on, what is fixed on top included."""
    extractor = Extractor(
        backbone, recipe.feature_config(backbone.info.blocks), FIXED_HEADS.get(recipe.head, lambda: None)()
    )
    return seen_once(extractor) if recipe.kind in (*TRAIN_HEAD, "step_head") else extractor
