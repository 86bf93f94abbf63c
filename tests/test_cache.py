"""What a cache of maps computes again, and what it keeps."""

import pytest
import torch

from equiview.cache import Cache
from equiview.types import FeatureMap


def a_map(value: float) -> FeatureMap:
    return FeatureMap(torch.full((1, 16, 16), float(value)), (4.0, 4.0), (2.0, 2.0), (64, 64))  # 1 KiB.


@pytest.mark.parametrize(("room_kib", "made"), [(2, "abcab"), (3, "abc"), (0, "abcabc")])
def test_the_last_used_are_kept_while_there_is_room(room_kib: float, made: str) -> None:
    cache, calls = Cache(room_kib * 1024), []

    def make(key: str) -> FeatureMap:
        calls.append(key)
        return a_map(ord(key))

    for key in "abc":
        assert float(cache.get(key, lambda k=key: make(k)).tokens[0, 0, 0]) == ord(key)
    if room_kib == 2:  # Asked for again, c stays when a takes the room of b.
        cache.get("c", lambda: make("c"))
    for key in "abc" if room_kib != 2 else "ab":
        assert float(cache.get(key, lambda k=key: make(k)).tokens[0, 0, 0]) == ord(key)
    assert "".join(calls) == made


def test_a_failure_leaves_nothing_behind() -> None:
    cache = Cache(2**20)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: a_map(1 / 0))
    assert float(cache.get("a", lambda: a_map(2)).tokens[0, 0, 0]) == 2
