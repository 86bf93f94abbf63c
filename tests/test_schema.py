"""Values of other people's files: the right ones come through, every other one is a message that says where."""

import math

import numpy as np
import pytest

from equiview.errors import VALUE_CHARS, EquiviewError, shown
from equiview.io import read_json, read_jsonl
from equiview.schema import as_array, as_list, as_number, as_record, as_text, as_whole, parse_json

NAN, INF = math.nan, math.inf
WRONG = {
    "a record: list": (lambda: as_record([], "w"), "an object"),
    "a record: missing key": (lambda: as_record({"a": 1}, "w", ("a", "b")), "an object with a, b, found no b"),
    "a list: text": (lambda: as_list("abc", "w"), "a list, found 'abc'"),
    "a list: too short": (lambda: as_list([], "w", at_least=2), "a list of 2 or more, found a list of 0"),
    "a text: number": (lambda: as_text(3, "w"), "a text, found 3"),
    "a text: empty": (lambda: as_text("", "w"), "a text"),
    "a text: NUL": (lambda: as_text("a\0b", "w"), "a text"),
    "a text: nothing": (lambda: as_text(None, "w"), "a text, found nothing"),
    "a number: text": (lambda: as_number("x", "w"), "a finite number, found 'x'"),
    "a number: NaN": (lambda: as_number(NAN, "w"), "a finite number, found nan"),
    "a number: infinity": (lambda: as_number(INF, "w"), "a finite number"),
    "a number: truth value": (lambda: as_number(True, "w"), "a finite number, found True"),
    "a number: list": (lambda: as_number([1], "w"), "a finite number, found a list of 1"),
    "a number: too large": (lambda: as_number(10**4000, "w"), "a finite number, found a number of over 40 digits"),
    "a number: out of range": (lambda: as_number(-1, "w", low=0), "a finite number of at least 0, found -1"),
    "a whole number: fraction": (lambda: as_whole(1.5, "w"), "a whole number, found 1.5"),
    "a whole number: NaN": (lambda: as_whole(NAN, "w"), "a whole number, found nan"),
    "a whole number: truth value": (lambda: as_whole(True, "w"), "a whole number"),
    "a whole number: range": (lambda: as_whole(7, "w", 0, 6), "a whole number from 0 to 6, found 7"),
    "an array: ragged": (lambda: as_array([[1], [1, 2]], "w", (2, 2)), "2x2 numbers, found a list of 2"),
    "an array: words": (lambda: as_array(["a"], "w", (1,)), "1 numbers"),
    "an array: object": (lambda: as_array({}, "w", (None,)), "n numbers, found an object"),
    "an array: shape": (lambda: as_array([[1, 2, 3]], "w", (None, 2)), r"nx2 numbers, found shape \(1, 3\)"),
    "an array: too large": (lambda: as_array([10**4000], "w", (1,)), "1 numbers"),
    "JSON: cut": (lambda: parse_json('{"a": [1', "w"), "JSON, found text that does not parse"),
    "JSON: empty": (lambda: parse_json("", "w"), "JSON, found text that does not parse"),
    "JSON: deep list": (lambda: parse_json("[" * 100_000, "w"), "JSON, found lists or objects nested too deep"),
    "JSON: deep object": (lambda: parse_json('{"a":' * 100_000, "w"), "JSON, found lists or objects nested too deep"),
    "JSON: long number": (lambda: parse_json("[" + "9" * 5000 + "]", "w"), "JSON, found text that does not parse"),
    "JSON: no UTF-8": (lambda: parse_json(b'{"a": "\xff\xfe"}', "w"), "JSON, found text that does not parse"),
    "JSON: UTF-16": (lambda: parse_json('{"a": 1}'.encode("utf-16"), "w"), "JSON, found text that does not parse"),
}


@pytest.mark.parametrize(("read", "said"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_one_short_message(read, said):
    with pytest.raises(EquiviewError, match=f"^w: expected {said}") as caught:
        read()
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_what_fits_comes_through():
    assert as_record({"a": 1}, "w", ("a",)) == {"a": 1} and as_list([1], "w", at_least=1) == [1]
    assert as_text("a b", "w") == "a b" and as_number("1.5", "w") == 1.5 and as_number(3, "w", 3, 3) == 3.0
    assert as_whole(640.0, "w", 1) == 640 and isinstance(as_whole(640.0, "w"), int)
    assert np.isnan(as_array([[NAN, 1]], "w", (None, 2))).any()
    assert parse_json(b"\xef\xbb\xbf[1]", "w") == parse_json("\ufeff[1]", "w") == [1]


def test_values_of_any_size_are_a_few_words():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for value in ("x" * 10**6, b"x" * 10**6, 10**9999, -(10**9999), deep, {"a": deep}, np.zeros(10**6)):
        assert len(shown(value)) <= VALUE_CHARS


@pytest.mark.parametrize("text", [b"[" * 10**5, b"9" * 5000, b"\xff\xff", b""], ids=["deep", "long", "bytes", "empty"])
def test_files_say_their_name(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" + text + b"\n")
    with pytest.raises(EquiviewError, match="a.json: expected JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(EquiviewError, match="a.jsonl"):
        read_jsonl(tmp_path / "a.jsonl")
