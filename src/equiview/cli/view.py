"""`equiview view`."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ..errors import bad_input
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features


@app.command(
    short_help="Open a run's page, or make a page to click on of any pictures.",
    epilog=examples(
        "equiview view runs/mug",
        "equiview view a.jpg b.jpg c.jpg --out runs/look",
        "equiview view a.jpg b.jpg --backbone facebook/dinov2-base --adapter runs/mug --out runs/look",
    ),
)
@command
@with_features(backbone="equiview/tiny", without=("random_weights",))
def view(
    features: FeatureOptions,
    paths: Annotated[list[Path], typer.Argument(metavar="RUN or A B ...", help="A run folder, or 1 to 12 pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page of pictures.")] = Path("equiview-view"),
    no_open: Annotated[bool, typer.Option("--no-open", help="Write the page and say where, open nothing.")] = False,
    json: options.Json = False,
) -> None:
    """Open a run's page, or make one of any pictures: click a point and see where its features are found elsewhere."""
    from ..jobs.view import pictures_page, run_page

    if any(path.is_dir() for path in paths):
        if len(paths) > 1:
            fix = "Give the folder alone, or the pictures by name."
            raise bad_input("view", "one run folder, or pictures", f"{len(paths)} paths with a folder among them", fix)
        page, words = run_page(paths[0])
    else:
        page, words = pictures_page(paths, features, out)
    opened = not no_open and webbrowser.open(page.resolve().as_uri())
    shown = words if opened or no_open else [*words, "No browser was found: open the page yourself."]
    finish({"command": "view", "opened": opened, "words": words}, [page], json, "\n".join(shown) or None)
