"""Views that a list of pairs asks for, read one at a time; what is common to the sets of pairs of real scenes."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ...cache import Cache
from ...render.store import SHARED_CACHE
from ...types import View


class ViewsOnDemand(Sequence[View]):
    """Views that are read when they are asked for; the most recent ones are kept.

    Args:
        count: How many there are.
        read: Reads one of them.
        cache: Where read views are kept.
    """

    def __init__(self, count: int, read: Callable[[int], View], cache: Cache[View] = SHARED_CACHE) -> None:
        self._count, self._read, self._cache = count, read, cache
        self._cache_key = cache.register(self)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> list[View]: ...
    def __getitem__(self, index: int | slice) -> View | list[View]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        index = range(self._count)[index]
        return self._cache.get((self._cache_key, index), lambda: self._read(index))


def cut(
    rgb: UInt8[np.ndarray, "h w 3"], box: tuple[int, int, int, int], hw: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return a part of a picture (left, top, right, bottom in its pixels) at another size."""
    part = Image.fromarray(rgb).resize((hw[1], hw[0]), Image.Resampling.BICUBIC, box=box)
    return np.asarray(part)


def cut_nearest(
    values: Float[np.ndarray, "h w"], box: tuple[int, int, int, int], hw: tuple[int, int]
) -> Float[np.ndarray, "h2 w2"]:
    """Return the same part of a map of values, each from the nearest pixel: depth is never mixed across an edge."""
    rows = box[1] + (np.arange(hw[0]) + 0.5) * (box[3] - box[1]) / hw[0]
    cols = box[0] + (np.arange(hw[1]) + 0.5) * (box[2] - box[0]) / hw[1]
    return values[rows.astype(int)[:, None], cols.astype(int)]


def cut_intrinsics(
    intrinsics: Float[np.ndarray, "3 3"], box: tuple[int, int, int, int], hw: tuple[int, int]
) -> Float[np.ndarray, "3 3"]:
    """Return the intrinsics of the part at its new size."""
    scale = np.diag([hw[1] / (box[2] - box[0]), hw[0] / (box[3] - box[1]), 1.0])
    shift = np.array([[1.0, 0, -box[0]], [0, 1, -box[1]], [0, 0, 1]])
    return scale @ shift @ intrinsics
