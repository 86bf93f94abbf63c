"""Pickles that are small and want to become large."""

import pickle
import struct

import numpy as np
import pytest

from equiview.data.clips.tapvid import open_tapvid
from equiview.data.safe_pickle import read_pickle
from equiview.errors import EquiviewError


def laughs(first, width=10, depth=12, kind=list):
    for _ in range(depth):
        first = kind([first] * width)
    return first


def in_dicts(depth=30):
    found = {"a": 1}
    for _ in range(depth):
        found = {"a": found, "b": found}
    return found


def of_itself():
    found = []
    found.append(found)
    return found


GROWING = {
    "lists": laughs(["ha"]),
    "tuples": laughs(("ha",), kind=tuple),
    "dictionaries": in_dicts(),
    "arrays": laughs(np.zeros(1000), depth=9),
    "one array many times": [np.zeros(10**6, np.uint8)] * 10_000,
    "text": laughs("x" * 1000, depth=9),
    "itself": of_itself(),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("value", GROWING.values(), ids=GROWING)
def test_parts_named_again_and_again_are_refused(tmp_path, value, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(EquiviewError, match=r"a.pkl: expected a pickle of numpy arrays.*(in full|itself)"):
        read_pickle(path)
    path.write_bytes(pickle.dumps({"clip": {"video": value, "points": value, "occluded": value}}, protocol))
    with pytest.raises(EquiviewError):
        list(open_tapvid(path))


ABSURD = {
    "a frame of 2**60 bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "text of 2**40 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.",
    "bytes of 2**40 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
    "a number of 2**31 bytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.",
    "a number of 10,000 digits": b"I" + b"9" * 10_000 + b"\n.",
    "a memo at 2**32 - 1": b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b"q.",
    "nothing on the stack": b"a.",
    "nothing at all": b"",
    "no end": b"\x80\x04]",
    "nested 100,000 deep": b"(" * 100_000 + b"t" * 100_000 + b".",
}


@pytest.mark.parametrize("code", ABSURD.values(), ids=ABSURD)
def test_absurd_sizes_are_one_message(tmp_path, code):
    (tmp_path / "a.pkl").write_bytes(code)
    with pytest.raises(EquiviewError, match=r"a.pkl: expected a pickle") as caught:
        read_pickle(tmp_path / "a.pkl")
    assert len(str(caught.value)) < 400


def test_a_part_that_is_named_twice_stays_one_part(tmp_path):
    shared = [np.arange(3), "a"]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([shared, (shared, {"k": shared})]))
    one, (two, three) = read_pickle(tmp_path / "a.pkl")
    assert one is two is three["k"] and one[0].tolist() == [0, 1, 2]
