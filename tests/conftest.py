"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder EQUIVIEW_SHARED names (real weights, data, golden values)."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("EQUIVIEW_SHARED", default))
    if not (folder / "golden" / "INDEX.json").is_file():
        pytest.skip(f"EQUIVIEW_SHARED: no golden/INDEX.json in {folder}")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    return shared / "golden"


@pytest.fixture(scope="session")
def deit_tiny(shared: Path) -> Path:
    return shared / "data" / "weights" / "deit-tiny-patch16-224"
