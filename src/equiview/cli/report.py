"""`equiview report`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish


@app.command(
    short_help="Write a finished run's page again.",
    epilog=examples(
        "equiview report runs/mug",
        "equiview report runs/mug --out mug.html",
    ),
)
@command
def report(
    run: Annotated[Path, typer.Argument(help="Folder written by improve, demo, measure or bench.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page to write; RUN/report.html if left out.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Write the page of a finished run again, from its files alone."""
    from ..jobs.report import write_page

    page, result, shown = write_page(run, out)
    finish({"command": "report", **result}, [page], json, *shown)
