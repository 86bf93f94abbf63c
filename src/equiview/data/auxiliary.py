"""Objects to learn from beside one's own, from folders of them: Objaverse, Google Scanned Objects, YCB, one's own."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import bad_input
from ..io import MESH_SUFFIXES
from .names import is_made, split_source
from .object_lists import meshes_below
from .open import Kind, folder_kind

log = logging.getLogger(__name__)

MOST = 64
"""Meshes learned from of a folder of them: 31 scanned objects taught no more than 10, and 32 made ones as much."""


def auxiliary_sources(given: Sequence[str], apart_from: Sequence[str] = (), most: int = MOST) -> tuple[str, ...]:
    """Return the objects that some sources stand for: a folder of meshes stands for the meshes in and below it.

    Args:
        given: Folders of meshes, or what `open_source` takes.
        apart_from: Files of a folder that are left out: they are trained or tested on.
        most: Meshes of a folder; of a larger one so many are drawn, the same ones each time.

    Raises:
        EquiviewError: A folder holds nothing else, or nothing that can be learned from.
    """
    others = {split_source(one).path.resolve() for one in apart_from if not is_made(one)}
    return tuple(dict.fromkeys(one for source in given for one in _objects_of(source, others, most)))


def _objects_of(source: str, others: set[Path], most: int) -> list[str]:
    folder = Path(source)
    if is_made(source) or not folder.is_dir():
        return [source]
    kind = folder_kind(folder)
    if kind in (Kind.VIEWS, Kind.CAPTURE):
        return [source]
    meshes = meshes_below(folder)
    # Textures beside meshes are pictures, too.
    if not meshes and kind is Kind.PICTURES:
        return [source]
    if not meshes:
        expected = f"meshes ({', '.join(MESH_SUFFIXES)}) in it or below it, a capture, or photos"
        raise bad_input(source, expected, "none of them", "Give the folder that holds them.")
    there = len(meshes)
    meshes = [path for path in meshes if path.resolve() not in others]
    if len(meshes) < there:
        log.info("%s: left out %d that this run trains or tests on", source, there - len(meshes))
    if not meshes:
        found, fix = f"only {there} that are trained or tested on", "Give a folder with other meshes."
        raise bad_input(source, "meshes to learn from besides", found, fix)
    if len(meshes) <= most:
        return list(map(str, meshes))
    log.info("%s: using %d of %d meshes", source, most, len(meshes))
    drawn = np.random.default_rng(0).choice(len(meshes), most, replace=False)
    return [str(meshes[number]) for number in sorted(drawn)]
