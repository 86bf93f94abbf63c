"""Work for the tests of engines; other processes import it, so it needs little."""

import os
import signal
from pathlib import Path
from typing import Any

from equiview.errors import bad_input


def square(number: int) -> int:
    return number * number


def rows_of(number: int) -> list[dict[str, Any]]:
    return [{"number": number, "third": number / 3}]


def killed_once(marker: Path, number: int) -> list[dict[str, Any]]:
    """Kill the process that works on unit 2, as a system without memory does; the next one gets through."""
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(number)


def always_killed(number: int) -> list[dict[str, Any]]:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(number)


def refuses(number: int) -> int:
    raise bad_input(f"unit {number}", "one that works", "this one", "Take another.")
