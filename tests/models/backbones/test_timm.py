"""timm models, where timm is installed (it needs torchvision)."""

import sys
from pathlib import Path

import pytest
import torch

from equiview.errors import EquiviewError
from equiview.models.adapters import LoraSpec, add_lora, has_lora, remove_lora
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


@pytest.mark.parametrize(
    "name", ["eva02_tiny_patch14_224", "vit_small_patch16_dinov3_qkvb", "vit_betwixt_patch16_rope_reg4_gap_256"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lora_on_layers_that_are_never_called_is_refused(timm, name: str, dtype: torch.dtype) -> None:
    """These compute with `qkv.weight`: an adapter around the layer would train and change nothing."""
    backbone = load_backbone(f"timm:{name}", random_weights_seed=0, dtype=dtype)
    images = torch.rand(1, 3, 32, 48)
    (before,) = backbone(images, blocks=(2,))
    with pytest.raises(EquiviewError, match=r"LoRA on .*attn.qkv, which is computed through its weights"):
        add_lora(backbone, LoraSpec(rank=2, last_blocks=2), seed=0)
    assert not has_lora(backbone) and torch.equal(backbone(images, blocks=(2,))[0], before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_lora_on_layers_that_are_called_leaves_the_weights_as_they_are(timm, name: str, dtype: torch.dtype) -> None:
    """The second one's LayerScale near zero hides what attention does from the features."""
    backbone = load_backbone(f"timm:{name}", random_weights_seed=0, dtype=dtype)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    add_lora(backbone, LoraSpec(rank=2, last_blocks=2), seed=0)
    remove_lora(backbone)
    after = backbone.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_base_r50_s16_224", "a hybrid"),
        ("vit_tiny_r_s16_p8_224", "a hybrid"),
        ("vitamin_small_224", "a Vision Transformer"),
        ("hiera_tiny_224", "takes any image size"),
        ("swin_tiny_patch4_window7_224", "one token grid"),
    ],
)
def test_models_whose_maps_are_not_one_token_a_patch_are_refused(timm, name: str, said: str) -> None:
    with pytest.raises(EquiviewError, match=f"timm:{name}: expected .*{said}"):
        load_backbone(f"timm:{name}", random_weights_seed=0)


@pytest.mark.parametrize("change", ["map", "channels"])
def test_a_map_of_another_size_than_stated_is_refused(timm, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    def other(*args, **kwargs):
        (fmap,) = encode(*args, **kwargs)
        return [fmap[:, :, ::2] if change == "map" else fmap[:, ::2]]

    monkeypatch.setattr("equiview.models.backbones.timm.encode", other)
    with pytest.raises(EquiviewError, match=r"one token for each patch of 16 x 16 .*found \(.*not \(192, 2, 3\)"):
        load_backbone("timm:vit_tiny_patch16_224", random_weights_seed=0)


def test_a_model_of_one_channel_is_refused(timm, tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, in_chans=1)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True, model_args={"in_chans": 1})
    with pytest.raises(EquiviewError, match=r"timm:local-dir:.*expected .*RGB"):
        load_backbone(f"timm:local-dir:{tmp_path}")
