"""The LoRA laws for all eight families, and adapter folders that cannot be mixed up or half-read."""

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from equiview.errors import EquiviewError
from equiview.models.adapters import (
    LoraSpec,
    add_lora,
    find_targets,
    has_lora,
    load_adapter,
    lora_disabled,
    lora_parameters,
    merge_lora,
    read_record,
    save_adapter,
)
from equiview.models.backbones import Backbone, load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead, HeadChain, LinearHead, RandomConvHead, ResidualConvHead
from models.backbones.tiny import SPECS, make_model, save

CONFIG = FeatureConfig(blocks=(2, 3), long_side=56)
SPEC = LoraSpec(rank=2, last_blocks=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save(make_model(family), root / family) for family in SPECS}


@pytest.fixture(params=list(SPECS))
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def vit(folders: dict[str, Path]) -> Path:
    return folders["vit"]


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand((2, 3, 48, 64), generator=torch.Generator().manual_seed(seed))


def disturb(backbone: Backbone, seed: int = 3, size: float = 0.2) -> None:
    """Stand in for training: every adapter weight moves."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lora_parameters(backbone):
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def linear_head(dim: int) -> LinearHead:
    generator = torch.Generator().manual_seed(5)
    return LinearHead(torch.randn((8, dim), generator=generator), torch.randn(dim, generator=generator))


def adapted(folder: Path, head: nn.Module | None = None) -> Extractor:
    extractor = Extractor(load_backbone(folder), CONFIG, head)
    add_lora(extractor.backbone, SPEC, seed=0)
    disturb(extractor.backbone)
    return extractor


# The laws ---------------------------------------------------------------------------------------------------------


def test_identity_at_start_and_only_adapters_train(folder: Path) -> None:
    extractor = Extractor(load_backbone(folder), CONFIG)
    before = extractor(images())
    targets = add_lora(extractor.backbone, SPEC, seed=0)
    assert len(targets.names) == 4 and not targets.fused
    torch.testing.assert_close(extractor(images()), before, atol=0, rtol=0)
    trainable = {id(p) for p in extractor.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in lora_parameters(extractor.backbone)}
    assert sum(p.numel() for p in lora_parameters(extractor.backbone)) == 4 * 2 * (32 + 32)


def test_a_step_changes_adapters_alone(folder: Path) -> None:
    extractor = Extractor(load_backbone(folder), CONFIG)
    add_lora(extractor.backbone, SPEC, seed=0)
    before = {name: p.clone() for name, p in extractor.named_parameters()}
    optimiser = torch.optim.SGD([p for p in extractor.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):  # A has a gradient only once B is not zero.
        optimiser.zero_grad()
        extractor(images())[:, ::3].sum().backward()  # Not their length, which normalised blocks do not change.
        optimiser.step()
    changed = {name for name, p in extractor.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if ".lora_A." in name or ".lora_B." in name}


def test_merged_equals_unmerged_and_disabled_equals_base(folder: Path) -> None:
    base = Extractor(load_backbone(folder), CONFIG)(images())
    extractor = adapted(folder)
    changed = extractor(images())
    assert (changed - base).abs().max() > 1e-3
    with lora_disabled(extractor.backbone):
        torch.testing.assert_close(extractor(images()), base, atol=0, rtol=0)
    assert all(p.requires_grad for p in lora_parameters(extractor.backbone))
    torch.testing.assert_close(extractor(images()), changed, atol=0, rtol=0)
    merge_lora(extractor.backbone)
    assert not has_lora(extractor.backbone)
    torch.testing.assert_close(extractor(images()), changed, atol=1e-5, rtol=0)


def test_saved_and_loaded_gives_identical_features(folder: Path, tmp_path: Path) -> None:
    extractor = adapted(folder, HeadChain([AverageHead(), linear_head(64)]))
    save_adapter(tmp_path / "a", extractor, {"recipe": {"name": "test"}, "data": ["mug"], "seed": 0})
    again = load_adapter(tmp_path / "a", load_backbone(folder))
    torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)
    assert not any(p.requires_grad for p in again.parameters()) and not again.training
    assert again.config == CONFIG


def test_adapter_fits_a_model_saved_again(folder: Path, tmp_path: Path) -> None:
    """save_pretrained writes other weight names than the modules have; the adapter must not care."""
    extractor = adapted(folder)
    save_adapter(tmp_path / "a", extractor)
    load_backbone(folder).model.save_pretrained(tmp_path / "model")
    again = load_adapter(tmp_path / "a", load_backbone(tmp_path / "model"))
    torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)


def test_merged_model_survives_save_pretrained(folder: Path, tmp_path: Path) -> None:
    extractor = adapted(folder)
    expected = extractor(images())
    merge_lora(extractor.backbone).model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    again = Extractor(load_backbone(tmp_path / "model"), CONFIG)
    torch.testing.assert_close(again(images()), expected, atol=1e-5, rtol=0)


def test_plain_peft_loads_the_folder(folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    extractor = adapted(folder)
    save_adapter(tmp_path / "a", extractor)
    fresh = load_backbone(folder)
    fresh.model = PeftModel.from_pretrained(fresh.model, tmp_path / "a")
    again = Extractor(fresh, CONFIG)
    torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)


# Details of the adapter -------------------------------------------------------------------------------------------


def test_seeded_and_the_global_generator_untouched(vit: Path) -> None:
    state = torch.get_rng_state()
    weights = []
    for seed in (0, 0, 1):
        backbone = load_backbone(vit)
        add_lora(backbone, SPEC, seed)
        weights.append([p.clone() for p in lora_parameters(backbone)])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not torch.equal(weights[0][0], weights[2][0])
    a, b = weights[0][:2]
    assert a.abs().max() <= 32**-0.5 and a.std() > 0.05 and not b.any()


def test_scale(vit: Path, tmp_path: Path) -> None:
    """alpha / rank scales the update; without alpha the scale is 1."""
    assert LoraSpec(rank=8).scale == 1.0
    updates = []
    for alpha in (None, 2.0, 5.0):
        extractor = Extractor(load_backbone(vit), CONFIG)
        add_lora(extractor.backbone, LoraSpec(2, alpha, 1), seed=0)
        disturb(extractor.backbone)
        name = find_targets(extractor.backbone, 1).names[0]
        base = load_backbone(vit).model.get_submodule(name).weight
        save_adapter(tmp_path / str(alpha), extractor)
        again = load_adapter(tmp_path / str(alpha), load_backbone(vit))
        torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)
        updates.append(merge_lora(extractor.backbone).model.get_submodule(name).weight - base)
    torch.testing.assert_close(updates[0], updates[1])
    torch.testing.assert_close(updates[0] * 2.5, updates[2], atol=1e-6, rtol=1e-4)


def test_bf16_backbone_has_float32_adapters(vit: Path) -> None:
    backbone = load_backbone(vit, dtype=torch.bfloat16)
    extractor = Extractor(backbone, CONFIG)
    add_lora(backbone, SPEC, seed=0)
    assert all(p.dtype == torch.float32 for p in lora_parameters(backbone))
    extractor(images()).float().square().mean().backward()
    assert all(p.grad is not None for p in lora_parameters(backbone))


class FusedBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(dim, 3 * dim)


def fake_backbone(model: nn.Module, blocks: int = 3) -> SimpleNamespace:
    return SimpleNamespace(info=SimpleNamespace(id="fake", blocks=blocks), model=model, requires_grad_=lambda _: None)


def test_fused_qkv_is_found_and_said() -> None:
    model = nn.Module()
    model.blocks = nn.Sequential(*[FusedBlock(8) for _ in range(3)])
    targets = find_targets(fake_backbone(model), 2)
    assert targets.fused and targets.names == ("blocks.1.attn.qkv", "blocks.2.attn.qkv")


def test_an_adapter_that_touches_nothing_is_an_error() -> None:
    model = nn.Module()
    model.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    with pytest.raises(EquiviewError, match=r"q_proj/v_proj.*qkv.*\['layers'\].*touch nothing"):
        add_lora(fake_backbone(model), SPEC, 0)


def test_bad_specs(vit: Path) -> None:
    with pytest.raises(EquiviewError, match="rank 0"):
        LoraSpec(rank=0)
    with pytest.raises(EquiviewError, match="alpha"):
        LoraSpec(alpha=float("nan"))
    backbone = load_backbone(vit)
    with pytest.raises(EquiviewError, match="at most 3, the blocks"):
        add_lora(backbone, LoraSpec(last_blocks=4), 0)
    with pytest.raises(EquiviewError, match="at most 32, the size of layers.2.attention.q_proj"):
        add_lora(backbone, LoraSpec(rank=33, last_blocks=1), 0)
    assert not has_lora(backbone)
    add_lora(backbone, SPEC, 0)
    with pytest.raises(EquiviewError, match="has an adapter already"):
        add_lora(backbone, SPEC, 0)


# Folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [None, AverageHead(), RandomConvHead(64, seed=1), ResidualConvHead(64), linear_head(64)],
    ids=["none", "average", "random_conv", "residual_conv", "linear"],
)
def test_heads_without_lora(vit: Path, tmp_path: Path, head: nn.Module | None) -> None:
    extractor = Extractor(load_backbone(vit), CONFIG, head)
    save_adapter(tmp_path / "a", extractor)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"equiview.json"} | ({"head.safetensors"} if head is not None else set())
    again = load_adapter(tmp_path / "a", load_backbone(vit))
    torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)


def test_the_record(vit: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "a", adapted(vit, linear_head(64)), {"recipe": {"name": "x"}, "data": ["mug"], "seed": 7})
    record = read_record(tmp_path / "a")
    assert record["backbone"]["weights_sha256"] == load_backbone(vit).info.weights_sha256
    assert record["features"]["blocks"] == [2, 3] and record["seed"] == 7 and record["data"] == ["mug"]
    assert record["lora"]["rank"] == 2 and record["lora"]["covers"] == "q and v"
    assert {"equiview", "torch", "transformers", "peft"} <= set(record["versions"])
    assert (
        json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"] == record["lora"]["targets"]
    )


def test_saving_replaces_as_a_whole_and_spares_other_files(vit: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "a", adapted(vit, AverageHead()))
    save_adapter(tmp_path / "a", Extractor(load_backbone(vit), CONFIG, AverageHead()))
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"equiview.json", "head.safetensors"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(EquiviewError, match=r"other files \(thesis.txt\)"):
        save_adapter(tmp_path / "b", adapted(vit))
    assert (tmp_path / "b" / "thesis.txt").read_text() == "mine"


def test_a_failed_save_leaves_the_old_adapter(vit: Path, tmp_path: Path) -> None:
    extractor = adapted(vit)
    save_adapter(tmp_path / "a", extractor, {"seed": 1})
    for record, message in (({"x": object()}, "JSON"), ({"x": float("nan")}, "JSON"), ({"lora": 1}, "lora")):
        with pytest.raises(EquiviewError, match=message):
            save_adapter(tmp_path / "a", extractor, record)
    with torch.no_grad():
        lora_parameters(extractor.backbone)[0][0, 0] = float("nan")
    with pytest.raises(EquiviewError, match=r"adapter_model.safetensors: expected finite"):
        save_adapter(tmp_path / "a", extractor, {"seed": 2})
    assert read_record(tmp_path / "a")["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_adapter(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    extractor = adapted(vit, AverageHead())
    save_adapter(tmp_path / "a", extractor, {"seed": 1})

    def fail(*_: object, **__: object) -> None:
        raise error

    for place in ("equiview.models.adapters.saving.save_file", "equiview.io._swap_folder"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            expected = EquiviewError if isinstance(error, OSError) else KeyboardInterrupt
            with pytest.raises(expected, match="disk is full" if isinstance(error, OSError) else None):
                save_adapter(tmp_path / "a", extractor, {"seed": 2})
    assert read_record(tmp_path / "a")["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_another_backbone_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    save_adapter(tmp_path / "a", adapted(folders["vit"]))
    with pytest.raises(EquiviewError, match=r"patch: expected 8, found 14"):
        load_adapter(tmp_path / "a", load_backbone(folders["dinov2"]))
    other = load_backbone(save(make_model("vit", seed=9), tmp_path / "other"))
    with pytest.raises(EquiviewError, match=r"sha256 .*other.*allow_other_weights=True"):
        load_adapter(tmp_path / "a", other)
    assert not has_lora(other)
    assert has_lora(load_adapter(tmp_path / "a", other, allow_other_weights=True).backbone)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "head.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "corrupt"])
def test_broken_files_are_named(vit: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = save_adapter(tmp_path / "a", adapted(vit, linear_head(64)))
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    elif damage == "truncated":
        (folder / name).write_bytes(content[: len(content) // 2])
    else:
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(EquiviewError, match=name):
        load_adapter(folder, load_backbone(vit))


def test_bad_records(vit: Path, tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "a", adapted(vit, linear_head(64)))
    good = json.loads((folder / "equiview.json").read_text())
    backbone = load_backbone(vit)
    changes = [
        ({"format": "other"}, "format: expected 'equiview-adapter'"),
        ({"format_version": 99}, "format_version: expected 1, found 99"),
        ({"features": {**good["features"], "colour": 1}}, "colour"),
        ({"head": [{"kind": "magic"}]}, "magic"),
        ({"files": [], "lora": 3}, "lora: expected an object or null, found 3"),
    ]
    for change, message in changes:
        (folder / "equiview.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(EquiviewError, match=message):
            load_adapter(folder, load_backbone(vit))
    (folder / "equiview.json").write_text("{")
    with pytest.raises(EquiviewError, match=r"equiview.json: expected JSON"):
        load_adapter(folder, backbone)
    with pytest.raises(EquiviewError, match="nothing there"):
        load_adapter(tmp_path / "nowhere", backbone)
    with pytest.raises(EquiviewError, match="equiview.json"):
        load_adapter(tmp_path, backbone)


def test_overrides(vit: Path, tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "a", adapted(vit, linear_head(64)))
    assert load_adapter(folder, load_backbone(vit), long_side=112).config.long_side == 112
    with pytest.raises(EquiviewError, match="longside"):
        load_adapter(folder, load_backbone(vit), longside=112)
    with pytest.raises(EquiviewError, match="which the head needs"):
        load_adapter(folder, load_backbone(vit), blocks=(3,))


def test_a_run_folder_will_do(vit: Path, tmp_path: Path) -> None:
    extractor = adapted(vit)
    save_adapter(tmp_path / "run" / "adapter", extractor)
    again = load_adapter(tmp_path / "run", load_backbone(vit), trainable=True)
    torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)
    assert {id(p) for p in again.parameters() if p.requires_grad} == {id(p) for p in lora_parameters(again.backbone)}


def test_moving_the_folder_does_not_matter(vit: Path, tmp_path: Path) -> None:
    extractor = adapted(vit, linear_head(64))
    shutil.move(save_adapter(tmp_path / "a", extractor), tmp_path / "b")
    again = load_adapter(tmp_path / "b", load_backbone(vit))
    torch.testing.assert_close(again(images()), extractor(images()), atol=0, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(folder: Path, tmp_path: Path) -> None:
    extractor = adapted(folder, linear_head(64))
    save_adapter(tmp_path / "a", extractor)
    on_gpu = load_adapter(tmp_path / "a", load_backbone(folder, device="cuda"))
    found = on_gpu(images().cuda())
    torch.testing.assert_close(found.cpu(), extractor(images()), atol=2e-3, rtol=1e-3)
    fresh = load_backbone(folder, device="cuda")
    add_lora(fresh, SPEC, seed=0)
    same = load_backbone(folder)
    add_lora(same, SPEC, seed=0)
    for a, b in zip(lora_parameters(fresh), lora_parameters(same), strict=True):
        assert torch.equal(a.cpu(), b)
