"""Feature maps computed once, while there is room for them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from ..types import FeatureMap


class MapCache:
    """Feature maps by a key, the last used kept; one is kept however large it is.

    Args:
        room_mb: MiB of tokens.
    """

    def __init__(self, room_mb: float) -> None:
        self.room_bytes = room_mb * 2**20
        self._maps: OrderedDict[Hashable, FeatureMap] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], FeatureMap]) -> FeatureMap:
        """Return the map of this key; it is made where there is none, or was dropped."""
        if key in self._maps:
            self._maps.move_to_end(key)
            return self._maps[key]
        fmap = self._maps[key] = make()
        self._bytes += _bytes(fmap)
        while self._bytes > self.room_bytes and len(self._maps) > 1:
            self._bytes -= _bytes(self._maps.popitem(last=False)[1])
        return fmap


def _bytes(fmap: FeatureMap) -> int:
    return fmap.tokens.numel() * fmap.tokens.element_size()
