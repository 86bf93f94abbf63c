"""`equiview export`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .app import app
from .common import command, examples, finish, quiet_transformers, resolve_device
from .progress import StageProgress

if TYPE_CHECKING:
    from ..models.extractor import Extractor


@app.command(
    short_help="Write a transformers folder with the adapter merged.",
    epilog=examples(
        "equiview export --backbone facebook/dinov2-base --adapter runs/mug --out mug-model --remeasure cup.glb",
        "",
        "and then, without equiview:",
        "",
        'AutoModel.from_pretrained("mug-model", trust_remote_code=True)',
    ),
)
@command
def export(
    backbone: options.Backbone,
    adapter: Annotated[Path, typer.Option(help="Adapter folder, or the run folder of improve.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; an older export there is replaced.")],
    strength: options.Strength = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="The merged backbone alone; refused when the gain is in the head.")
    ] = False,
    remeasure: Annotated[
        list[str] | None,
        typer.Option(metavar="X...", help="Objects to measure before and after on; the scores must agree."),
    ] = None,
    views: options.Views = 6,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write a transformers folder with the adapter merged, which loads without equiview."""
    from ..models.export import export as write
    from ..models.export import open_export
    from ..models.loading import load

    quiet_transformers()
    place = resolve_device(device)
    model = load(backbone, adapter=adapter, strength=strength, device=place)
    write(model, out, plain=plain)
    result: dict[str, Any] = {"command": "export", "plain": plain}
    words = None
    if remeasure:
        features: dict[str, Any] = {
            "blocks": model.config.blocks,
            "norm": model.config.norm,
            "long_side": model.config.long_side,
        }
        again = open_export(out, device=place, **(features if plain else {}))
        result["remeasured"] = compare_scores(model, again, remeasure, views, seed)
        words = "Measured again after reloading: " + ", ".join(
            f"{name} {a:.2f} -> {b:.2f}" for name, (a, b) in result["remeasured"].items()
        )
    finish(result, [out], json, words)


def compare_scores(
    model: "Extractor", again: "Extractor", objects: list[str], views: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Measure both on the same views.

    Returns:
        Score of the model in memory and of the reloaded export, by metric.

    Raises:
        EquiviewError: They differ by more than a tenth of a point.
    """
    from ..errors import EquiviewError
    from ..jobs.run_folder import check_names, open_objects
    from ..metrics.equivariance import METRIC_NAMES
    from ..tasks.equivariance import MeasureConfig, measure, summarize

    check_names(objects, "--remeasure")
    with tempfile.TemporaryDirectory(prefix="equiview-") as cache, StageProgress() as progress:
        opened = open_objects(objects, views, seed, Path(cache), progress)
        both = []
        for number, source in enumerate((model, again)):
            progress("measure", number, 2)
            both.append(summarize(measure(source, opened, MeasureConfig(points=300, seed=seed)), {})["metrics"])
        progress("measure", 2, 2)
    scores = {name: (both[0][name]["value"], both[1][name]["value"]) for name in METRIC_NAMES}
    apart = [f"{name} {a:.3f} and {b:.3f}" for name, (a, b) in scores.items() if abs(a - b) > 0.1]
    if apart:
        raise EquiviewError(
            f"the reloaded export does not score what the model does: {', '.join(apart)}. Do not use it."
        )
    return scores
