"""The command line: thin commands over the Python functions, nothing heavy imported before it is needed."""

import sys

from .app import app, spread_lists, to_front

__all__ = ["app", "main"]


def main() -> None:
    """Run `equiview` with the arguments of this process."""
    from . import bench, compare, doctor, export, finetune, improve, measure  # noqa: F401  (each registers its commands)
    from . import pose, render, report, study, track, transfer  # noqa: F401

    app(spread_lists(to_front(sys.argv[1:])), prog_name="equiview")
