"""The main job: adapt a backbone on some objects and prove it on others, in one resumable run folder."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..data.open import check_apart, other_views
from ..draw.live import RUN_OBJECTS, save_object
from ..draw.report_pictures import save_pictures
from ..errors import bad_input
from ..finetune.adapt import adapt
from ..finetune.budget import Costs, affordable, seconds_per_map
from ..finetune.learned_heads import seen_once
from ..finetune.ordinary import PICTURES, photo_files
from ..finetune.recipes import FIXED_HEADS, OWN_OBJECT, TRAIN_HEAD, TRAIN_NETWORK, Recipe
from ..io import read_json, write_json
from ..models.adapters import has_lora, load_adapter, save_adapter
from ..models.adapters.folder import versions
from ..models.adapters.lora import check_rank, find_targets
from ..models.adapters.record import RECORD_FILE
from ..models.backbones import Backbone, load_backbone
from ..models.extractor import Extractor
from ..models.heads import AverageHead, HeadChain, RandomConvHead, head_parts
from ..tasks.comparison import improvement_summary
from ..tasks.equivariance import MeasureConfig, plan_object, protocol_of, score_object
from ..types import FeatureMap, View
from .run_folder import (
    Progress,
    ambiguous_shares,
    as_json,
    check_names,
    check_sources,
    claim_folder,
    device_name,
    open_objects,
    rows_path,
    summarize_run,
    write_rows,
)

log = logging.getLogger(__name__)

MAX_PICTURES = 6


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


def improve(
    backbone: str,
    train_objects: Sequence[str],
    test_objects: Sequence[str],
    out: Path,
    config: ImproveConfig,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Render, adapt on the training objects, score on the test objects beside the controls, and write it all down.

    An interrupted run goes on where it stopped; a finished one is summarised again.

    Args:
        backbone: Hub id or folder.
        train_objects: Meshes, `builtin:NAME`, `procedural:SEED`, or folders of rendered views.
        test_objects: The same, none of them a training object.
        out: The run folder: summary*.json, rows.jsonl, adapter/, pictures/, live/, views/, log.jsonl.
        config: Everything else.
        progress: Called with (stage, done, total); stages are render, train network, solve, train, render test,
            score, as far as the recipe has them.

    Returns:
        The content of summary.json (see docs/protocols.md).

    Raises:
        EquiviewError: Bad input, a test object that was trained on, or a folder holding another run.
    """
    out = Path(out)
    report = progress or (lambda stage, done, total: None)
    check_names(train_objects, "train objects")
    check_names([*train_objects, *config.recipe.companions, *test_objects], "objects")
    check_sources([*train_objects, *test_objects])
    check_apart(train_objects, test_objects)
    if other_views(train_objects, test_objects) and config.recipe.name != OWN_OBJECT.name:
        log.info("one capture on both sides: the recipe %s is made for other views of it", OWN_OBJECT.name)
    what = {"backbone": backbone, "train_objects": train_objects, "test_objects": test_objects}
    claim_folder(out, what | {k: v for k, v in asdict(config).items() if k != "device"})
    base = load(backbone, config)
    make_adapter(backbone, train_objects, out, config, report)
    adapted = load_adapter(out / "adapter", load(backbone, config))
    test = open_objects(test_objects, config.views, config.seed, out / "views", lambda _, *n: report("render test", *n))
    score_all(base, adapted, test, out, config, report)
    protocol = run_protocol(adapted, out, config) | {"ambiguous_share": ambiguous_shares(out, list(test))}
    return summarize_run(out, list(test), lambda rows, search: improvement_summary(rows, protocol, search))


def load(backbone: str, config: ImproveConfig) -> Backbone:
    """Load the backbone where and how the run wants it."""
    return load_backbone(backbone, device=config.device, dtype=getattr(torch, config.dtype))


def make_adapter(
    backbone: str, train_objects: Sequence[str], out: Path, config: ImproveConfig, progress: Progress
) -> None:
    """Render the training objects, adapt and save, unless the folder already has the finished adapter."""
    if (out / "adapter" / RECORD_FILE).exists():
        return
    started, recipe, own = time.monotonic(), config.recipe, load(backbone, config)
    check_recipe(own, recipe)
    if config.photos is not None:
        photo_files(Path(config.photos))
    budget = recipe.time_budget_s if config.budget_s is None else config.budget_s
    objects, recipe = open_training_objects(own, train_objects, out, config, budget, progress)
    if config.budget_s is not None and recipe.kind == "step_head":
        log.warning("one step takes no budget: %g s is not looked at", config.budget_s)
    done: dict[str, tuple[int, int]] = {}

    def report(stage: str, *count: int) -> None:
        done[stage] = (count[0], count[1])
        progress(stage, *count)

    extractor = adapt(
        own,
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


def score_all(
    base: Backbone,
    adapted: Extractor,
    objects: Mapping[str, Sequence[View]],
    out: Path,
    config: ImproveConfig,
    progress: Progress,
) -> None:
    """Score every variant on every object; an object is finished when its file of rows is there."""
    measure = MeasureConfig(points=config.points, seed=config.seed)
    for number, (name, views) in enumerate(objects.items()):
        progress("score", number, len(objects))
        if rows_path(out, name).exists():
            continue
        plan = plan_object(name, views, measure)
        before: list[FeatureMap] = []
        rows: list[dict[str, Any]] = []
        for variant, maps in variants(base, adapted, plan.views, config.seed):
            rows += score_object(plan, maps, measure, variant)
            if variant == "pretrained":
                before = maps
            if variant == "adapted" and number < MAX_PICTURES:
                save_pictures(out / "pictures" / f"{name}.npz", plan, before, maps, config.seed)
            if variant == "adapted" and number < RUN_OBJECTS:
                save_object(out / "live" / f"{name}.npz", plan, {"pretrained": before, "adapted": maps}, config.seed)
        for row in rows:
            row["ambiguous_share"] = plan.ambiguous_share
        write_rows(rows_path(out, name), rows)
    progress("score", len(objects), len(objects))


def variants(
    base: Backbone, adapted: Extractor, views: Sequence[View], seed: int
) -> Iterator[tuple[str, list[FeatureMap]]]:
    """Yield the feature maps of each variant; the features of the adapter's blocks are computed once and shared.

    `without_object` is everything of the adapter that learned nothing; left out if it is the fixed average, or nothing.
    One variant is in memory at a time beside the base. Where the adapter has no LoRA, its head is applied to the shared
    features too; the last block alone takes a pass of its own, because alone it is not L2-normalised token by token,
    and because it is what most people use: it sees a picture once.
    """
    config, info = adapted.config, base.info
    blocks, last = adapted.blocks, info.blocks
    shared = Extractor(base, replace(config, blocks=blocks))
    pretrained = list(shared.maps(views))
    yield "pretrained", pretrained
    if blocks != (last,):
        plain = replace(config.seen_once, blocks=(last,))
        yield "last_block", list(Extractor(base, plain).maps(views))
    yield "fixed_average", apply_head(AverageHead(3), pretrained)
    fixed = fixed_parts(adapted.head)
    if [part.kind for part in fixed] not in ([], ["average"]):
        yield "without_object", apply_head(HeadChain(fixed), pretrained)
    channels = int(pretrained[0].tokens.shape[0])
    yield "random_head", apply_head(RandomConvHead(channels, seed).to(pretrained[0].tokens.device), pretrained)
    if has_lora(adapted.backbone) or adapted.head is None:
        yield "adapted", list(adapted.maps(views))
    else:
        yield "adapted", apply_head(adapted.head, pretrained)


def fixed_parts(head: torch.nn.Module | None) -> list[Any]:
    """Return the parts of a head that learn nothing: with them alone the features know no training object."""
    return [part for part in head_parts(head) if not list(part.parameters())]


@torch.no_grad()
def apply_head(head: torch.nn.Module, maps: Sequence[FeatureMap]) -> list[FeatureMap]:
    """Return the maps with a head applied."""
    return [fmap.replace_tokens(head(fmap.tokens[None])[0]) for fmap in maps]


def run_protocol(adapted: Extractor, out: Path, config: ImproveConfig) -> dict[str, Any]:
    """Return everything needed to repeat the run."""
    return protocol_of(
        adapted,
        MeasureConfig(points=config.points, seed=config.seed),
        run=read_json(out / "run.json"),
        adapter=read_json(out / "adapter" / RECORD_FILE),
        versions=versions(),
        device=device_name(config.device),
        notes=list(config.notes),
    )
