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
    from ..report import read_run, run_tables, summarize_run, write_report
    from ..report.bench import bench_table, is_bench, missing_words, read_bench, write_bench_report

    if is_bench(run):
        measured = read_bench(run)
        result = {"command": "report", "summary": measured}
        shown = (bench_table(measured), missing_words(measured) or None)
        finish(result, [write_bench_report(run, out)], json, *shown)
        return
    page = write_report(run, out)
    summary = summarize_run(read_run(run))
    result = {"command": "report", "verdict": summary.label, "sentences": summary.sentences}
    finish(result, [page], json, " ".join(summary.sentences), *run_tables(run))
