"""How much of anything is read or asked for, in one place: a slip of the finger is a message, not a machine that swaps.

The limits are far above what anybody has been seen to need; a number that is larger is more likely a mistake, or a file
that was made to do harm.
"""

from contextlib import suppress
from pathlib import Path

from .errors import bad_input

MAX_PIXELS = 2**27
"""Of a picture that is read: 134 million, such as 16384 x 8192; about 1 GB while it is decoded."""
MAX_SIDE = 8192
"""Pixels along a side of a picture that is drawn, or that features are extracted from."""
MAX_VIEWS, MAX_POINTS, MAX_FRAMES, MAX_PAIRS = 10_000, 1_000_000, 100_000, 10_000_000
MOST_AUXILIARY = 64
"""Meshes learned from of a folder of them: 31 scanned objects taught no more than 10, and 32 made ones as much."""
MAX_SETTING = 1_000_000
"""Of any number in `--set`."""
MAX_BATCH, MAX_WINDOW = 1024, 1001
"""Pairs in one forward pass; frames of a running median."""
MAX_VALUE = 1e12
"""Of a coordinate, a focal length or a coefficient in a file, whatever its unit: what is larger overflows when squared
a few times, and means nothing."""
PICKLE_GROWTH = 8
"""How many times as large as its file the content of a pickle may be, written out in full."""

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Return how many bytes this process can still get; None where the system does not say."""
    found = []
    with suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # A container has less than its machine; "max" where it is not limited.
        found.append(int((_CGROUP / "memory.max").read_text()) - int((_CGROUP / "memory.current").read_text()))
    return min(found, default=None)


def require_memory(what: str, n_bytes: int, fix: str) -> None:
    """Check an estimate before anything is allocated.

    Raises:
        EquiviewError: It is more than the machine has left.
    """
    free = free_memory()
    if free is not None and n_bytes > free:
        needed, left = (f"{amount / 2**30:.1f} GiB" for amount in (n_bytes, max(free, 0)))
        raise bad_input(what, f"{needed} of free memory", left, fix)


def require_at_most(what: str, value: float, limit: float) -> None:
    """Check a number that is given against its limit.

    Raises:
        EquiviewError: It is larger.
    """
    if value > limit:
        raise bad_input(what, f"at most {limit:,}", f"{value:,}", "Choose a smaller one.")
