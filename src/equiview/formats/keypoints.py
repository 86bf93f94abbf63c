"""Matches of many pairs of pictures as key points that pairs share: what hloc and COLMAP want.

A match leads from a token's centre to a place between tokens of the other picture. Places of one picture that fall into
one small cell, whichever pair they come from, become one key point; tracks over several pictures arise from that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Pair = tuple[str, str]


@dataclass(frozen=True)
class FoundPair:
    """What two pictures have in common.

    Attributes:
        xy0: Pixels of the first (corner origin).
        xy1: Pixels of the second.
        score: Cosine (-1 to 1).
    """

    xy0: Float[np.ndarray, "n 2"]
    xy1: Float[np.ndarray, "n 2"]
    score: Float[np.ndarray, "n"]


@dataclass(frozen=True)
class IndexedPair:
    """The same as numbers of key points, each at most once.

    Attributes:
        index: Of the first and of the second picture.
        score: Cosine (-1 to 1).
    """

    index: Int[np.ndarray, "m 2"]
    score: Float[np.ndarray, "m"]


@dataclass(frozen=True)
class SharedKeypoints:
    """Key points by picture, and the matches between them by pair.

    Attributes:
        xy: Pixels of each picture, corner origin: (0.5, 0.5) is the centre of the first.
        pairs: By the names of two pictures.
    """

    xy: Mapping[str, Float[np.ndarray, "k 2"]]
    pairs: Mapping[Pair, IndexedPair]


def share_keypoints(found: Mapping[Pair, FoundPair], cell_px: Mapping[str, float]) -> SharedKeypoints:
    """Merge the places of every picture, and number matches by them.

    Args:
        found: By the names of two pictures; a pair occurs once.
        cell_px: Side of a cell by picture; every picture that gets key points is in it.
    """
    places: dict[str, list[np.ndarray]] = {name: [] for name in cell_px}
    for (first, second), pair in found.items():
        places[first].append(pair.xy0)
        places[second].append(pair.xy1)
    xy: dict[str, np.ndarray] = {}
    numbers: dict[str, list[np.ndarray]] = {}
    for name, parts in places.items():
        xy[name], number = _merged(np.concatenate([np.zeros((0, 2)), *parts]), cell_px[name])
        numbers[name] = np.split(number, np.cumsum([len(part) for part in parts])[:-1])[::-1]
    pairs = {}
    for (first, second), pair in found.items():
        index = np.stack([numbers[first].pop(), numbers[second].pop()], 1)
        pairs[first, second] = _once(index, pair.score)
    return SharedKeypoints(xy, pairs)


def _merged(xy: Float[np.ndarray, "n 2"], cell: float) -> tuple[Float[np.ndarray, "k 2"], Int[np.ndarray, "n"]]:
    """Return the mean of the places in each cell, and the number of its cell for each place."""
    _, number = np.unique(np.floor(xy / cell), axis=0, return_inverse=True)
    number = number.reshape(-1)
    count = np.bincount(number)
    return np.stack([np.bincount(number, xy[:, axis]) / count for axis in (0, 1)], 1), number


def _once(index: Int[np.ndarray, "n 2"], score: Float[np.ndarray, "n"]) -> IndexedPair:
    """Keep the best match of each key point of either picture."""
    order = np.argsort(-score, kind="stable")
    for side in (0, 1):
        _, first = np.unique(index[order, side], return_index=True)
        order = order[np.sort(first)]
    return IndexedPair(index[order], score[order])


def picture_pairs(names: Sequence[str], most: int, window: int) -> list[Pair]:
    """Return every pair of pictures, or with more than `most` pictures each with the next `window` ones."""
    reach = len(names) if len(names) <= most else window
    return [(names[i], names[j]) for i in range(len(names)) for j in range(i + 1, min(len(names), i + 1 + reach))]
