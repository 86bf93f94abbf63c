"""A name among those there are, or an error that lists them."""

import difflib
from typing import Any

from ..errors import bad_input


def check_one_of(what: str, value: str, known: Any) -> None:
    """Raise for a name that does not exist; the message lists those that do, and the nearest one.

    Raises:
        EquiviewError: The name is not in `known`.
    """
    if value not in known:
        near = difflib.get_close_matches(str(value), list(known), 1, 0.5)
        fix = f"Do you mean {near[0]}?" if near else "Names are case-sensitive."
        raise bad_input(what, f"one of {', '.join(known)}", repr(value), fix)
