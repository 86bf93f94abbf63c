"""Exports: the same features from transformers alone, and honest refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from equiview.errors import EquiviewError
from equiview.models import exported_model
from equiview.models.adapters import LoraSpec, add_lora, has_lora, save_adapter
from equiview.models.backbones import Backbone, BackboneInfo, load_backbone
from equiview.models.export import export, open_export
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import (
    AverageHead,
    CenterHead,
    FineHead,
    HeadChain,
    LinearHead,
    RandomConvHead,
    ResidualConvHead,
    WhitenHead,
)
from equiview.sampling import token_centers
from models.backbones.tiny import SPECS, make_model, save
from models.test_adapters import disturb, linear_head

LORA = LoraSpec(rank=2, last_blocks=2)


def residual(dim: int, strength: float = 1.0) -> ResidualConvHead:
    head = ResidualConvHead(dim, strength)
    with torch.no_grad():
        head.conv.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    return head


def heads(dim: int) -> nn.Module:
    """Every kind of head in one chain, nested as recipes may nest them."""
    square = LinearHead(torch.eye(dim).flip(0), torch.ones(dim), 0.3)
    inner = [CenterHead(), WhitenHead(0.7, 0.3), residual(dim), square, residual(dim, 0.6), RandomConvHead(dim, seed=1)]
    fine = FineHead(HeadChain([CenterHead(), WhitenHead(0.5, 0.2)]), 0.5)
    return HeadChain([AverageHead(), HeadChain(inner), linear_head(dim), fine])


# Together these cover every branch of the model file: norm or not, one block or several, stride, positions.
CONFIGS = {
    "dinov2": FeatureConfig((2, 3), True, 84, 7, "dinov2"),
    "dinov2_with_registers": FeatureConfig((1, 3), True, 84, None, "dinov2"),
    "dinov3_vit": FeatureConfig((2, 3), True, 96, 8),
    "clip": FeatureConfig((3,), True, 84, None, "dinov2"),
    "vit_mae": FeatureConfig((3, 1), False, 64),
    "deit": FeatureConfig((2,), True, 64, 4),
    "vit": FeatureConfig((2, 3), True, 56),
    "siglip": FeatureConfig((), True, 84),
}
# Seen several times: one block and two, an even number of sizes, mirrored or not.
SEVERAL = {
    "dinov2": FeatureConfig((2, 3), True, 84, sizes=(0.7, 1.0, 1.4), mirrored=0.25),
    "vit": FeatureConfig((2,), True, 56, sizes=(0.5, 2.0)),
    "dinov3_vit": FeatureConfig((1, 3), False, 96, mirrored=0.5),
}


def make(folder: Path, config: FeatureConfig, head: str = "all", seed: int = 3) -> Extractor:
    backbone = load_backbone(folder)
    add_lora(backbone, LORA, seed=0)
    disturb(backbone, seed)
    return Extractor(backbone, config, heads(32 * max(1, len(config.blocks))) if head == "all" else None)


def images(h: int = 50, w: int = 70) -> torch.Tensor:
    return torch.rand((2, 3, h, w), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save(make_model(family), root / family) for family in SPECS}


@pytest.fixture(scope="module")
def exported(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Extractor, Path]]:
    root = tmp_path_factory.mktemp("exports")
    made = {family: make(folders[family], CONFIGS[family]) for family in SPECS}
    return {family: (extractor, export(extractor, root / family)) for family, extractor in made.items()}


READER = """
import sys
sys.modules["equiview"] = None  # Importing it is now an error.
import json, numpy as np, torch
from pathlib import Path
from transformers import AutoImageProcessor, AutoModel
torch.set_num_threads(1)
root, out = Path(sys.argv[1]), {}
images = torch.from_numpy(np.load(root / "images.npy"))
for family in json.loads(sys.argv[2]):
    model, report = AutoModel.from_pretrained(
        root / family, trust_remote_code=True, local_files_only=True, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    with torch.no_grad():
        pixel_values = model.preprocess(images)
        result = model(pixel_values=pixel_values)
        sequence, as_tuple = model(pixel_values, return_dict=False)
    rows, cols = result.feature_map.shape[2:]
    assert torch.equal(result.last_hidden_state.transpose(1, 2).reshape(result.feature_map.shape), result.feature_map)
    assert torch.equal(as_tuple, result.feature_map) and torch.equal(sequence, result.last_hidden_state)
    out[family] = result.feature_map.numpy()
    processor = AutoImageProcessor.from_pretrained(root / family)
    picture = (np.moveaxis(images[0].numpy(), 0, -1) * 255).astype(np.uint8)
    mean, std = (np.array(v)[:, None, None] for v in (model.config.image_mean, model.config.image_std))
    expected = (np.moveaxis(picture, -1, 0) / 255 - mean) / std
    found = processor(images=picture, return_tensors="np")["pixel_values"][0]
    assert found.shape == expected.shape and abs(found - expected).max() < 1e-5, family
np.savez(root / "out.npz", **out)
"""


def test_transformers_alone_gives_the_same_features(
    exported: dict[str, tuple[Extractor, Path]], tmp_path: Path
) -> None:
    """All families, every kind of head, in a process that cannot import equiview."""
    root = exported["vit"][1].parent
    np.save(root / "images.npy", images().numpy())
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [sys.executable, "-c", READER, str(root), json.dumps(list(exported))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(root / "out.npz")
    for family, (extractor, _) in exported.items():
        with torch.no_grad():
            expected = extractor(images()).numpy()
        assert found[family].shape == expected.shape
        np.testing.assert_allclose(found[family], expected, atol=1e-4, err_msg=family)


def test_an_export_says_how_it_is_used_and_its_weights_can_be_read_like_its_words(
    exported: dict[str, tuple[Extractor, Path]],
) -> None:
    folder = exported["vit"][1]
    assert "model.preprocess(images)" in (folder / "README.md").read_text()
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert len(modes) > 3 and len(set(modes.values())) == 1, modes


@pytest.mark.parametrize("hw", [(2, 3), (6, 7)])
def test_whitening_of_an_export_has_the_gradients_of_the_library(hw: tuple[int, int]) -> None:
    pictures = torch.randn((2, 12, *hw), generator=torch.Generator().manual_seed(0))
    pictures[1] = pictures[1, :, :1, :1]  # One colour: a repeated eigenvalue has no gradient of its own.
    weights = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for head in (WhitenHead(), exported_model.Whiten(0.7, 0.1)):
        maps = pictures.clone().requires_grad_(True)
        (head(maps) * weights).sum().backward()
        found.append(maps.grad)
    assert torch.isfinite(found[0]).all() and torch.equal(*found)


@pytest.mark.parametrize("family", list(SEVERAL))
def test_an_export_sees_pictures_as_often_as_the_library(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    extractor = make(folders[family], SEVERAL[family])
    again = open_export(export(extractor, tmp_path / family))
    with torch.no_grad():
        expected = extractor(images())
        torch.testing.assert_close(again(images()), expected, atol=1e-4, rtol=0)
        model = again.backbone.model
        torch.testing.assert_close(model(model.preprocess(images())).feature_map, expected, atol=1e-4, rtol=0)
    assert again.config == extractor.config and again.geometry((50, 70)) == extractor.geometry((50, 70))
    with pytest.raises(EquiviewError, match="several sizes or mirrored"):
        export(extractor, tmp_path / "plain", plain=True)


@pytest.mark.parametrize("family", list(SPECS))
def test_tokens_of_an_export_are_where_the_library_says(
    exported: dict[str, tuple[Extractor, Path]], family: str
) -> None:
    """The file stands alone and says it in words: token (j, i) is centred on patch / 2 + stride * (j, i)."""
    extractor, folder = exported[family]
    model = open_export(folder).backbone.model
    height, width = model.network_hw(50, 70)
    assert (height, width) == extractor.network_hw((50, 70))
    assert extractor.geometry((height, width)) == ((model.stride,) * 2, (model.patch / 2,) * 2)
    picture = np.zeros((height, width, 3), np.uint8)
    (fmap,) = extractor.maps([picture])
    hidden = model(model.preprocess(torch.zeros(1, 3, height, width))).feature_map
    assert hidden.shape[2:] == fmap.hw
    rows, cols = fmap.hw
    last = torch.tensor([model.patch / 2 + model.stride * (cols - 1), model.patch / 2 + model.stride * (rows - 1)])
    torch.testing.assert_close(token_centers(fmap)[-1], last)


@pytest.mark.parametrize("family", list(SPECS))
def test_reopened_export_is_an_extractor(exported: dict[str, tuple[Extractor, Path]], family: str) -> None:
    extractor, folder = exported[family]
    again = open_export(folder)
    pictures = [np.random.default_rng(i).integers(0, 256, (50, 70, 3), dtype=np.uint8) for i in range(2)]
    for found, expected in zip(again.maps(pictures), extractor.maps(pictures), strict=True):
        assert found.stride_xy == expected.stride_xy and found.offset_xy == expected.offset_xy
        assert found.image_hw == expected.image_hw
        torch.testing.assert_close(found.tokens, expected.tokens, atol=1e-4, rtol=0)
    described = again.describe()
    assert len(described.pop("export_sha256")) == 64
    assert described == extractor.describe()


def test_exporting_leaves_the_extractor_alone(exported: dict[str, tuple[Extractor, Path]]) -> None:
    assert all(has_lora(extractor.backbone) for extractor, _ in exported.values())


def test_names_only(folders: dict[str, Path], tmp_path: Path) -> None:
    extractor = make(folders["vit"], CONFIGS["vit"])
    save_adapter(tmp_path / "run" / "adapter", extractor)
    export(str(folders["vit"]), tmp_path / "e", adapter=tmp_path / "run")
    torch.testing.assert_close(open_export(tmp_path / "e")(images()), extractor(images()), atol=1e-4, rtol=0)
    with pytest.raises(EquiviewError, match="beside an extractor"):
        export(extractor, tmp_path / "e", adapter=tmp_path / "run")


def test_bf16(folders: dict[str, Path], tmp_path: Path) -> None:
    extractor = make(folders["vit"], CONFIGS["vit"]).to(torch.bfloat16)
    export(extractor, tmp_path / "e")
    again = open_export(tmp_path / "e")
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        difference = (again(images()).float() - extractor(images()).float()).abs().max()
        assert difference < 0.05 * extractor(images()).float().abs().max()
    assert next(open_export(tmp_path / "e", dtype=torch.float32).parameters()).dtype == torch.float32


@pytest.mark.parametrize("family", list(SPECS))
def test_plain(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    """The folder is that family's own, with the update in its weights."""
    extractor = make(folders[family], FeatureConfig(long_side=64), head="none")
    export(extractor, tmp_path / "p", plain=True)
    config = json.loads((tmp_path / "p" / "config.json").read_text())
    assert "auto_map" not in config and "modeling_equiview.py" not in {p.name for p in (tmp_path / "p").iterdir()}
    again = open_export(tmp_path / "p", long_side=64)
    assert again.backbone.info.mean == extractor.backbone.info.mean
    torch.testing.assert_close(again(images()), extractor(images()), atol=1e-5, rtol=0)
    base = Extractor(load_backbone(folders[family]), FeatureConfig(long_side=64))
    assert (base(images()) - extractor(images())).abs().max() > 1e-3


def test_plain_loads_with_auto_model(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModel

    extractor = make(folders["dinov2"], FeatureConfig(long_side=56), head="none")
    export(extractor, tmp_path / "p", plain=True)
    model = AutoModel.from_pretrained(tmp_path / "p")
    network = (images(56, 56) - 0.5) / 0.25
    mean, std = (torch.tensor(v)[:, None, None] for v in (extractor.backbone.info.mean, extractor.backbone.info.std))
    tokens = model(network).last_hidden_state[:, 1:]
    expected = extractor(network * std + mean).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=0)


def test_plain_refuses_and_says_why(folders: dict[str, Path], tmp_path: Path) -> None:
    cases = [
        (FeatureConfig(), LinearHead(torch.eye(32), torch.zeros(32)), r"gain sits in the head \(linear\)"),
        (FeatureConfig((2, 3)), None, r"blocks \[2, 3\] concatenated"),
        (FeatureConfig(position="dinov2"), None, "'dinov2' way"),
        (FeatureConfig(stride=7), None, "patch stride is 7"),
    ]
    for config, head, message in cases:
        extractor = make(folders["dinov2"], config, head="none")
        extractor.head = head
        with pytest.raises(EquiviewError, match=message):
            export(extractor, tmp_path / "p", plain=True)
    assert list(tmp_path.iterdir()) == []


def test_refusals(folders: dict[str, Path], tmp_path: Path) -> None:
    info = BackboneInfo("timm:fake", "timm", 16, 8, 1, 1, (0.5,) * 3, (0.5,) * 3, "0")
    with pytest.raises(EquiviewError, match=r"timm:fake.*transformers architecture"):
        export(Extractor(Backbone(info, nn.Linear(1, 1), None)), tmp_path / "e")
    extractor = make(folders["vit"], CONFIGS["vit"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(EquiviewError, match="thesis.txt"):
        export(extractor, tmp_path / "full")
    export(extractor, tmp_path / "e")
    export(extractor, tmp_path / "e")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e", "full"]


def test_broken_exports(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = export(make(folders["vit"], CONFIGS["vit"]), tmp_path / "e")
    with pytest.raises(EquiviewError, match="long_side"):
        open_export(folder, long_side=64)
    model_file = (folder / "modeling_equiview.py").read_text()
    (folder / "modeling_equiview.py").write_text(model_file + "\nprint('other code')\n")
    with pytest.raises(EquiviewError, match=r"modeling_equiview.py: .*would be executed"):
        open_export(folder)
    (folder / "modeling_equiview.py").write_text(model_file)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(EquiviewError, match="an export that loads"):
        open_export(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(EquiviewError, match="model.safetensors"):
        open_export(folder)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(exported: dict[str, tuple[Extractor, Path]]) -> None:
    for extractor, folder in exported.values():
        found = open_export(folder, device="cuda")(images().cuda()).cpu()
        torch.testing.assert_close(found, extractor(images()), atol=5e-3, rtol=1e-3)
