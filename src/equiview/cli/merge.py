"""`equiview merge`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish


@app.command(
    short_help="Put the shards of a run together.",
    epilog=examples(
        "equiview measure --objects objaverse/10k.txt -b facebook/dinov2-base --shard 1/2 --out runs/part-1",
        "equiview measure --objects objaverse/10k.txt -b facebook/dinov2-base --shard 2/2 --out runs/part-2",
        "equiview merge runs/part-1 runs/part-2 --out runs/objaverse",
    ),
)
@command
def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folder of every shard, in any order.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the whole run.")],
    json: options.Json = False,
) -> None:
    """Put the folders of all shards of a run together: rows and summaries are those of a run in one process."""
    from ..jobs.merge import merge as put_together
    from ..report.terminal import scores_words

    name, summary = put_together(runs, out)
    wrote = [out / "summary.json", out / "rows.jsonl"]
    if name == "measure":
        from ..report import write_report

        wrote.insert(0, write_report(out))
    result = {"command": "merge", "merged": name, "summary": summary}
    finish(result, wrote, json, scores_words(summary))
