"""Fixtures of the jobs' tests."""

import pickle
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from equiview.jobs import engine
from hub_server import hub, served  # noqa: F401  # Fixtures of the tests that push and pull.


@pytest.fixture(scope="session", autouse=True)
def rendered_once():
    """A rendered set follows from its seed, and rendering takes most of a bench: once serves all tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pose_scenes", "clips", "category_pairs"):
            place = import_module("equiview.jobs.bench.synthetic")
            patch.setattr(place, name, cache(getattr(place, name)))
        yield


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> engine.Engine:
    """An engine that sends units as those of other processes do, and does them here, the last one first."""

    def done(path: Path, count: int, _: int) -> Iterator[tuple[int, Any]]:
        work, units = pickle.loads(path.read_bytes())
        for number in reversed(range(count)):
            yield number, work(units[number])

    monkeypatch.setattr(engine, "in_processes", done)
    return engine.Engine("process", 2)
