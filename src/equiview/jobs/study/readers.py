"""What a study can be made of, by name: run folders, study files, public boards, published tables."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import bad_input
from .omniprobe import read_omniprobe
from .paper import read_paper
from .points import PointSet, merge, read_points
from .run_folders import read_folders

# A source is NAME or NAME:FILE; anything else is a path.
IMPORTERS: dict[str, Callable[[str], PointSet]] = {
    "paper": read_paper,
    "omniprobe": lambda path: read_omniprobe(Path(path)),
    "points": lambda path: read_points(Path(path)),
}
WITHOUT_FILE = ("paper",)


def read_results(sources: Sequence[str]) -> PointSet:
    """Read everything a study is asked to put together.

    Args:
        sources: Run folders (joined where their features are the same), study files, `omniprobe:FILE`, `paper`.

    Raises:
        EquiviewError: One is not there or is something else, or two points have the same name.
    """
    sets, folders = [], []
    for source in sources:
        kind, _, path = source.partition(":")
        if kind in IMPORTERS and bool(path) != (kind in WITHOUT_FILE):
            sets.append(IMPORTERS[kind](path))
        elif Path(source).is_dir():
            folders.append(Path(source))
        elif Path(source).is_file():
            sets.append(read_points(Path(source)))
        else:
            known = ", ".join(name if name in WITHOUT_FILE else f"{name}:FILE" for name in IMPORTERS)
            expected = f"a run folder, a study file, or one of {known}"
            raise bad_input(source, expected, "nothing of that name", "Check the path.")
    sets += [read_folders(folders)] if folders else []
    return merge(sets)
