"""`equiview protocols`."""

from rich.console import Group

from . import options
from .app import app
from .common import command, examples, finish


@app.command(
    short_help="List published protocols with the numbers their authors report.",
    epilog=examples(
        "equiview protocols",
        "equiview bench --suite real --root data --protocol paper -b facebook/dinov2-base --out runs/parity",
    ),
)
@command
def protocols(
    json: options.Json = False,
) -> None:
    """Published protocols: settings, what differs here, and scores by backbone with their source.

    `equiview bench --protocol NAME` measures with one, and prints each score as value (published value, difference).
    """
    from ..jobs.protocols import list_protocols
    from ..report.terminal import protocol_table, protocols_words

    listed = list_protocols()
    tables = Group(*(protocol_table(one) for one in listed if one["published"]))
    finish({"command": "protocols", "protocols": listed}, [], json, protocols_words(listed), tables)
