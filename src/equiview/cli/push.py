"""`equiview push`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish


@app.command(
    short_help="Put an adapter or an export on the Hugging Face hub, with a model card.",
    epilog=examples(
        "equiview push runs/mug me/mug-adapter --license apache-2.0",
        "equiview push runs/mug me/mug-adapter --to look-first",
        "equiview push mug-model me/mug-model --run runs/mug",
        "",
        "and then, anywhere:",
        "",
        "equiview measure --backbone facebook/dinov2-base --adapter me/mug-adapter --objects cup.glb --out runs/cup",
    ),
)
@command
def push(
    folder: Annotated[Path, typer.Argument(help="Run folder of improve or finetune, adapter folder, or an export.")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME; made where it is new.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Run of improve whose scores the card shows; the pushed run folder itself if left out."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Of the hub's list, such as apache-2.0; the base model's terms if left out."),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Hub name of the backbone, where it was loaded from a folder.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "Push from equiview",
    to: Annotated[
        Path | None,
        typer.Option(help="Write what would be pushed to this new folder, and push nothing; needs no network."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Put an adapter or an export on the Hugging Face hub, with a model card made from its run."""
    from ..jobs.feature_options import quiet_transformers
    from ..jobs.push import PushConfig, push_folder

    quiet_transformers()
    made = push_folder(folder, repo, PushConfig(run, licence, base_model, private, message), to)
    result = {"command": "push", "repo": repo} | ({"commit": made[0]} if to is None else {})
    said = None if to is not None else f"Pushed to {repo}: {made[0]}"
    finish(result, [] if to is None else map(Path, made), json, said)
