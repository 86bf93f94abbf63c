"""Every reader on files that are almost right: it reads them or says what is wrong, and nothing else ever happens.

Deterministic, and a third of a minute at most: each kind of file gets its share of the time, and examples after that
pass; `test_every_value.py` leaves nothing to chance.
Run it for longer with EQUIVIEW_FUZZ_SECONDS=3600 and other examples each time with HYPOTHESIS_SEED=random.
"""

import copy
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from equiview.errors import EquiviewError
from fuzz_inputs import BYTES, JSON, Case, places

SECONDS = float(os.environ.get("EQUIVIEW_FUZZ_SECONDS", "20"))
STARTED = time.time()
SHARE = SECONDS / (len(BYTES) + len(JSON))
EXAMPLES = int(15 * max(1, SECONDS / 20))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=SECONDS <= 20,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FAILED: set[bytes] = set()
JUNK = (
    *(None, True, False, 0, -1, 1, 2.5, 1e308, -1e-308, float("nan"), float("inf"), 10**9, -(10**9), 10**40, 10**400),
    *(
        "",
        "x",
        "a" * 5000,
        "\0",
        "../../x",
        "/etc/passwd",
        "\ud800",
        "nan",
        [],
        {},
        [[]],
        [{}],
        {"": 0},
        [1, "a", None],
    ),
)


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    make = {**BYTES, **{f"{name} as JSON": make for name, make in JSON.items()}, **JSON}[request.param]
    return make(tmp_path_factory.mktemp("fuzz"))


def outcome(case: Case, content: bytes, stop: float) -> None:
    """Read the file with another content: success or one message of one line. After `stop` only what failed before."""
    if time.monotonic() >= stop and content not in FAILED:
        return
    whole = case.file.read_bytes()
    case.file.write_bytes(content)
    try:
        case.read()
    except EquiviewError as error:
        assert "\n" not in str(error) and len(str(error)) < 3000
        str(error).encode()
    except BaseException:
        FAILED.add(content)
        raise
    finally:
        case.file.write_bytes(whole)


CHANGE = st.tuples(st.sampled_from(["set", "cut", "drop", "double", "insert"]), st.floats(0, 1), st.binary(max_size=8))


def spoiled(whole: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, extra in changes:
        at = int(place * len(whole))
        if kind == "cut":
            whole = whole[:at]
        elif kind == "drop":
            whole = whole[:at] + whole[at + len(extra) :]
        elif kind == "double":
            whole = whole[:at] + whole[at : at + 64] * 2 + whole[at + 64 :]
        else:
            whole = whole[:at] + extra + whole[at + (len(extra) if kind == "set" else 0) :]
    return whole


@pytest.mark.parametrize("case", [*BYTES, *JSON], indirect=True)
def test_bytes(case: Case) -> None:
    whole, stop = case.file.read_bytes(), time.monotonic() + SHARE / (2 if case.file.suffix == ".json" else 1)
    case.read()

    @FUZZ
    @given(st.one_of(st.lists(CHANGE, min_size=1, max_size=4), st.binary(max_size=64)))
    def check(changes: list[tuple[str, float, bytes]] | bytes) -> None:
        outcome(case, changes if isinstance(changes, bytes) else spoiled(whole, changes), stop)

    check()


@pytest.mark.parametrize("case", JSON, indirect=True)
def test_values(case: Case) -> None:
    """Any value becomes another one, or goes."""
    whole, stop = json.loads(case.file.read_text()), time.monotonic() + SHARE

    @FUZZ
    @given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([*JUNK, "DROP", "TOP"])), min_size=1, max_size=2))
    def check(changes: list[tuple[float, object]]) -> None:
        value = copy.deepcopy(whole)
        for place, junk in changes:
            found = list(places(value))
            if junk == "TOP" or not found:
                value = copy.deepcopy(JUNK[int(place * (len(JUNK) - 1))])
                continue
            inside, key = found[int(place * (len(found) - 1))]
            if junk == "DROP":
                del inside[key]
            else:
                inside[key] = copy.deepcopy(junk)
        outcome(case, json.dumps(value).encode(), stop)

    check()


def test_nothing_was_left_beside_the_tests() -> None:
    """By one of these names, at the time of the tests; others may have left a file of such a name before."""
    left = [path for path in (Path("x"), Path("../../x")) if path.exists() and path.stat().st_mtime >= STARTED]
    assert left == []
