"""timm models, where timm is installed (it needs torchvision)."""

import sys
from pathlib import Path

import pytest
import torch

from equiview.errors import EquiviewError
from equiview.models.backbones import load_backbone
from equiview.models.backbones.timm import encode


def test_missing_timm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EquiviewError, match=r"equiview\[timm\]"):
        load_backbone("timm:vit_tiny_patch16_224")


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "deit_tiny_distilled_patch16_224"]
)
def test_maps_equal_timms_own(timm, name: str) -> None:
    backbone = load_backbone(f"timm:{name}", random_weights_seed=0)
    info, model = backbone.info, backbone.model
    images = torch.rand(1, 3, 3 * info.patch + 5, 4 * info.patch + 1, generator=torch.Generator().manual_seed(0))
    last, second = backbone(images, blocks=(info.blocks, 2))
    (raw,) = backbone(images, blocks=(2,), norm=False)
    mean, std = (torch.tensor(v)[:, None, None] for v in (info.mean, info.std))
    inside = ((images - mean) / std)[..., : 3 * info.patch, : 4 * info.patch]
    with torch.no_grad():
        plain = model.forward_features(inside)[:, info.prefix_tokens :]
        torch.testing.assert_close(last.flatten(2).transpose(1, 2), plain, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.norm(raw.movedim(1, -1)).movedim(-1, 1), second)
    assert last.shape == (1, info.dim, 3, 4)


def test_seed_and_errors(timm) -> None:
    one, same, other = (load_backbone("timm:vit_tiny_patch16_224", random_weights_seed=seed) for seed in (0, 0, 1))
    assert one.info.weights_sha256 == same.info.weights_sha256 != other.info.weights_sha256
    for options in ({"stride": 8}, {"position": "dinov2"}):
        with pytest.raises(EquiviewError, match="own way"):
            one(torch.rand(1, 3, 32, 32), blocks=(1,), **options)
    with pytest.raises(EquiviewError, match="unknown name"):
        load_backbone("timm:vit_tinny_patch16_224")
    for name in ("resnet18", "convnext_tiny"):
        with pytest.raises(EquiviewError, match="Vision Transformer"):
            load_backbone(f"timm:{name}", random_weights_seed=0)


def test_local_folder(timm, tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    backbone = load_backbone(f"timm:local-dir:{tmp_path}")
    assert torch.equal(backbone.model.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


def test_average_pooled_models_use_their_own_norm(timm) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True, global_pool="avg")
    model.eval()
    torch.nn.init.normal_(model.fc_norm.weight, generator=torch.Generator().manual_seed(0))
    images = torch.rand(1, 3, 32, 48)
    raw, normed = (encode(model, images, (3,), norm=n, stride=16, position="hf")[0] for n in (False, True))
    torch.testing.assert_close(model.fc_norm(raw.movedim(1, -1)).movedim(-1, 1), normed)
