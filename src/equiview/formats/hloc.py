"""hloc's files: feats.h5 and matches.h5 as its own extractors and matchers write them (extra `hloc`: h5py).

feats.h5     NAME/keypoints [n, 2], NAME/descriptors [c, n], NAME/scores [n], NAME/image_size [2] (width, height)
matches.h5   NAME0/NAME1/matches0 [n0] (-1: none), NAME0/NAME1/matching_scores0 [n0]; a slash in a name becomes a dash

hloc's pixels have the centre of the first pixel at (0, 0); it adds 0.5 itself where it hands them to COLMAP. Source:
github.com/cvg/Hierarchical-Localization, `extract_features.py`, `match_features.py`, `utils/parsers.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float

from ..errors import bad_input
from ..io import atomic_path
from .keypoints import IndexedPair, Pair


def import_h5py() -> ModuleType:
    """Return h5py.

    Raises:
        EquiviewError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise bad_input("hloc's files", "h5py", "none", "pip install 'equiview[hloc]'.") from error
    return h5py


@dataclass(frozen=True)
class PictureFeatures:
    """What feats.h5 holds of a picture.

    Attributes:
        xy: Pixels, corner origin.
        descriptors: Of unit length.
        image_hw: Height and width, pixels.
        uncertainty_px: Of the places.
    """

    xy: Float[np.ndarray, "n 2"]
    descriptors: Float[np.ndarray, "n c"]
    image_hw: tuple[int, int]
    uncertainty_px: float


def write_features_h5(path: Path, features: Iterable[tuple[str, PictureFeatures]]) -> None:
    """Write feats.h5, half precision where hloc has it (`as_half`); one picture in memory at a time.

    Raises:
        EquiviewError: h5py is not installed, or the disk refuses.
    """
    h5py = import_h5py()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, one in features:
            group = file.create_group(name)
            keypoints = group.create_dataset("keypoints", data=(one.xy - 0.5).astype(np.float32))
            keypoints.attrs["uncertainty"] = one.uncertainty_px
            group.create_dataset("descriptors", data=one.descriptors.T.astype(np.float16))
            group.create_dataset("scores", data=np.ones(len(one.xy), np.float16))
            group.create_dataset("image_size", data=np.array(one.image_hw[::-1]))


def write_matches_h5(path: Path, pairs: Mapping[Pair, IndexedPair], counts: Mapping[str, int]) -> None:
    """Write matches.h5.

    Args:
        path: Of the file.
        pairs: Matches by the names of two pictures.
        counts: Key points of each picture.

    Raises:
        EquiviewError: h5py is not installed, or the disk refuses.
    """
    h5py = import_h5py()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for (first, second), pair in pairs.items():
            matches = np.full(counts[first], -1, np.int16 if counts[second] < 2**15 else np.int32)
            scores = np.zeros(counts[first], np.float16)
            matches[pair.index[:, 0]] = pair.index[:, 1]
            scores[pair.index[:, 0]] = pair.score
            group = file.create_group(pair_name(first, second))
            group.create_dataset("matches0", data=matches)
            group.create_dataset("matching_scores0", data=scores)


def pair_name(first: str, second: str) -> str:
    """Return hloc's name of a pair of pictures."""
    return "/".join(name.replace("/", "-") for name in (first, second))
