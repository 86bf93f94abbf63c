"""The typer application, and what is done to the arguments before it sees them."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .common import SETTINGS, examples, setup_logging

GLOBAL_FLAGS = ("--quiet", "-q", "--verbose", "-v", "--debug")
LIST_OPTIONS = (
    *("--objects", "--train-objects", "--train-object", "--test-objects", "--remeasure", "--set", "--points"),
    *("--x", "--y", "--strengths"),
)

ORDER = (
    *("demo", "doctor", "capture", "render", "measure", "choose", "finetune", "improve", "retain", "export", "push"),
    *(
        "match",
        "features",
        "view",
        "epipolar",
        "transfer",
        "track",
        "pose",
        "bench",
        "data",
        "compare",
        "merge",
        "study",
        "report",
    ),
)


class Ordered(TyperGroup):
    """Lists the commands in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in that order."""
        return [name for name in ORDER if name in self.commands]


app = typer.Typer(
    name="equiview",
    help="Measure how well a Vision Transformer's features agree between views of the same 3D point, and improve them.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    cls=Ordered,
    epilog=examples(
        "equiview demo",
        "equiview improve --backbone facebook/dinov2-base --train-object mug.glb \\",
        "    --test-objects cup.glb drill.glb shoe.glb lamp.glb car.glb --out runs/mug",
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__
        from ..version import version_words

        typer.echo(f"equiview {version_words(__version__)}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version, with its commit, and stop.", is_eager=True, callback=_version
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only; no progress bars.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what happens.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    SETTINGS.quiet = quiet
    SETTINGS.verbose = verbose
    SETTINGS.debug = debug
    setup_logging()


def to_front(arguments: Sequence[str]) -> list[str]:
    """Move the flags that belong to every command before the command, so that they may stand anywhere."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    flags = [a for a in arguments[:end] if a in GLOBAL_FLAGS]
    return flags + [a for a in arguments[:end] if a not in GLOBAL_FLAGS] + list(arguments[end:])


def spread_lists(arguments: Sequence[str]) -> list[str]:
    """Turn `--objects a b c` into `--objects a --objects b --objects c`.

    Arguments of a command (the pictures of `transfer`, the clip of `track`) come before its `--points`; the other
    commands with such an option take none, so nothing can be swallowed.
    """
    spread: list[str] = []
    option, count = None, 0
    for argument in arguments:
        if argument in LIST_OPTIONS:
            option, count = argument, 0
            spread.append(argument)
        elif option and not argument.startswith("-"):
            spread += [argument] if count == 0 else [option, argument]
            count += 1
        else:
            option = None
            spread.append(argument)
    return spread
