"""`equiview compare`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish


@app.command(
    short_help="Compare two finished runs: paired differences with intervals.",
    epilog=examples(
        "equiview compare runs/pretrained runs/adapted",
        "equiview compare runs/a runs/b --unit clip --json",
    ),
)
@command
def compare(
    run1: Annotated[Path, typer.Argument(metavar="RUN1", help="Folder of a finished run.")],
    run2: Annotated[Path, typer.Argument(metavar="RUN2", help="Another of its kind; differences are RUN2 - RUN1.")],
    variant: Annotated[str, typer.Option(help="Which variant of runs of improve.")] = "adapted",
    unit: Annotated[
        str | None,
        typer.Option(help="What the interval is over: object, clip, pair ...; the coarsest there is if left out."),
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare although the protocols differ.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the result to this file too (JSON).")] = None,
    json: options.Json = False,
) -> None:
    """Compare two finished runs of one kind, sample by sample: second minus first, with 95 % intervals."""
    from ..io import write_json
    from ..jobs.compare import compare_runs
    from ..report.table import comparison_notes, comparison_table

    comparison = compare_runs(run1, run2, variant=variant, unit=unit, anyway=anyway)
    result = {"command": "compare", **comparison}
    if out is not None:
        write_json(out, result)
    finish(result, [] if out is None else [out], json, comparison_table(comparison), *comparison_notes(comparison))
