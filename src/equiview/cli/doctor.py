"""`equiview doctor`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import EXIT_ERROR, command, examples, finish


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
    from ..jobs.feature_options import quiet_transformers
    from ..report.terminal import findings_table

    quiet_transformers()
    findings = examine(out)
    broken = [one.part for one in findings if one.status == "broken"]
    verdict = f"Broken: {', '.join(broken)}." if broken else "Everything that equiview needs is here."
    result = {"command": "doctor", "broken": broken, "findings": [asdict(one) for one in findings]}
    finish(result, [], json, findings_table(findings), verdict)
    if broken:
        raise typer.Exit(EXIT_ERROR)
