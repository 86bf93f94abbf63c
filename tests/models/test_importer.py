"""Released checkpoints: read without running code, exact, and the same features as the reference."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from equiview.errors import EquiviewError
from equiview.models.adapters import load_adapter, lora_disabled, merge_lora, read_record, save_adapter
from equiview.models.adapters.lora import lora_layers
from equiview.models.backbones import Backbone, BackboneInfo, load_backbone
from equiview.models.backbones.dinov2_names import backbone_from_dinov2
from equiview.models.extractor import Extractor
from equiview.models.importer import apply_checkpoint, import_checkpoint, read_checkpoint
from models.backbones.tiny import make_model, save

DIM, RANK = 32, 2


def content(blocks: int = 2, dim: int = DIM, rank: int = RANK) -> dict:
    """A file as the reference writes it, with small tensors."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(shape, generator=generator) * 0.2)

    weights = {f"w_a_{i:03d}": draw(rank, dim) for i in range(2 * blocks)}
    weights |= {f"w_b_{i:03d}": draw(dim, rank) for i in range(2 * blocks)}
    conv = {"weight": draw(dim, dim, 3, 3).data, "bias": draw(dim).data}
    return {"epoch": 1, "global_step": 4, "state_dict": {"refine_conv": conv}, "optimizer_states": [], **weights}


def write(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model("dinov2"), tmp_path_factory.mktemp("models") / "dinov2")


def images() -> torch.Tensor:
    return torch.rand((1, 3, 44, 36), generator=torch.Generator().manual_seed(1))


@pytest.mark.shared
def test_parity_with_the_reference(golden: Path, tmp_path: Path) -> None:
    """A file written by pytorch-lightning on ViT A: tensors exact, features within 1e-4."""
    arrays = np.load(golden / "f00_tiny_vit_A.npz")
    state = {key[4:]: torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith("vit/")}
    expected = np.load(golden / "f03c_official_lightning_expected.npz")
    path = golden / "f03c_official_lightning.ckpt"
    found = read_checkpoint(path)
    assert (found.dim, found.rank, found.blocks, found.step) == (64, 4, 4, 4)
    np.testing.assert_array_equal(found.lora_a[5], expected["load/out/w_a_005"])
    np.testing.assert_array_equal(found.lora_b[2], expected["load/out/w_b_002"])
    np.testing.assert_array_equal(found.conv["weight"], expected["load/out/conv_weight"])
    np.testing.assert_array_equal(found.conv["bias"], expected["load/out/conv_bias"])

    import_checkpoint(path, tmp_path / "a", backbone=backbone_from_dinov2(state, heads=4, name="A"))
    long_side = int(expected["load/in/target_res"]) // 8 * 14
    extractor = load_adapter(tmp_path / "a", backbone_from_dinov2(state, heads=4, name="A"), long_side=long_side)
    assert extractor.config.position == "dinov2"
    model = Extractor(extractor.backbone, extractor.config, extractor.head)
    rgb = torch.from_numpy(expected["load/in/rgb_uint8"]).float() / 255
    found = model.at(rgb, torch.from_numpy(expected["load/in/pts"])).detach()
    np.testing.assert_allclose(found, expected["load/out/feat"], atol=1e-4)
    merged = Extractor(merge_lora(extractor.backbone), extractor.config, extractor.head)
    np.testing.assert_allclose(
        merged.at(rgb, torch.from_numpy(expected["load/in/pts"])).detach(), expected["load/out/feat"], atol=1e-4
    )


@pytest.mark.shared
@pytest.mark.parametrize(
    "case", ["A_square_up", "A_landscape_odd", "A_batch2", "A_downsample", "A_native640", "R_square_up", "R_landscape"]
)
def test_parity_of_sizes_and_registers(golden: Path, tmp_path: Path, case: str) -> None:
    """The same file form on both tiny networks, at the reference's own sizes (f03, tolerance 2e-5)."""
    arrays = np.load(golden / f"f00_tiny_vit_{case[0]}.npz")
    parts = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    conv = {key[5:]: value for key, value in parts.items() if key.startswith("conv/")}
    lora = {key[5:]: nn.Parameter(value) for key, value in parts.items() if key.startswith("lora/")}
    path = write(tmp_path / "released.ckpt", {"global_step": 1, "state_dict": {"refine_conv": conv}, **lora})
    state = {key[4:]: value for key, value in parts.items() if key.startswith("vit/")}
    made = apply_checkpoint(read_checkpoint(path), backbone_from_dinov2(state, heads=4))

    golden_case = np.load(golden / "f03_get_feature.npz")
    given = {name: golden_case[f"{case}/in/{name}"] for name in ("rgb_uint8", "pts", "target_res")}
    config = replace(made.config, long_side=int(given["target_res"]) // 8 * 14)
    model = Extractor(made.backbone, config, made.head)
    rgb = torch.from_numpy(given["rgb_uint8"]).float() / 255
    assert model.network_hw(rgb.shape[2:]) == tuple(golden_case[f"{case}/out/network_input_shape"][-2:])
    with torch.no_grad():
        found = model.at(rgb, torch.from_numpy(given["pts"]))
    np.testing.assert_allclose(found, golden_case[f"{case}/out/feat"], atol=2e-5)


def test_timm_model(timm, tmp_path: Path) -> None:
    """The released form on a real timm model: q and v of its fused linear move, k does not."""
    name = "timm:vit_tiny_patch16_224"
    backbone = load_backbone(name, random_weights_seed=0)
    before = backbone.model.blocks[11].attn.qkv.weight.clone()
    path = write(tmp_path / "x.ckpt", content(blocks=4, dim=192))
    import_checkpoint(path, tmp_path / "a", backbone=backbone)
    loaded = load_adapter(tmp_path / "a", load_backbone(name, random_weights_seed=0), long_side=64)
    expected = loaded(images())
    q, k, v = (merge_lora(loaded.backbone).model.blocks[11].attn.qkv.weight - before).chunk(3)
    assert q.any() and v.any() and not k.any()
    torch.testing.assert_close(loaded(images()), expected, atol=1e-4, rtol=0)


def test_weights_land_where_they_belong(dinov2: Path, tmp_path: Path) -> None:
    value = content()
    base = load_backbone(dinov2)
    extractor = apply_checkpoint(read_checkpoint(write(tmp_path / "x.ckpt", value)), load_backbone(dinov2))
    assert extractor.config.long_side == 80 * 14 and extractor.config.position == "dinov2"
    merged = merge_lora(extractor.backbone).model
    for i, (block, name) in enumerate((block, name) for block in (1, 2) for name in ("q_proj", "v_proj")):
        path = f"encoder.layer.{block}.attention.{name}"
        update = value[f"w_b_{i:03d}"] @ value[f"w_a_{i:03d}"]
        expected = base.model.get_submodule(path).weight + update
        torch.testing.assert_close(merged.get_submodule(path).weight, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(extractor.head.conv.weight.data, value["state_dict"]["refine_conv"]["weight"])


def test_folder_gives_the_same_features(dinov2: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "x.ckpt", content())
    direct = apply_checkpoint(read_checkpoint(path), load_backbone(dinov2))
    import_checkpoint(path, tmp_path / "a", backbone=str(dinov2))
    assert load_adapter(tmp_path / "a", load_backbone(dinov2)).config == direct.config
    direct = Extractor(direct.backbone, replace(direct.config, long_side=112), direct.head)
    loaded = load_adapter(tmp_path / "a", load_backbone(dinov2), long_side=112)
    torch.testing.assert_close(loaded(images()), direct(images()), atol=0, rtol=0)
    with lora_disabled(direct.backbone):
        assert (direct(images()) - loaded(images())).abs().max() > 1e-3


class Fused(nn.Module):
    """The smallest model with fused projections: its output shows q, k and v."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[nn.Sequential() for _ in range(3)])
        for block in self.blocks:
            block.attn = FusedAttention()


class FusedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return (q @ k.mT).softmax(-1) @ v


def run_fused(model: Fused, images: torch.Tensor, blocks: tuple[int, ...], **_: object) -> list[torch.Tensor]:
    """Tokens are mean colours, the same in every channel."""
    pooled = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 16)
    tokens = pooled.flatten(2).mT.expand(-1, -1, DIM)
    for block in model.blocks:
        tokens = tokens + block.attn(tokens)
    return [tokens.mT.reshape(len(images), DIM, *pooled.shape[2:])]


def test_fused_projections_are_exact_and_k_is_untouched(tmp_path: Path) -> None:
    value = content()
    info = BackboneInfo("timm:fake", "timm", 16, DIM, 3, 1, (0.5,) * 3, (0.5,) * 3, "0")
    model = Fused()
    before = [block.attn.qkv.weight.clone() for block in model.blocks]
    extractor = apply_checkpoint(read_checkpoint(write(tmp_path / "x.ckpt", value)), Backbone(info, model, run_fused))
    assert extractor.config.long_side == 80 * 16 and extractor.config.position == "hf"
    assert [layer.r["default"] for _, layer in lora_layers(extractor.backbone)] == [2 * RANK] * 2
    record = read_record(save_adapter(tmp_path / "a", extractor))
    assert record["lora"]["covers"] == "q and v of a fused linear (its k rows are zero)"
    merge_lora(extractor.backbone)
    assert torch.equal(model.blocks[0].attn.qkv.weight, before[0])
    for k, block in enumerate((1, 2)):
        q, middle, v = (model.blocks[block].attn.qkv.weight - before[block]).chunk(3)
        torch.testing.assert_close(q, value[f"w_b_{2 * k:03d}"] @ value[f"w_a_{2 * k:03d}"], atol=1e-6, rtol=0)
        torch.testing.assert_close(v, value[f"w_b_{2 * k + 1:03d}"] @ value[f"w_a_{2 * k + 1:03d}"], atol=1e-6, rtol=0)
        assert not middle.any()


class Evil:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path(__file__).parent / "evil",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path = tmp_path / "evil.ckpt"
    value = {**content(), "callbacks": Evil()}
    if form == "pickle":
        path.write_bytes(pickle.dumps(value, protocol=2))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(EquiviewError, match=r"evil.ckpt: .*Nothing was executed") as caught:
        read_checkpoint(path)
    assert form == "pickle" or "pickled code" in str(caught.value)
    assert not (Path(__file__).parent / "evil").exists()


@pytest.mark.parametrize("keep", [0, 10, 1000, -100])
def test_truncated_file(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "cut.ckpt", content())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EquiviewError, match=r"cut.ckpt.*Download it again"):
        read_checkpoint(path)


def test_wrong_content(tmp_path: Path) -> None:
    def without(*keys: str) -> dict:
        return {key: value for key, value in content().items() if key not in keys}

    cases = [
        ([1, 2], "list"),
        ({"model": {}, "step": 1}, r"\['model', 'step'\]"),
        (without("state_dict"), "refine_conv"),
        (without("w_a_003", "w_b_003"), "w_a_000 to w_a_002"),
        (without("w_b_001"), "w_[ab]_000"),
        ({**content(), "w_a_001": torch.zeros(3, DIM)}, r"w_a_001: expected shape \(2, 32\), found \(3, 32\)"),
        ({**content(), "w_a_001": "text"}, "w_a_001: expected a tensor"),
        ({**content(), "w_b_000": torch.full((DIM, RANK), float("nan"))}, "w_b_000: expected a tensor of finite"),
    ]
    for i, (value, message) in enumerate(cases):
        with pytest.raises(EquiviewError, match=message):
            read_checkpoint(write(tmp_path / f"{i}.ckpt", value))
    with pytest.raises(EquiviewError, match="nothing there"):
        read_checkpoint(tmp_path / "absent.ckpt")


def test_wrong_backbone(dinov2: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "base.ckpt", content(dim=768))
    with pytest.raises(EquiviewError, match=r"expected 32 channels, found 768 .*facebook/dinov2-base"):
        import_checkpoint(path, tmp_path / "a", backbone=str(dinov2))
    path = write(tmp_path / "deep.ckpt", content(blocks=4))
    with pytest.raises(EquiviewError, match="at most 3, the blocks"):
        import_checkpoint(path, tmp_path / "a", backbone=str(dinov2))
    path = write(tmp_path / "mae.ckpt", content(dim=768))
    with pytest.raises(EquiviewError, match="timm:NAME"):
        import_checkpoint(path, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("file, name", [("l.ckpt", "dinov2-large"), ("l_reg.ckpt", "dinov2-with-registers-large")])
def test_backbone_follows_from_width_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, name: str
) -> None:
    asked = []

    def no_network(name: str, **_: object) -> None:
        asked.append(name)
        raise EquiviewError("no network")

    monkeypatch.setattr("equiview.models.importer.load_backbone", no_network)
    with pytest.raises(EquiviewError, match="no network"):
        import_checkpoint(write(tmp_path / file, content(dim=1024)), tmp_path / "a")
    assert asked == [f"facebook/{name}"]
