"""The knob between base and adapted features: exact at both ends, in between, saved, loaded, merged, refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from equiview.errors import EquiviewError
from equiview.jobs.feature_options import FeatureOptions, open_features
from equiview.models.adapters import (
    LoraSpec,
    add_lora,
    load_adapter,
    lora_disabled,
    lora_strength,
    merge_lora,
    read_record,
    save_adapter,
    set_lora_strength,
    set_strength,
    strength_of,
)
from equiview.models.adapters.lora import ADAPTER_NAME, lora_layers
from equiview.models.backbones import load_backbone
from equiview.models.export import export, open_export
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import AverageHead, CenterHead, HeadChain, LinearHead, RandomConvHead, ResidualConvHead
from equiview.models.loading import load
from models.backbones.tiny import make_model, save
from models.test_adapters import disturb

CONFIG = FeatureConfig(blocks=(2, 3), long_side=56)
BAD = (-0.1, 1.5, float("nan"), float("inf"), "half", True, None)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model("vit"), tmp_path_factory.mktemp("models") / "vit")


def images() -> torch.Tensor:
    return torch.rand((2, 3, 48, 64), generator=torch.Generator().manual_seed(0))


def linear(dim: int = 64) -> LinearHead:
    generator = torch.Generator().manual_seed(5)
    return LinearHead(torch.randn((dim, dim), generator=generator), torch.randn(dim, generator=generator))


def residual(dim: int = 64) -> ResidualConvHead:
    head = ResidualConvHead(dim)
    with torch.no_grad():
        head.conv.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    return head


def whole() -> HeadChain:
    return HeadChain([AverageHead(), HeadChain([CenterHead(), residual()]), linear()])


def adapted(folder: Path, head: nn.Module | None, alpha: float | None = 3.0) -> Extractor:
    extractor = Extractor(load_backbone(folder), CONFIG, head).eval()
    add_lora(extractor.backbone, LoraSpec(2, alpha, 2), seed=0)
    disturb(extractor.backbone)
    return extractor


def features(extractor: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return extractor(images())


def test_both_ends_are_exact_and_the_way_back_too(vit: Path) -> None:
    extractor = adapted(vit, whole())
    full = features(extractor)
    fixed = HeadChain([AverageHead(), CenterHead()])
    base = features(Extractor(load_backbone(vit), CONFIG, fixed))
    assert set_strength(extractor, 0) is extractor and strength_of(extractor) == 0
    assert torch.equal(features(extractor), base)
    half = features(set_strength(extractor, 0.5))
    assert min((half - base).abs().max(), (half - full).abs().max()) > 1e-3
    assert torch.equal(features(set_strength(extractor, 1)), full)


def test_lora_at_0_is_the_base_and_merging_keeps_the_strength(vit: Path) -> None:
    extractor = adapted(vit, None)
    full = features(extractor)
    with lora_disabled(extractor.backbone):
        base = features(extractor)
    for strength in (0, 0.5, 1):
        set_lora_strength(extractor.backbone, strength)
        assert lora_strength(extractor.backbone) == strength
        found = features(extractor)
        merged = copy.deepcopy(extractor)
        merge_lora(merged.backbone)
        torch.testing.assert_close(features(merged), found, atol=1e-5, rtol=0)
        if strength != 0.5:
            assert torch.equal(found, full if strength else base)
    assert lora_strength(merged.backbone) is None


def test_the_effective_scale_is_strength_times_alpha_over_rank(vit: Path) -> None:
    extractor = adapted(vit, None)
    layers = [layer for _, layer in lora_layers(extractor.backbone)]
    assert lora_strength(extractor.backbone) == 1 and layers[0].scaling[ADAPTER_NAME] == 1.5
    set_lora_strength(extractor.backbone, 0.3)
    assert lora_strength(extractor.backbone) == 0.3
    assert all(layer.scaling[ADAPTER_NAME] == pytest.approx(0.45) for layer in layers)
    assert all(layer.lora_alpha[ADAPTER_NAME] == 3 for layer in layers)
    # What peft itself set counts, not what was noted.
    for layer in layers:
        layer.scaling[ADAPTER_NAME] = 0.375
    assert lora_strength(extractor.backbone) == 0.25
    layers[0].scaling[ADAPTER_NAME] = 0.75
    with pytest.raises(EquiviewError, match="one for all layers"):
        lora_strength(extractor.backbone)


@pytest.mark.parametrize("strength", [1 / 3, 0.1, 0.0])
def test_saved_loaded_and_saved_again_is_the_same(vit: Path, tmp_path: Path, strength: float) -> None:
    extractor = set_strength(adapted(vit, whole(), alpha=7.0), strength)
    record = read_record(save_adapter(tmp_path / "a", extractor, {"seed": 1}))
    assert record["lora"]["strength"] == strength and record["lora"]["alpha"] == 7
    assert [part.get("strength") for part in record["head"]] == [None, None, strength, strength]
    again = load_adapter(tmp_path / "a", load_backbone(vit))
    assert torch.equal(features(again), features(extractor)) and strength_of(again) == strength
    assert read_record(save_adapter(tmp_path / "b", again, {"seed": 1})) == record


def test_plain_peft_gets_the_full_adapter(vit: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    extractor = adapted(vit, None)
    full = features(extractor)
    save_adapter(tmp_path / "a", set_strength(extractor, 0.25))
    fresh = load_backbone(vit)
    fresh.model = PeftModel.from_pretrained(fresh.model, tmp_path / "a")
    assert torch.equal(features(Extractor(fresh, CONFIG)), full)


def test_loading_at_a_strength_is_absolute(vit: Path, tmp_path: Path) -> None:
    extractor = adapted(vit, whole())
    full = features(extractor)
    save_adapter(tmp_path / "a", set_strength(extractor, 0.5))
    assert torch.equal(features(load_adapter(tmp_path / "a", load_backbone(vit))), features(extractor))
    assert torch.equal(features(load_adapter(tmp_path / "a", load_backbone(vit), strength=1)), full)
    base = features(Extractor(load_backbone(vit), CONFIG, HeadChain([AverageHead(), CenterHead()])))
    assert torch.equal(features(load_adapter(tmp_path / "a", load_backbone(vit), strength=0)), base)


def test_records_from_before_are_in_full(vit: Path, tmp_path: Path) -> None:
    extractor = adapted(vit, HeadChain([AverageHead(), linear()]))
    path = save_adapter(tmp_path / "a", extractor) / "equiview.json"
    record = json.loads(path.read_text())
    del record["lora"]["strength"], record["head"][1]["strength"]
    path.write_text(json.dumps(record))
    again = load_adapter(tmp_path / "a", load_backbone(vit))
    assert torch.equal(features(again), features(extractor)) and strength_of(again) == 1


def test_bf16(vit: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "a", adapted(vit, whole()))
    found = load(vit, adapter=tmp_path / "a", strength=0, dtype=torch.bfloat16)
    base = Extractor(load_backbone(vit, dtype=torch.bfloat16), CONFIG, HeadChain([AverageHead(), CenterHead()]))
    assert features(found).dtype == torch.bfloat16 and torch.equal(features(found), features(base))


# What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", BAD, ids=str)
def test_no_number_from_0_to_1(vit: Path, tmp_path: Path, strength: Any) -> None:
    for make in (
        lambda: LinearHead(torch.eye(3), torch.zeros(3), strength),
        lambda: ResidualConvHead(3, strength),
        lambda: set_strength(Extractor(load_backbone(vit), CONFIG, linear()), strength),
    ):
        with pytest.raises(EquiviewError, match="a number from 0 to 1"):
            make()


def test_a_record_with_another_is_named(vit: Path, tmp_path: Path) -> None:
    path = save_adapter(tmp_path / "a", adapted(vit, linear())) / "equiview.json"
    good = json.loads(path.read_text())
    for change in ({"lora": {**good["lora"], "strength": 2}}, {"head": [{**good["head"][0], "strength": "all"}]}):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(EquiviewError, match=r"strength: expected a number from 0 to 1"):
            load_adapter(tmp_path / "a", load_backbone(vit))


WITHOUT_A_WAY_BACK = [
    (HeadChain([linear(), RandomConvHead(64)]), True, "random_conv, which replaces the features"),
    (LinearHead(torch.ones(8, 64), torch.zeros(64)), True, "from 64 to 8 channels"),
    (HeadChain([AverageHead(), CenterHead()]), False, "average, center without a LoRA: nothing in it was fitted"),
]


@pytest.mark.parametrize(("head", "lora", "message"), WITHOUT_A_WAY_BACK, ids=["random_conv", "not_square", "fixed"])
def test_adapters_without_a_way_back(vit: Path, tmp_path: Path, head: nn.Module, lora: bool, message: str) -> None:
    extractor = adapted(vit, head) if lora else Extractor(load_backbone(vit), CONFIG, head)
    save_adapter(tmp_path / "a", extractor)
    before = features(extractor)
    backbone = load_backbone(vit)
    with pytest.raises(EquiviewError, match=message):
        load_adapter(tmp_path / "a", backbone, strength=0.5)
    assert not lora_layers(backbone)
    with pytest.raises(EquiviewError, match=message):
        set_strength(extractor, 0.5)
    assert torch.equal(features(extractor), before)
    assert torch.equal(features(load_adapter(tmp_path / "a", backbone, strength=1)), before)


def test_a_strength_of_nothing(vit: Path, tmp_path: Path) -> None:
    with pytest.raises(EquiviewError, match="strength: expected an adapter"):
        load(vit, strength=0.5)
    with pytest.raises(EquiviewError, match="--strength: expected an --adapter"):
        open_features(FeatureOptions(str(vit), strength=0.5))
    with pytest.raises(EquiviewError, match="backbone with an adapter"):
        set_lora_strength(load_backbone(vit), 1)
    with pytest.raises(EquiviewError, match="Use set_strength"):
        export(Extractor(load_backbone(vit), CONFIG), tmp_path / "e", strength=0.5)


# Protocols, exports, the command line -----------------------------------------------------------------------------


def test_protocols_tell_strengths_apart(vit: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "a", adapted(vit, None))
    model = load(vit, adapter=tmp_path / "a")
    full = model.describe()
    assert full["adapter"]["strength"] == full["adapter"]["lora"]["strength"] == 1
    half = load(vit, adapter=tmp_path / "a", strength=0.5)
    described = half.describe()
    assert described["adapter"]["strength"] == described["adapter"]["lora"]["strength"] == 0.5
    assert described["adapter"]["sha256"] == full["adapter"]["sha256"]
    assert set_strength(model, 0.5).describe() == described
    assert half.merged().describe() == described
    assert load(vit, adapter=tmp_path / "a", strength=1).describe() == full


def test_parts_of_different_strengths_have_none_in_common(vit: Path, tmp_path: Path) -> None:
    extractor = adapted(vit, linear())
    set_lora_strength(extractor.backbone, 0.5)
    assert strength_of(extractor) is None
    save_adapter(tmp_path / "a", extractor)
    described = load(vit, adapter=tmp_path / "a").describe()
    assert described["adapter"]["strength"] is None
    assert described["adapter"]["lora"]["strength"] == 0.5 and described["head"][0]["strength"] == 1


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_exported_at_a_strength(vit: Path, tmp_path: Path, strength: float) -> None:
    save_adapter(tmp_path / "a", adapted(vit, whole()))
    model = load(vit, adapter=tmp_path / "a", strength=strength)
    again = open_export(export(vit, tmp_path / "e", adapter=tmp_path / "a", strength=strength))
    torch.testing.assert_close(features(again), features(model), atol=1e-4, rtol=0)
    assert again.describe()["adapter"]["strength"] == strength


def test_commands(run: Any, vit: Path, tmp_path: Path) -> None:
    import numpy as np

    from equiview.io import write_image

    save_adapter(tmp_path / "a", adapted(vit, None))
    picture = tmp_path / "p.png"
    write_image(picture, np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    arguments = ("features", picture, "--backbone", vit, "--no-pca", "--json", "--device", "cpu")
    given = ("--adapter", tmp_path / "a", "--strength")
    code, out, err = run(*arguments, *given, "0.5", "--out", tmp_path / "half")
    assert code == 0, err
    assert json.loads(out)["index"]["protocol"]["features"]["adapter"]["strength"] == 0.5
    code, _, err = run(*arguments, *given, "1", "--out", tmp_path / "half")
    assert code == 2, "another strength is another run"
    for wrong in ((*given, "1.5"), (*given, "nan"), ("--strength", "0.5")):
        code, _, err = run(*arguments, *wrong, "--out", tmp_path / "x")
        assert code == 2 and "strength" in err
        assert not (tmp_path / "x").exists()
