"""The job behind `equiview choose`: which blocks of a backbone, and which fixed head, match best; without test data."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..data.open import open_source
from ..data.synthetic.categories import CategoryView, CategoryWorld, category_views
from ..errors import bad_input
from ..finetune.choices import check_one_of
from ..finetune.stages.add_head import fixed_head
from ..io import cache_folder, write_json
from ..metrics.choice import GOALS, TIE_POINTS, rank, unit_scores
from ..metrics.equivariance import ANGLE_BINS_DEG, object_values
from ..models.adapters.folder import versions
from ..models.extractor import Extractor, FeatureConfig
from ..models.position_bias import position_directions
from ..stats import MIN_SAMPLING_UNITS
from ..tasks.choosing import Candidate, Heads, block_maps, candidates, score_category, score_views
from ..tasks.equivariance import MeasureConfig, plan_object
from .presets import AUTO, FILE, FORMAT, Preset, measured_preset, read_preset
from .run_folder import Progress, as_json, check_names, check_sources, claim_folder, device_name, object_name
from .scoring import Rows, WorkItem, all_rows, finish_items, rows_path

log = logging.getLogger(__name__)

# Cheapest first: of equals the first is taken.
HEADS = (
    "none",
    "average",
    "low_rank_whitened",
    "low_rank_whitened_average",
    "debiased_whitened",
    "debiased_whitened_average",
)
DEVELOPMENT_OBJECTS = tuple(f"household:{seed}" for seed in range(7001, 7009))
"""What features are chosen on where the user names no objects; nothing is trained or tested on them."""
PLAIN: dict[str, Any] = {"blocks": (), "long_side": FeatureConfig().long_side, "sizes": (), "mirrored": 0.0}
"""How pictures are seen where features are chosen on first use: at the size that everything else uses."""
FIRST_INSTANCE = 7001


@dataclass(frozen=True)
class ChooseRun:
    """What candidates are scored on.

    Attributes:
        objects: Anything that `open_source` takes.
        views: Of each object.
        points: Surface points of each view.
        instances: Of each rendered category, for semantic transfer; below 2 none is scored.
        seed: Of points, instances and the views that are rendered.
    """

    objects: tuple[str, ...] = DEVELOPMENT_OBJECTS
    views: int = 4
    points: int = 200
    instances: int = 3
    seed: int = 0


def choose(
    source: Extractor,
    run: ChooseRun,
    out: Path,
    *,
    goal: str = "matching",
    long_side: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score blocks and fixed heads of a backbone, and write choice.json, which every command takes as `--features`.

    Args:
        source: A backbone without an adapter or a head; its blocks do not matter, its other settings do.
        run: What is scored.
        out: The folder: choice.json, rows/, views/. An interrupted run goes on where it stopped.
        goal: A key of `GOALS`: what the preset is best at.
        long_side: Written into the preset; None leaves the size of pictures to whoever uses it.
        progress: Called with (stage, done, total); stages are objects and categories.

    Returns:
        The content of choice.json.

    Raises:
        EquiviewError: Bad input, or a folder that holds another run.

    Memory: all blocks of the views of one object, in half precision.
    """
    check_one_of("goal", goal, GOALS)
    if goal == "transfer" and run.instances < 2:
        raise bad_input(
            "goal", "instances of categories to transfer between", f"{run.instances}", "Give 2 instances or more."
        )
    if source.head is not None or source.adapter is not None or source.config.several:
        fix = "Leave out the adapter, --average and --thorough."
        raise bad_input("features", "a backbone as it is", "one with a head or several passes", fix)
    out, report = Path(out), progress or (lambda stage, done, total: None)
    check_names(run.objects, "objects")
    check_sources(run.objects)
    # The blocks are what is chosen here: they are no part of the features that rows were made of.
    source = Extractor(source.backbone, replace(source.config, blocks=())).eval()
    claim_folder(out, asdict(run) | {"heads": HEADS, "features": source.describe()})
    ways, heads = candidates(source.backbone.info.blocks, HEADS), candidate_heads(source)
    score_object = partial(_object_rows, source, run, ways, heads, out)
    matching = [
        WorkItem(rows_path(out, "objects", object_name(name)), partial(score_object, number))
        for number, name in enumerate(run.objects)
    ]
    finish_items(matching, partial(report, "objects"))
    transfer: list[WorkItem] = []
    if run.instances >= 2:
        world = CategoryWorld()
        transfer = [
            WorkItem(rows_path(out, "categories", name), partial(_category_rows, source, run, ways, heads, name))
            for name in world.categories
        ]
        finish_items(transfer, partial(report, "categories"))
    found = _choice(source, run, ways, all_rows([*matching, *transfer]), goal, long_side)
    write_json(out / FILE, found)
    return found


def _object_rows(
    source: Extractor, run: ChooseRun, ways: Sequence[Candidate], heads: Heads, out: Path, number: int
) -> Rows:
    # Each object is seen from other places: together they cover more angles than one set of views would.
    name, seed = run.objects[number], run.seed + number
    views = open_source(name, n_views=run.views, seed=seed, cache_dir=out / "views")
    plan = plan_object(object_name(name), views, MeasureConfig(points=run.points, seed=run.seed))
    return score_views(plan, block_maps(source, plan.views), ways, heads)


def _category_rows(source: Extractor, run: ChooseRun, ways: Sequence[Candidate], heads: Heads, name: str) -> Rows:
    first = FIRST_INSTANCE + run.instances * run.seed
    views: list[CategoryView] = category_views(range(first, first + run.instances), CategoryWorld(categories=(name,)))
    return score_category(views, block_maps(source, [one.view for one in views]), ways, heads)


def candidate_heads(source: Extractor) -> Heads:
    """Return what makes the heads of candidates; position directions are measured once, for all blocks."""
    blocks = tuple(range(1, source.backbone.info.blocks + 1))
    directions = position_directions(Extractor(source.backbone, replace(source.config, blocks=blocks)))
    return lambda way: fixed_head(way.head, lambda: directions[[block - 1 for block in way.blocks]])


def _choice(
    source: Extractor, run: ChooseRun, ways: Sequence[Candidate], rows: Rows, goal: str, long_side: int | None
) -> dict[str, Any]:
    """Return the content of choice.json."""
    info = source.backbone.info
    cost = {way.name: (len(way.blocks), HEADS.index(way.head)) for way in ways}
    scores = {name: unit_scores(rows, metric) for name, metric in GOALS.items()}
    ranked = {name: rank(own, cost, GOALS[name]) for name, own in scores.items() if own}
    picked = {way.name: way for way in ways}[ranked[goal]["pick"]]
    return as_json(
        {
            "format": FORMAT,
            "backbone": {"id": Path(info.id).name if Path(info.id).exists() else info.id}
            | {key: getattr(info, key) for key in ("family", "blocks", "weights_sha256")},
            "blocks": picked.blocks,
            "head": picked.head,
            "long_side": long_side,
            "goal": goal,
            "best": {name: own["best"] for name, own in ranked.items()},
            "picks": {name: own["pick"] for name, own in ranked.items()},
            "candidates": _entries(ways, ranked, rows),
            "protocol": {
                "features": source.describe(),
                "run": asdict(run),
                "device": device_name(str(source.device)),
                "scores": "percent; matching pcdp@0.05 and position pcdp@0.02, mean over pairs of an angle bin "
                "(0-45, 45-90, 90-180 degrees), then over bins, then over units; transfer pck@0.10 of rendered "
                "categories, of the longer side of the target's box",
                "units": f"objects, categories; source views of the objects where fewer than {MIN_SAMPLING_UNITS}",
                "ci95": "percentile bootstrap over units, 10,000 draws, in pairs; null under 5 units",
                "choice": f"the fewest blocks and the simplest head within {TIE_POINTS} points of the best",
                "versions": versions(),
            },
        }
    )


def _entries(ways: Sequence[Candidate], ranked: dict[str, Any], rows: Rows) -> list[dict[str, Any]]:
    by_way: dict[str, Rows] = {way.name: [] for way in ways}
    for row in rows:
        if "angle_deg" in row:
            by_way[row["variant"]].append(row)
    entries = []
    for way in ways:
        own = {goal: one["candidates"][way.name] for goal, one in ranked.items()}
        angles = {f"{low}-{high}": _mean(by_way[way.name], (low, high)) for low, high in ANGLE_BINS_DEG}
        entries.append({"blocks": way.blocks, "head": way.head, **own, "pcdp@0.05_by_angle": angles})
    return entries


def _mean(rows: Rows, angles_deg: tuple[int, int]) -> float | None:
    values = list(object_values(rows, GOALS["matching"], None, angles_deg).values())
    return sum(values) / len(values) if values else None


def find_preset(name: str, source: Extractor, progress: Progress | None = None) -> Preset:
    """Return a preset by name or file; `auto` is the one measured for this backbone, or else chosen now and kept.

    Args:
        name: A shipped name, a file or folder of `choose`, or `auto`.
        source: The backbone.
        progress: As of `choose`.

    Raises:
        EquiviewError: There is no such preset, or it is broken.
    """
    if name != AUTO:
        return read_preset(name)
    info = source.backbone.info
    measured = measured_preset(info)
    if measured is not None:
        return measured
    asked = hashlib.sha256(json.dumps(as_json([HEADS, asdict(ChooseRun()), PLAIN])).encode()).hexdigest()
    out = cache_folder() / "choices" / f"{info.weights_sha256[:16]}-{asked[:8]}"
    if not (out / FILE).exists():
        log.info("no features were chosen for %s yet: choosing them, once, in %s", info.id, out)
        plain = Extractor(source.backbone, replace(source.config, **PLAIN)).eval()
        choose(plain, ChooseRun(), out, progress=progress)
    # Records are read elsewhere: a name that does not say where this user keeps things.
    return replace(read_preset(str(out)), name=f"{AUTO}-{info.weights_sha256[:16]}")
