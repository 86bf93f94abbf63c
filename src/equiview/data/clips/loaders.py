"""Every set of clips with true tracks by a name a user can type: `badja:FOLDER`."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ...errors import bad_input
from ...types import Clip
from .badja import open_badja
from .dinotracker import open_dinotracker
from .tapvid import open_tapvid


def _dinotracker(folder: Path) -> Iterable[Clip]:
    pickles = sorted(folder.glob("*.pkl"))
    if len(pickles) != 1:
        found = ", ".join(one.name for one in pickles[:5]) or "none"
        raise bad_input(str(folder), "one benchmark pickle beside the folders of frames", found, "Put it there.")
    return open_dinotracker(folder, pickles[0])


ANNOTATED = "@annotated="
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def _badja(path: Path) -> Iterable[Clip]:
    """Open BADJA; FOLDER@annotated=1280x720 says the size of the pictures the joints were marked in."""
    folder, at, size = str(path).rpartition(ANNOTATED)
    if not at or path.exists():
        return open_badja(path)
    found = _SIZE.fullmatch(size)
    if found is None:
        expected = f"{ANNOTATED}WIDTHxHEIGHT in pixels"
        raise bad_input(str(path), expected, repr(size[:40]), f"Write {ANNOTATED}1920x1080.")
    return open_badja(Path(folder), (int(found[2]), int(found[1])))


CLIP_SETS: dict[str, Callable[[Path], Iterable[Clip]]] = {
    "badja": _badja,
    "tapvid": open_tapvid,
    "dinotracker": _dinotracker,
}
# Which points are followed where the set says so itself; see `metrics.tapvid.QueryMode`.
OWN_QUERIES = {"badja": "first_annotated", "dinotracker": "strided"}


def open_clip_set(spec: str, what: str) -> tuple[str, list[Clip]]:
    """Open NAME:PATH.

    Args:
        spec: The name and the path; of BADJA perhaps with the size its joints were marked in, `@annotated=1280x720`.
        what: The option it was given with, for the message.

    Returns:
        The name, and the clips.

    Raises:
        EquiviewError: The name is unknown, or the data set cannot be read.
    """
    name, _, path = spec.partition(":")
    if name not in CLIP_SETS or not path:
        expected = "badja:FOLDER or tapvid:FILE or dinotracker:FOLDER"
        raise bad_input(what, expected, repr(spec), "Check the spelling.")
    return name, list(CLIP_SETS[name](Path(path)))
