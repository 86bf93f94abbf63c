"""`equiview doctor`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .app import app
from .common import EXIT_ERROR, command, examples, finish, quiet_transformers

if TYPE_CHECKING:
    from rich.table import Table

    from ..jobs.doctor import Finding

COLORS = {"ok": "green", "missing": "yellow", "broken": "bold red"}


@app.command(
    short_help="Check the installation; say what each missing part would enable.",
    epilog=examples(
        "equiview doctor",
        "equiview doctor --out /data/runs --json",
    ),
)
@command
def doctor(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder where results would be written.")] = Path(),
    json: options.Json = False,
) -> None:
    """Check versions, backbone, renderer, GPU, hub, cache and disk. Exit code 2 when something needed is broken."""
    from ..jobs.doctor import examine

    quiet_transformers()
    findings = examine(out)
    broken = [one.part for one in findings if one.status == "broken"]
    verdict = f"Broken: {', '.join(broken)}." if broken else "Everything that equiview needs is here."
    result = {"command": "doctor", "broken": broken, "findings": [asdict(one) for one in findings]}
    finish(result, [], json, table(findings), verdict)
    if broken:
        raise typer.Exit(EXIT_ERROR)


def table(findings: "list[Finding]") -> "Table":
    """Return the findings as a table: what is there, and below it what it would take."""
    from rich.table import Table
    from rich.text import Text

    rows = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for one in findings:
        words = Text(one.found)
        if one.advice:
            words.append(f"\n{one.advice}", style="dim")
        rows.add_row(Text(one.status, style=COLORS[one.status]), one.part, words)
    return rows
