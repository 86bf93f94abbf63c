"""torch.hub models from a local repository: the generic interface, and original DINOv2 weights."""

from pathlib import Path

import pytest
import torch

from equiview.errors import EquiviewError
from equiview.models.backbones import load_backbone

# A repository with the interface of DINOv2: a convolution, then blocks that scale.
HUBCONF = """
import torch
from torch import nn

dependencies = ["torch"]


class Tiny(nn.Module):
    patch_size, embed_dim, num_register_tokens = 14, 8, 2

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 14, 14)
        self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.norm = nn.LayerNorm(8)

    def get_intermediate_layers(self, x, n=1, reshape=False, return_class_token=False, norm=True):
        assert x.shape[2] % 14 == 0 and x.shape[3] % 14 == 0
        x = self.patch(x).movedim(1, -1)
        out = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in n:
                out.append((self.norm(x) if norm else x).movedim(-1, 1))
        return tuple(out)


def tiny(pretrained=True):
    return Tiny()


def head(pretrained=True):
    return nn.Linear(2, 2)


def broken(pretrained=True):
    raise RuntimeError("no weights")


class DinoVisionTransformer(nn.Module):
    num_heads = 4

    def __init__(self, state):
        super().__init__()
        self.pos_embed = state["pos_embed"]
        self.state = state

    def state_dict(self, *args, **kwargs):
        return self.state


def original(pretrained=True):
    return DinoVisionTransformer(torch.load(STATE, weights_only=True))
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "hubconf.py").write_text(HUBCONF.replace("STATE", repr(str(tmp_path / "state.pt"))))
    return tmp_path


def test_generic_model(repo: Path) -> None:
    name = f"hub:{repo}:tiny"
    backbone = load_backbone(name, random_weights_seed=0)
    info = backbone.info
    assert (info.id, info.family, info.patch, info.dim, info.blocks, info.prefix_tokens) == (name, "hub", 14, 8, 3, 3)
    images = torch.rand(2, 3, 30, 45)
    last, first = backbone(images, blocks=(3, 1), norm=False)
    (again,) = backbone(images, blocks=(1,), norm=False)
    assert last.shape == (2, 8, 2, 3) and torch.equal(first, again) and not torch.equal(first, last)
    same, other = (load_backbone(name, random_weights_seed=seed).info.weights_sha256 for seed in (0, 1))
    assert same == info.weights_sha256 != other
    for options in ({"stride": 7}, {"position": "dinov2"}):
        with pytest.raises(EquiviewError, match="own way"):
            backbone(images, blocks=(1,), **options)


@pytest.mark.shared
def test_original_dinov2_is_rebuilt(repo: Path, golden: Path) -> None:
    from models.backbones.original import tiny, weights

    state = {k.removeprefix("vit/"): v for k, v in weights(golden, "A").items() if k.startswith("vit/")}
    torch.save(state, repo / "state.pt")
    backbone = load_backbone(f"hub:{repo}:original")
    assert backbone.info.family == "dinov2"
    images = torch.rand(1, 3, 42, 56)
    options = {"blocks": (2, 6), "stride": 7, "position": "dinov2"}
    for found, expected in zip(backbone(images, **options), tiny(golden, "A")(images, **options), strict=True):
        assert torch.equal(found, expected)


def test_errors(repo: Path) -> None:
    with pytest.raises(EquiviewError, match="REPO:ENTRY"):
        load_backbone("hub:dinov2_vitb14")
    with pytest.raises(EquiviewError, match="could not load"):
        load_backbone(f"hub:{repo}:nothing")
    with pytest.raises(EquiviewError, match="no weights"):
        load_backbone(f"hub:{repo}:broken")
    with pytest.raises(EquiviewError, match="DINOv2 interface"):
        load_backbone(f"hub:{repo}:head")
