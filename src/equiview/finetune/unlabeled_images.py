"""Unlabeled images, which show what a backbone tells apart in general: photos of a folder, or drawn ones."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ..data.synthetic.dead_leaves import dead_leaves
from ..errors import bad_input
from ..io import read_image, visible

IMAGES = 60
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def photo_files(photos: Path) -> list[Path]:
    """Return the photos of a folder, sorted by name.

    Raises:
        EquiviewError: There is none.
    """
    files = sorted(p for p in visible(Path(photos)) if p.suffix.lower() in PHOTO_SUFFIXES)
    if not files:
        raise bad_input(str(photos), "a folder with photos (.jpg, .png)", "none", "Leave --photos out to do without.")
    return files


def unlabeled_images(photos: Path | None, seed: int = 0, count: int | None = None) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Return images that show what a backbone tells apart in general.

    Args:
        photos: A folder of photos (60 are drawn from it); None draws dead-leaves images instead.
        seed: Which photos, or which drawings.
        count: Only the first so many of the 60.

    Raises:
        EquiviewError: The folder holds no photo.
    """
    if photos is None:
        return [_drawn(seed * IMAGES + number) for number in range(IMAGES)[:count]]
    files = photo_files(photos)
    chosen = np.random.default_rng([seed, 60]).permutation(len(files))[:IMAGES]
    return [read_image(files[number]) for number in sorted(chosen)[:count]]


@lru_cache(maxsize=IMAGES)
def _drawn(number: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one picture, or return it again: the stages of a recipe ask for the same ones."""
    return dead_leaves(number)
