"""Fixtures of the jobs' tests."""

from functools import cache
from importlib import import_module

import pytest

from hub_server import hub, served  # noqa: F401  # Fixtures of the tests that push and pull.


@pytest.fixture(scope="session", autouse=True)
def rendered_once():
    """A rendered set follows from its seed, and rendering takes most of a bench: once serves all tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pose_scenes", "clips", "category_pairs"):
            place = import_module("equiview.jobs.bench.synthetic")
            patch.setattr(place, name, cache(getattr(place, name)))
        yield
