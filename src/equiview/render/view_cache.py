"""Decoded views kept in memory, within one limit for all objects together."""

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable

from ..types import View


class ViewCache:
    """Keeps the most recently used views.

    Args:
        limit_bytes: How much memory they may take; the one just asked for is always kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._views: OrderedDict[tuple[int, int], View] = OrderedDict()
        self._numbers = itertools.count()

    def register(self, owner: object) -> int:
        """Return a number for the owner of views; they are forgotten when it is."""
        number = next(self._numbers)
        weakref.finalize(owner, self._forget, number)
        return number

    def get(self, owner: int, index: int, load: Callable[[], View]) -> View:
        """Return the view, loaded if it is not here."""
        key = (owner, index)
        if key not in self._views:
            view = load()
            self._views[key] = view
            self.used_bytes += _size(view)
            while len(self._views) > 1 and self.used_bytes > self.limit_bytes:
                self.used_bytes -= _size(self._views.popitem(last=False)[1])
        self._views.move_to_end(key)
        return self._views[key]

    def _forget(self, owner: int) -> None:
        for key in [key for key in self._views if key[0] == owner]:
            self.used_bytes -= _size(self._views.pop(key))


def _size(view: View) -> int:
    arrays = (view.rgb, view.mask, view.points_in_world, view.normals_in_world, view.triangle_id)
    return sum(array.nbytes for array in arrays)


SHARED_CACHE = ViewCache(limit_bytes=512 * 2**20)
