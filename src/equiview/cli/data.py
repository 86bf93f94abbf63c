"""`equiview data`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options
from .app import app
from .common import command, examples, finish


@app.command(
    short_help="Say which data sets there are, how to get one, and whether it can be read.",
    epilog=examples(
        "equiview data list",
        "equiview data list --root data",
        "equiview data how navi",
        "equiview data check navi --root data",
    ),
)
@command
def data(
    action: Annotated[
        Literal["list", "how", "check"], typer.Argument(help="list them, say how to get one, check one that is there.")
    ],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of a data set, with how and check.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of data sets, looked into three levels deep.")] = None,
    json: options.Json = False,
) -> None:
    """Data sets: what each is, its terms, where to get it, how it must lie, and a check of what is there.

    Directions only, nothing is downloaded. A check opens the set and reads ten samples with the loader of the bench.
    """
    from ..errors import bad_input
    from ..jobs.data import check, how, list_sets
    from ..report.terminal import data_table, data_words

    if (name is None) != (action == "list"):
        expected = "no name" if action == "list" else "the name of a data set"
        raise bad_input(f"equiview data {action}", expected, repr(name), "equiview data list names them.")
    if action == "list":
        sets = list_sets(root)
        finish({"command": "data", "sets": sets}, [], json, data_table(sets))
    elif action == "how":
        directions = how(name or "")
        finish({"command": "data", **directions}, [], json, data_words(directions))
    elif root is None:
        raise bad_input("equiview data check", "--root FOLDER", "none", "Say where the data sets lie.")
    else:
        found = check(name or "", root)
        finish({"command": "data", **found}, [], json, data_words(found))
