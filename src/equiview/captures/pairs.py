"""What the loaders of key-point pairs share."""

from collections.abc import Iterable
from pathlib import Path

from ..errors import bad_input
from ..io import require_file
from ..types import KeypointPair


def require_folder(folder: Path, what: str) -> Path:
    """Return the folder.

    Raises:
        EquiviewError: It is missing or a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise bad_input(str(folder), what, found, "Check the path.")
    return folder


def require_pictures(pairs: Iterable[KeypointPair]) -> None:
    """Check that every picture file is there, before the long work begins.

    Raises:
        EquiviewError: Names the first that is missing.
    """
    paths = {image for pair in pairs for image in (pair.image0, pair.image1) if isinstance(image, Path)}
    for path in sorted(paths):
        require_file(path, "a picture named in the pair list")
