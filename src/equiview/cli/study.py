"""`equiview study`."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .app import app
from .common import command, examples, finish
from .progress import StageProgress


@app.command(
    short_help="Relate equivariance and task scores over many results.",
    epilog=examples(
        "equiview study runs/measure-* runs/bench-* --out runs/study",
        "equiview study paper --out runs/paper",
        "equiview study omniprobe:omniprobe_leaderboard.json --out runs/omniprobe \\",
        "    --x navi/recall@0.02m --y tracking/delta_avg soco/soc",
        "equiview study points.json --out runs/blocks --x ape pcdp@0.05 --y pose track transfer \\",
        "    --only state=pretrained",
    ),
)
@command
def study(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...",
            help="Run folders of measure and bench (joined where the features are the same), study files (JSON), "
            "omniprobe:FILE, paper.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for study.html, study.json and points.json.")],
    x: Annotated[
        list[str] | None,
        typer.Option(
            "--x",
            metavar="SCORE...",
            help="Scores on one side: a name, whole parts of one (ape, pose/middlebury), or a pattern with *. The "
            "equivariance scores if left out.",
        ),
    ] = None,
    y: Annotated[
        list[str] | None,
        typer.Option("--y", metavar="SCORE...", help="On the other side; one score of each task if left out."),
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="What is drawn as a whole: family, or a tag of the points (backbone).")
    ] = "family",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="TAG=VALUE", help="Only points with this tag; may repeat.")
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Relate scores over many results: correlations, within families too, with intervals and a plain reading."""
    from ..errors import bad_input
    from ..io import write_json
    from ..jobs.study.points import only as only_points
    from ..jobs.study.points import write_points
    from ..jobs.study.readers import read_results
    from ..jobs.study.run import study as run_study
    from ..report.study import study_table, write_study_page

    if out.is_file():
        raise bad_input(str(out), "a folder to write to, or nothing yet", "a file", "Choose another --out.")
    points = read_results(results)
    for tag in only or []:
        name, equals, value = tag.partition("=")
        if not equals or not name:
            raise bad_input("--only", "TAG=VALUE, such as state=pretrained", repr(tag), "Write it so.")
        points = only_points(points, {name: value})
    with StageProgress({"study": 1.0}) as progress:
        record = run_study(points, x or (), y or (), cluster=cluster, seed=seed, progress=progress)
    result = {"command": "study", **record}
    files = [out / name for name in ("study.html", "study.json", "points.json")]
    write_study_page(record, points, files[0])
    write_json(files[1], result)
    write_points(files[2], points)
    finish(result, files, json, study_table(record), "\n".join(["", *record["lead"], "", *record["notes"]]))
