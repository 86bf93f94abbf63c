"""`equiview improve`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..records import ImproveSummary
from . import options
from .app import app
from .common import command, examples, finish, parse_settings
from .progress import StageProgress

if TYPE_CHECKING:
    from ..finetune import Recipe

# Expected shares of the time, for the overall bar.
WEIGHTS = {"render": 0.1, "train network": 0.3, "solve": 0.1, "train": 0.3, "render test": 0.15, "score": 0.35}
TrainObjects = Annotated[
    list[str] | None,
    typer.Option(
        "--train-objects",
        "--train-object",
        metavar="X...",
        help=f"One or several to train on (none with --recipe general). {options.OBJECT_HELP}",
    ),
]
Auxiliary = Annotated[
    list[str] | None,
    typer.Option(
        "--auxiliary",
        metavar="X...",
        help="Folders of meshes (64 of each at most) or single objects to learn from beside one's own, in place of the "
        "recipe's made ones.",
    ),
]


def shares_of(weights: dict[str, float], recipe: "Recipe") -> dict[str, float]:
    """Leave out what no stage of the recipe does."""
    from ..finetune.stages import STAGES

    done = {what for settings in recipe.stages for what in STAGES[settings.stage].reports}
    never = {what for stage in STAGES.values() for what in stage.reports} - done
    return {what: weight for what, weight in weights.items() if what not in never}


def recipe_and_budget(
    name: str,
    settings: list[str] | None,
    budget: float | None,
    auxiliary: list[str] | None = None,
    apart_from: Sequence[str] = (),
) -> "tuple[Recipe, dict[str, Any], float | None]":
    """Return the recipe with the changes, these, and the budget in place of its own; `none` takes that away, too.

    Of folders of auxiliary objects, what is also trained or tested on by its name is left out.
    """
    from ..data.auxiliary import auxiliary_sources
    from ..finetune.overrides import override
    from ..finetune.recipes import get_recipe

    changes: dict[str, Any] = parse_settings(settings or [])
    if auxiliary:
        changes["auxiliary_objects"] = auxiliary_sources(auxiliary, apart_from)
    unlimited = budget is not None and math.isinf(budget)
    if unlimited:
        changes["time_budget_s"] = None
    return override(get_recipe(name), changes), changes, None if unlimited else budget


@app.command(
    short_help="Finetune on one object, prove on others what it is worth.",
    epilog=examples(
        "equiview improve --backbone facebook/dinov2-base --train-object mug.glb \\",
        "    --test-objects cup.glb drill.glb shoe.glb lamp.glb car.glb --out runs/mug",
        "equiview improve --backbone equiview/tiny --train-object builtin:camera \\",
        "    --test-objects builtin:mug builtin:teapot --recipe one-step --out runs/quick",
        "equiview improve --backbone facebook/dinov2-base --recipe general --auxiliary objaverse/glbs \\",
        "    --test-objects cup.glb drill.glb shoe.glb lamp.glb car.glb --out runs/general",
    ),
)
@command
def improve(
    backbone: options.Backbone,
    test_objects: Annotated[
        list[str],
        typer.Option(
            "--test-objects",
            metavar="X...",
            help="Objects to prove it on, not trained on; five or more give intervals.",
        ),
    ],
    out: options.Out,
    train_objects: TrainObjects = None,
    auxiliary: Auxiliary = None,
    recipe: options.Recipe = "default",
    features: options.RecipeFeatures = None,
    settings: options.Set = None,
    views: options.Views = 12,
    points: options.Points = 300,
    budget: options.Budget = None,
    photos: options.Photos = None,
    dtype: options.WeightsDtype = "float32",
    device: options.Device = "auto",
    engine: options.Engine = "local",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Finetune on one object (or several) and prove on others what it is worth.

    Renders, measures, measures the controls, finetunes, measures again, and writes summary.json, an adapter and a page.
    """
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import quiet_transformers, resolve_device
    from ..jobs.finetune import ImproveConfig
    from ..jobs.improve import improve as run

    quiet_transformers()
    own, where = train_objects or [], parse_engine(engine)
    chosen, changes, budget_s = recipe_and_budget(recipe, settings, budget, auxiliary, [*own, *test_objects])
    config = ImproveConfig(
        recipe=chosen,
        views=views,
        points=points,
        photos=None if photos is None else str(photos),
        budget_s=budget_s,
        device=resolve_device(device),
        dtype=dtype,
        seed=seed,
        features=features,
        changes=changes,
    )
    with StageProgress(shares_of(WEIGHTS, config.recipe)) as progress:
        summary = run(backbone, own, test_objects, out, config, progress, where)
    show_run("improve", summary, out, json)


def show_run(name: str, summary: "ImproveSummary", out: Path, as_json: bool, after: str | None = None) -> None:
    """Write the page of a finished run and say what came out, and what to do after it."""
    from rich.text import Text

    from ..report import read_run, run_tables, summarize_run, write_report

    page = write_report(out)
    words = summarize_run(read_run(out))
    notes = [Text.assemble(("Note: ", "bold yellow"), str(note)) for note in summary["protocol"].get("notes", [])]
    told = Text.assemble((f"{words.label}. ", "bold"), " ".join(words.sentences))
    result = {"command": name, "verdict": words.label, "sentences": words.sentences, "summary": summary}
    finish(result, [page, out / "summary.json", out / "adapter"], as_json, *run_tables(out), told, *notes, after)
