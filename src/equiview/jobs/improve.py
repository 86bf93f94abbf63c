"""The main job: adapt a backbone on some objects and prove it on others, in one resumable run folder."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..data.contents import check_apart
from ..data.names import distinct_names, other_views
from ..draw.live.make import RUN_OBJECTS, save_object
from ..draw.report_pictures import save_pictures
from ..finetune.recipes import OWN_OBJECT
from ..io import file_name, read_json
from ..models.adapters import has_lora, load_adapter, lora_disabled, remove_lora
from ..models.adapters.folder import versions
from ..models.extractor import Extractor
from ..models.heads import AverageHead, HeadChain, RandomConvHead, head_parts
from ..records import ImproveSummary, PairRow, ProtocolRecord
from ..tasks.comparison import improvement_summary
from ..tasks.equivariance import MeasureConfig, plan_object, protocol_of, score_object
from ..types import FeatureMap, View
from .engine import LOCAL, Engine
from .finetune import ImproveConfig, check_training_objects, is_adapted, load, make_adapter, with_features
from .run_folder import (
    PARTS,
    Progress,
    ambiguous_shares,
    check_distinct,
    check_names,
    check_sources,
    claim_folder,
    device_name,
    open_number,
    summarize_run,
)
from .scoring import UNITS_LOG, WorkItem, finish_items, rows_path

log = logging.getLogger(__name__)

MAX_PICTURES = 6


def improve(
    backbone: str,
    train_objects: Sequence[str],
    test_objects: Sequence[str],
    out: Path,
    config: ImproveConfig,
    progress: Progress | None = None,
    engine: Engine = LOCAL,
) -> ImproveSummary:
    """Render, adapt on the training objects, score on the test objects beside the controls, and write it all down.

    An interrupted run goes on where it stopped; a finished one is summarised again.

    Args:
        backbone: Hub id or folder.
        train_objects: Meshes, `builtin:NAME`, `procedural:SEED`, `household:SEED`, or folders of rendered views; none
            where the recipe has auxiliary ones, such as `general`.
        test_objects: The same, none of them a training object.
        out: The run folder: summary*.json, rows.jsonl, adapter/, pictures/, live/, views/, log.jsonl.
        config: Everything else.
        progress: Called with (stage, done, total); stages are render, train network, solve, train, render test,
            score, as far as the recipe has them.
        engine: Where test objects are rendered and scored.

    Returns:
        The content of summary.json (see docs/protocols.md).

    Raises:
        EquiviewError: Bad input, a test object that was trained on, or a folder holding another run.
    """
    out = Path(out)
    report = progress or (lambda stage, done, total: None)
    check_training_objects(train_objects, config.recipe)
    check_names([*train_objects, *test_objects], "objects")
    check_sources(test_objects)
    check_apart(train_objects, test_objects)
    loaded = load(backbone, config)
    config = with_features(loaded, config, out, progress)
    auxiliary = distinct_names(config.recipe.auxiliary_objects)
    check_distinct([*distinct_names([*train_objects, *test_objects]), *auxiliary], "objects")
    check_apart(config.recipe.auxiliary_objects, test_objects)
    if other_views(train_objects, test_objects) and config.recipe.name != OWN_OBJECT.name:
        log.info("one capture on both sides: the recipe %s is made for other views of it", OWN_OBJECT.name)
    what = {"backbone": backbone, "train_objects": train_objects, "test_objects": test_objects}
    claim_folder(out, what | config.record)
    if not is_adapted(out):
        make_adapter(loaded, train_objects, out, config, report)
        # What is scored is what was saved, in this sitting as in a later one.
        remove_lora(loaded)
    adapted = load_adapter(out / "adapter", loaded)
    score_all(adapted, test_objects, out, config, report, engine)
    names, protocol = distinct_names(test_objects), run_protocol(adapted, out, config)
    protocol["ambiguous_share"] = ambiguous_shares(out, names)
    return summarize_run(out, names, lambda rows, search: improvement_summary(rows, protocol, search))


def score_all(
    adapted: Extractor, objects: Sequence[str], out: Path, config: ImproveConfig, progress: Progress, engine: Engine
) -> None:
    """Render every object and score every variant on it; it is finished when its file of rows is there."""
    seen = None
    if engine.inside:
        seen = partial(_render_test, progress)
        progress("render test", 0, len(objects) * PARTS)
    work = partial(_score_object, adapted, tuple(objects), out, config, progress=seen)
    names = enumerate(distinct_names(objects))
    items = [WorkItem(rows_path(out, name), partial(work, number, name)) for number, name in names]
    finish_items(items, partial(progress, "score"), engine, log=out / UNITS_LOG)


def _render_test(progress: Progress, _: str, done: int, total: int) -> None:
    progress("render test", done, total)


def _score_object(
    adapted: Extractor,
    objects: Sequence[str],
    out: Path,
    config: ImproveConfig,
    number: int,
    name: str,
    *,
    progress: Progress | None,
) -> list[PairRow]:
    """Render one object and score every variant on it; keep what the pages of the first few need."""
    measure = MeasureConfig(points=config.points, seed=config.seed)
    views = open_number(objects, number, config.views, config.seed, out / "views", progress)
    plan = plan_object(name, views, measure)
    before: list[FeatureMap] = []
    rows: list[PairRow] = []
    file = f"{file_name(name)}.npz"
    for variant, maps in variants(adapted, plan.views, config.seed):
        rows += score_object(plan, maps, measure, variant)
        if variant == "pretrained":
            before = maps
        if variant == "adapted" and number < MAX_PICTURES:
            save_pictures(out / "pictures" / file, plan, before, maps, config.seed)
        if variant == "adapted" and number < RUN_OBJECTS:
            save_object(out / "live" / file, plan, {"pretrained": before, "adapted": maps}, config.seed)
    return [{**row, "ambiguous_share": plan.ambiguous_share} for row in rows]


def variants(adapted: Extractor, views: Sequence[View], seed: int) -> Iterator[tuple[str, list[FeatureMap]]]:
    """Yield the feature maps of each variant; the features of the adapter's blocks are computed once and shared.

    There is one backbone: the base is the adapted one with its LoRA disabled, which computes the same to the last bit.
    `without_object` is everything of the adapter that learned nothing; left out if it is the fixed average, or nothing.
    One variant is in memory at a time beside the pretrained one. Where the adapter has no LoRA, its head is applied to
    the shared features too; the last block alone takes a pass of its own, because alone it is not L2-normalised token
    by token, and because it is what most people use: it sees a picture once.
    """
    config, backbone, blocks = adapted.config, adapted.backbone, adapted.blocks
    last = backbone.info.blocks
    with lora_disabled(backbone):
        pretrained = list(Extractor(backbone, replace(config, blocks=blocks)).maps(views))
    yield "pretrained", pretrained
    if blocks != (last,):
        plain = replace(config.single_pass, blocks=(last,))
        with lora_disabled(backbone):
            maps = list(Extractor(backbone, plain).maps(views))
        yield "last_block", maps
    yield "fixed_average", apply_head(AverageHead(3), pretrained)
    fixed = fixed_parts(adapted.head)
    if [part.kind for part in fixed] not in ([], ["average"]):
        yield "without_object", apply_head(HeadChain(fixed), pretrained)
    channels = int(pretrained[0].tokens.shape[0])
    yield "random_head", apply_head(RandomConvHead(channels, seed).to(pretrained[0].tokens.device), pretrained)
    if has_lora(backbone) or adapted.head is None:
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


def run_protocol(adapted: Extractor, out: Path, config: ImproveConfig) -> ProtocolRecord:
    """Return everything needed to repeat the run."""
    assert adapted.adapter is not None
    return protocol_of(
        # The adapter has an entry of its own, with its whole record.
        Extractor(adapted.backbone, adapted.config, adapted.head),
        MeasureConfig(points=config.points, seed=config.seed),
        run=read_json(out / "run.json"),
        adapter=adapted.adapter.record,
        versions=versions(),
        device=device_name(config.device),
        notes=list(config.notes),
    )
