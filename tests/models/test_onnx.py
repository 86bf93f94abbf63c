"""ONNX files: the graph beside the extractor, its products beside eigenvalues, and what onnxruntime makes of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.errors import EquiviewError
from equiview.io import write_image
from equiview.models import onnx_export
from equiview.models.adapters import LoraSpec, add_lora
from equiview.models.backbones import Backbone, BackboneInfo, load_backbone
from equiview.models.backbones.base import base_model
from equiview.models.backbones.position import resample_table
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.fixed_heads import AverageHead, CenterHead, DebiasHead, WhitenHead
from equiview.models.heads import FineHead, HeadChain, LinearHead, RandomConvHead
from equiview.models.onnx_export import SizeCheck, check_words, export_onnx
from equiview.models.onnx_graph import OnnxGraph, resampling
from equiview.models.onnx_session import open_onnx
from equiview.models.onnx_whiten import ProductWhiten, negative_power, newton_roots
from models.backbones.tiny import SPECS, make_model, save
from models.test_adapters import disturb

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "04_onnx_match.py"
TWO = FeatureConfig((2, 3), long_side=84)
CONFIGS = {"dinov2": replace(TWO, position="dinov2"), "vit_mae": FeatureConfig((3,), norm=False, long_side=64)}


def head(dim: int) -> HeadChain:
    """Every part that a file can hold but whitening, which no random features survive."""
    side = torch.linalg.qr(torch.randn(2, dim // 2, 3, generator=torch.Generator().manual_seed(4)))[0]
    linear = LinearHead(torch.eye(dim).flip(0) + 0.1, torch.full((dim,), 0.01), 0.4)
    parts = [AverageHead(), DebiasHead(side), CenterHead(), linear, RandomConvHead(dim, seed=1)]
    return HeadChain([*parts, FineHead(HeadChain([DebiasHead(side), CenterHead()]), 0.5)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save(make_model(family), root / family) for family in SPECS}


def make(folder: Path, config: FeatureConfig, top: nn.Module | None = None) -> Extractor:
    backbone = load_backbone(folder)
    add_lora(backbone, LoraSpec(rank=2, last_blocks=2), seed=0)
    disturb(backbone, 3)
    return Extractor(backbone, config, top).eval()


@pytest.mark.parametrize("family", list(SPECS))
def test_the_graph_is_the_extractor_at_every_size(folders: dict[str, Path], family: str) -> None:
    config = CONFIGS.get(family, TWO)
    extractor = make(folders[family], config, head(64) if len(config.blocks) == 2 else AverageHead())
    graph, patch = OnnxGraph(extractor), extractor.backbone.info.patch
    native = base_model(extractor.backbone.model).config.image_size // patch
    with torch.no_grad():
        for rows, cols in ((native, native), (3, 5), (2 * native, native + 1)):
            images = torch.rand((2, 3, rows * patch, cols * patch), generator=torch.Generator().manual_seed(rows))
            same = Extractor(extractor.backbone, replace(config, long_side=patch * max(rows, cols)), extractor.head)
            torch.testing.assert_close(graph(images), same(images), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("count", [2, 5, 8, 13])
def test_resampling_by_products_is_that_of_torch(count: int, antialias: bool) -> None:
    table = torch.randn((25, 3), generator=torch.Generator().manual_seed(0))
    for position, offset in (("hf", 0.0), *((("dinov2", 0.1),) if not antialias else ())):
        rows = resampling(torch.arange(count), torch.tensor((count + offset) / 5), 5, antialias)
        cols = resampling(torch.arange(7), torch.tensor((7 + offset) / 5), 5, antialias)
        found = torch.einsum("ir,jc,rcd->ijd", rows, cols, table.reshape(5, 5, 3)).reshape(-1, 3)
        expected = resample_table(table, (count, 7), position=position, antialias=antialias)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_matrix_functions_by_products() -> None:
    turn = torch.linalg.qr(torch.randn(2, 12, 12, generator=torch.Generator().manual_seed(0)))[0]
    values = torch.logspace(-4, 0, 12)
    matrix = (turn * values) @ turn.mT
    root, inverse = newton_roots(matrix, 1e-4)
    torch.testing.assert_close(root, (turn * values.sqrt()) @ turn.mT, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(inverse, (turn * values.rsqrt()) @ turn.mT, atol=0.5, rtol=1e-2)
    found = negative_power(matrix, 0.35, 1e-4)
    torch.testing.assert_close(found, (turn * values**-0.35) @ turn.mT, atol=2e-2, rtol=5e-3)


@pytest.mark.parametrize("size", [(90, 5, 7), (24, 9, 11), (200, 14, 15)], ids=str)
def test_whitening_by_products_is_whitening(size: tuple[int, int, int]) -> None:
    """Fewer tokens than channels and directions, fewer channels than directions, and more of both."""
    generator = torch.Generator().manual_seed(3)
    few = min(size[0], size[1] * size[2])
    left = torch.linalg.qr(torch.randn(2, size[0], few, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(2, size[1] * size[2], few, generator=generator))[0]
    maps = (left * torch.exp(-0.1 * torch.arange(few)) @ right.mT).unflatten(2, size[1:]) * 30
    exact, found = WhitenHead()(maps), ProductWhiten(WhitenHead(), size[0])(maps)
    assert F.cosine_similarity(found, exact, dim=1).min() > 0.9999
    torch.testing.assert_close(found, exact, atol=float(0.02 * exact.abs().max()), rtol=0)
    coarse = ProductWhiten(WhitenHead(method="low_rank", rank=4), size[0])(maps)
    assert F.cosine_similarity(coarse, exact, dim=1).mean() < 0.99
    plain = ProductWhiten(WhitenHead(), size[0])(torch.zeros_like(maps))
    assert torch.equal(plain, torch.zeros_like(maps))


@pytest.fixture(scope="module")
def exported(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Extractor, Path]:
    """The DINOv2 layout with the parts of its preset's head; translated once, for that takes most of the time."""
    side = torch.linalg.qr(torch.randn(1, 32, 3, generator=torch.Generator().manual_seed(4)))[0]
    parts = [DebiasHead(side), CenterHead(), WhitenHead(), FineHead(CenterHead(), 0.5)]
    config = FeatureConfig((1,), long_side=84, position="dinov2")
    extractor = make(folders["dinov2"], config, HeadChain(parts))
    path = tmp_path_factory.mktemp("onnx") / "features.onnx"
    checks = export_onnx(extractor, path)
    assert len({one.image_hw for one in checks}) == 3 and "Checked in onnxruntime at" in check_words(checks)
    return extractor, path


def test_onnxruntime_gives_the_features_at_sizes_it_never_saw(exported: tuple[Extractor, Path]) -> None:
    extractor, path = exported
    opened = open_onnx(path)
    pictures = [dead_leaves(0, (50, 70)), dead_leaves(1, (120, 90))]
    for found, expected in zip(opened.maps(pictures), extractor.maps(pictures), strict=True):
        assert (found.stride_xy, found.offset_xy) == (expected.stride_xy, expected.offset_xy)
        cosines = F.cosine_similarity(found.tokens, expected.tokens, dim=0)
        assert cosines.shape == expected.hw and cosines.min() > 0.98 and cosines.mean() > 0.995
    graph = OnnxGraph(extractor)
    for size in ((3, 3, 28, 98), (1, 3, 70, 42)):
        images = torch.rand(size, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(opened.features(images), graph(images), atol=1e-3, rtol=1e-3)
    assert opened.describe()["head"] == extractor.describe()["head"]


def test_a_size_of_no_whole_patches_is_refused(exported: tuple[Extractor, Path]) -> None:
    opened = open_onnx(exported[1])
    with pytest.raises(EquiviewError, match="whole patches of 14 px, found 30 x 28. Resize"):
        opened.features(torch.zeros(1, 3, 30, 28))
    # By the file itself too, wherever it is used.
    with pytest.raises(Exception, match="cannot be reshaped"):
        opened.session.run(None, {"images": np.zeros((1, 3, 30, 28), np.float32)})


def test_the_file_names_no_place_on_this_machine(exported: tuple[Extractor, Path]) -> None:
    extractor, path = exported
    content = path.read_bytes()
    assert b"site-packages" not in content and b"onnx_graph.py" not in content
    record = json.loads(path.with_name("features.onnx.json").read_text())
    assert record["patch"] == 14 and len(record["checks"]) == 3 and len(record["sha256"]) == 64
    assert sorted(one.name for one in path.parent.iterdir()) == ["features.onnx", "features.onnx.json"]


def test_the_example_needs_no_torch(exported: tuple[Extractor, Path], tmp_path: Path) -> None:
    for name, seed in (("a.png", 5), ("b.png", 5)):
        write_image(tmp_path / name, dead_leaves(seed, (84, 112)))
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['equiview'] = None; runpy.run_path(sys.argv.pop(1), {})"
    )
    words = [sys.executable, "-c", code, EXAMPLE, exported[1], tmp_path / "a.png", tmp_path / "b.png"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    # A picture and itself: every place finds itself.
    assert len(lines) == 20 and all(line[:2] == line[3:5] and float(line[5]) > 0.99 for line in lines)


def test_half_precision_is_of_the_network_alone(folders: dict[str, Path]) -> None:
    extractor = make(folders["deit"], TWO, head(64))
    graph, half = OnnxGraph(extractor), OnnxGraph(extractor, half=True)
    kinds = {name: value.dtype for name, value in half.state_dict().items()}
    assert all((kind == torch.float16) == name.startswith("model.") for name, kind in kinds.items())
    assert next(extractor.backbone.parameters()).dtype == torch.float32
    images = torch.rand((1, 3, 40, 56), generator=torch.Generator().manual_seed(0))
    found, expected = (F.normalize(one(images), dim=1) for one in (half, graph))
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < onnx_export.TOLERANCE[True]


def test_command(run, exported: tuple[Extractor, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    extractor, path = exported
    model = onnx.load(path)
    del model.metadata_props[:]
    monkeypatch.setattr(onnx_export, "_translated", lambda graph: model)
    monkeypatch.setattr("equiview.jobs.export.open_features", lambda options: extractor)
    out = tmp_path / "e.onnx"
    words = ("export", "-b", "any", "--onnx", "--out", out, "--remeasure", "builtin:mug", "--views", "5", "--json")
    code, said, err = run(*words)
    assert code == 0, err
    result = json.loads(said)
    assert result["wrote"] == [str(out), f"{out}.json"] and len(result["checks"]) == 3
    before, after = result["remeasured"]["pcdp@0.2"]
    assert before > 0 and abs(before - after) < 0.5


def test_a_file_that_fails_its_check_is_not_left_behind(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    monkeypatch.setattr(onnx_export, "_translated", lambda graph: onnx.ModelProto())
    (tmp_path / "e.onnx").write_bytes(b"an older one")
    for wrong in (
        SizeCheck((8, 8), 0.5, 0.5, 1.0),
        SizeCheck((8, 8), float("nan"), 0, 1.0),
        SizeCheck((8, 8), 0, 0, 0),
    ):
        monkeypatch.setattr(onnx_export, "check_file", lambda *_, wrong=wrong: [wrong])
        with pytest.raises(EquiviewError, match="features within 0.002 of torch in onnxruntime"):
            export_onnx(make(folders["deit"], TWO), tmp_path / "e.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["e.onnx"]
    assert (tmp_path / "e.onnx").read_bytes() == b"an older one"
    with pytest.raises(EquiviewError, match="a file that onnxruntime can load"):
        open_onnx(tmp_path / "e.onnx")


def test_refusals(folders: dict[str, Path], run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Extractor(load_backbone(folders["deit"]), TWO)
    out = tmp_path / "e.onnx"
    cases = [
        (Extractor(plain.backbone, replace(TWO, mirrored=0.25)), "pictures seen once"),
        (Extractor(plain.backbone, replace(TWO, stride=4)), "the stride of whole patches, 8"),
        (Extractor(plain.backbone, TWO, nn.Conv2d(64, 64, 1)), "a head of equiview, found Conv2d"),
        (
            Extractor(
                Backbone(
                    BackboneInfo("timm:x", "timm", 16, 8, 1, 1, (0.5,) * 3, (0.5,) * 3, "0"), nn.Linear(1, 1), None
                )
            ),
            "timm:x",
        ),
    ]
    for extractor, message in cases:
        with pytest.raises(EquiviewError, match=message):
            export_onnx(extractor, out)
    with pytest.raises(EquiviewError, match="ends in .onnx"):
        export_onnx(plain, tmp_path / "folder")
    for wrong, message in ((("--fp16",), "--onnx beside it"), (("--onnx", "--plain"), "Leave the others out")):
        code, _, err = run("export", "-b", folders["deit"], "--out", out, *wrong)
        assert code == 2 and message in err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EquiviewError, match=r"ONNX: expected .*no onnxruntime. pip install 'equiview\[onnx\]'"):
        export_onnx(plain, out)
    assert list(tmp_path.iterdir()) == []
