"""docs/security.md says what the code does: its limits are those of limits.py, and the tests it names are there."""

import re
from pathlib import Path

import pytest

from equiview import errors, io, limits, pictures

ROOT = Path(__file__).resolve().parents[1]
TEXT = " ".join((ROOT / "docs" / "security.md").read_text(encoding="utf-8").split())
LIMITS = {
    "pixels of a picture": f"{limits.MAX_PIXELS // 10**6} million pixels",
    "a side": f"{limits.MAX_SIDE} pixels a side",
    "pickles": f"{limits.PICKLE_GROWTH} times the size of its file",
    "counts": ", ".join(f"{n:,}" for n in (limits.MAX_VIEWS, limits.MAX_POINTS, limits.MAX_FRAMES, limits.MAX_PAIRS)),
    "settings and batches": f"{limits.MAX_SETTING:,}; {limits.MAX_BATCH}",
    "numbers": f"{limits.MAX_VALUE:g}".replace("e+", "e"),
    "values in messages": f"{errors.VALUE_CHARS} characters",
    "names": f"{io._NAME_BYTES} bytes",
}


@pytest.mark.parametrize("what", LIMITS)
def test_a_limit_is_stated_as_it_is(what: str) -> None:
    assert LIMITS[what] in TEXT


def test_every_limit_is_stated() -> None:
    stated = {
        "MAX_PIXELS",
        "MAX_SIDE",
        "MAX_VIEWS",
        "MAX_POINTS",
        "MAX_FRAMES",
        "MAX_PAIRS",
        "MAX_SETTING",
        "MAX_BATCH",
    }
    stated |= {"MAX_WINDOW", "MAX_VALUE", "PICKLE_GROWTH"}
    assert {name for name in vars(limits) if name.isupper() and not name.startswith("_")} == stated
    assert f"{limits.MAX_WINDOW} frames" in TEXT


def test_the_formats_are_those_that_are_opened() -> None:
    (listed,) = re.findall(r"told by its header; (.*?), told by content", TEXT)
    named = {word.upper() for word in re.findall(r"[A-Za-z]+", listed) if word != "and"}
    assert named == set(pictures.FORMATS)


def test_the_tests_that_it_names_are_there() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)`", TEXT)
    assert len(named) >= 5 and all((ROOT / path).is_file() for path in named)
