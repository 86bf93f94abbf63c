"""The command line: thin commands over the Python functions, nothing heavy imported before it is needed."""

import sys

from .app import app, spread_lists, to_front

__all__ = ["app", "main"]


def main() -> None:
    """Run `equiview` with the arguments of this process."""
    # Each registers its commands.
    from . import (  # noqa: F401
        bench,
        capture,
        choose,
        compare,
        data,
        demo,
        doctor,
        epipolar,
        export,
        features,
        finetune,
        improve,
        match,
        measure,
        merge,
        pose,
        protocols,
        push,
        render,
        report,
        retention,
        study,
        track,
        transfer,
        view,
    )

    app(spread_lists(to_front(sys.argv[1:])), prog_name="equiview")
