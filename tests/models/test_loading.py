"""`load`: dense maps, features at points, batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.finetune.recipes import THOROUGH
from equiview.jobs.feature_options import FeatureOptions, open_features
from equiview.models.adapters import LoraSpec, add_lora, has_lora, save_adapter
from equiview.models.backbones import load_backbone
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.loading import load
from equiview.sampling import descriptors
from models.backbones.tiny import make_model, save
from models.test_adapters import disturb, linear_head

CONFIG = FeatureConfig(blocks=(2, 3), long_side=64)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model("vit"), tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture(scope="module")
def run(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mug"
    extractor = Extractor(load_backbone(vit), CONFIG, linear_head(64))
    add_lora(extractor.backbone, LoraSpec(rank=2, last_blocks=1), seed=0)
    disturb(extractor.backbone)
    save_adapter(folder / "adapter", extractor)
    return folder


def pictures(count: int = 3, h: int = 50, w: int = 70) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (h, w, 3), dtype=np.uint8) for i in range(count)]


def batch(items: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(items)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("stride", [None, 4])
def test_at_equals_sampling_the_maps(vit: Path, run: Path, stride: int | None) -> None:
    model = load(vit, adapter=run, stride=stride)
    assert isinstance(model, Extractor) and not model.training and has_lora(model.backbone)
    xy = torch.rand((3, 5, 2), generator=torch.Generator().manual_seed(0)) * torch.tensor([70.0, 50.0])
    with torch.no_grad():
        found = model.at(batch(pictures()), xy)
        assert model(batch(pictures())).shape[:2] == (3, 8)
    assert found.shape == (3, 5, 8) and found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3, 5))
    for i, fmap in enumerate(model.maps(pictures())):
        torch.testing.assert_close(found[i], descriptors(fmap, xy[i]), atol=1e-5, rtol=0)


def test_batch_and_order_do_not_matter(vit: Path, run: Path) -> None:
    model = load(vit, adapter=run)
    xy = torch.rand((3, 4, 2), generator=torch.Generator().manual_seed(0)) * 50
    together = model.at(batch(pictures()), xy)
    for i in range(3):
        torch.testing.assert_close(model.at(batch(pictures())[i : i + 1], xy[i : i + 1])[0], together[i])


def test_merged_is_the_same(vit: Path, run: Path) -> None:
    model = load(vit, adapter=run / "adapter")
    before = model(batch(pictures()))
    assert not has_lora(model.merged().backbone)
    torch.testing.assert_close(model(batch(pictures())), before, atol=1e-4, rtol=1e-5)
    assert not has_lora(model.merged().backbone)


def test_without_adapter(vit: Path) -> None:
    model = load(vit, blocks=[1, 3], long_side=64)
    expected = Extractor(load_backbone(vit), FeatureConfig((1, 3), long_side=64))
    torch.testing.assert_close(model(batch(pictures())), expected(batch(pictures())), atol=0, rtol=0)


def test_protocol_names_the_adapter(vit: Path, run: Path) -> None:
    described = load(vit, adapter=run).describe()
    assert described["adapter"] == load(vit, adapter=run / "adapter").describe()["adapter"]
    assert len(described["adapter"]["sha256"]) == 64 and described["adapter"]["lora"]["rank"] == 2
    assert "adapter" not in load(vit).describe()


def test_options(vit: Path, run: Path) -> None:
    assert load(vit, adapter=run).config == CONFIG
    assert load(vit, adapter=run, long_side=96).config.long_side == 96
    model = load(vit, adapter=run, dtype=torch.bfloat16)
    assert model(batch(pictures())).dtype == torch.bfloat16
    assert model.at(batch(pictures()), torch.zeros(3, 1, 2)).dtype == torch.float32


def test_bad_input(vit: Path, run: Path) -> None:
    with pytest.raises(EquiviewError, match="longside"):
        load(vit, longside=3)
    with pytest.raises(EquiviewError, match="longside"):
        load(vit, adapter=run, longside=3)
    with pytest.raises(EquiviewError, match="nothing there"):
        load(vit, adapter=run / "absent")
    model = load(vit, adapter=run)
    with pytest.raises(EquiviewError, match=r"\[3, n, 2\]"):
        model.at(batch(pictures()), torch.zeros(1, 5, 2))
    with pytest.raises(EquiviewError, match="finite"):
        model.at(batch(pictures()), torch.full((3, 5, 2), float("nan")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(vit: Path, run: Path) -> None:
    xy = torch.rand((3, 5, 2), generator=torch.Generator().manual_seed(0)) * 50
    on_cpu = load(vit, adapter=run).at(batch(pictures()), xy)
    on_gpu = load(vit, adapter=run, device="cuda").at(batch(pictures()).cuda(), xy.cuda())
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=2e-3, rtol=0)


@pytest.mark.parametrize("adapted", [False, True])
def test_thorough_on_the_command_line_sees_as_the_recipe_does(vit: Path, run: Path, adapted: bool) -> None:
    """Of a backbone alone and of any adapter, whatever pictures its head learned on."""
    given = FeatureOptions(str(vit), run if adapted else None, long_side=64, thorough=True)
    config = open_features(given).config
    assert (config.sizes, config.mirrored) == (THOROUGH.features.sizes, THOROUGH.features.mirrored)
    assert open_features(replace(given, thorough=False)).config == config.single_pass
    with pytest.raises(EquiviewError, match="stride with sizes or mirrored"):
        open_features(replace(given, stride=4))


@pytest.mark.parametrize(
    ("part", "kinds"), [("own", ["average"]), ("fine", ["average", "fine"]), ("coarse", ["average"])]
)
def test_tasks_take_a_part(part: str, kinds: list[str]) -> None:
    found = open_features(FeatureOptions("equiview/tiny", average=True), part)
    assert [one["kind"] for one in found.describe()["head"]] == kinds
    assert [one["kind"] for one in found.for_kinds().describe()["head"]] == ["average"]
