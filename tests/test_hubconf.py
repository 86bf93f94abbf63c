"""What torch.hub loads from a checkout."""

import importlib.util
import tomllib
from pathlib import Path

import torch

import equiview
from bad_inputs import write_adapter

ROOT = Path(__file__).resolve().parents[1]
IMAGES = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))


def load(entry: str, **options: object) -> torch.nn.Module:
    return torch.hub.load(str(ROOT), entry, source="local", **options)


def test_entries_give_the_features_of_load(tmp_path: Path) -> None:
    plain = equiview.load("equiview/tiny", long_side=64)
    with torch.no_grad():
        assert torch.equal(load("equiview_tiny", long_side=64)(IMAGES), plain(IMAGES))
        adapter = write_adapter(tmp_path / "a", "equiview/tiny")
        found = load("equiview", backbone="equiview/tiny", adapter=str(adapter))(IMAGES)
        assert torch.equal(found, equiview.load("equiview/tiny", adapter=adapter)(IMAGES))
        assert not torch.equal(found, plain(IMAGES))


def test_dependencies_and_entries() -> None:
    spec = importlib.util.spec_from_file_location("hubconf_here", ROOT / "hubconf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {requirement.split(">")[0].replace("pillow", "PIL") for requirement in project["dependencies"]}
    assert set(module.dependencies) == wanted
    # What torch.hub.list shows.
    entries = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    assert sorted(entries) == ["equiview", "equiview_tiny"]
