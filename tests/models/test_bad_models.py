"""Model folders, adapters, heads and checkpoints that are wrong in one place: one message says where and what to do."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from equiview.errors import TEXT_CHARS, EquiviewError, bad_input, shown
from equiview.finetune.train import train
from equiview.io import file_sha256
from equiview.models.adapters import LoraSpec, add_lora, has_lora, load_adapter, lora_parameters, save_adapter
from equiview.models.backbones import load_backbone
from equiview.models.export import export, open_export
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.heads import LinearHead, build_head
from finetune.tiny import objects, of_network, recipe
from finetune.tiny import tiny_backbone as trained_backbone
from models.backbones.tiny import COMMON, make_model, save

Spoil = Callable[[Path], None]
LONG = "x" * 5000


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model("vit"), tmp_path_factory.mktemp("model") / "vit")


@pytest.fixture(scope="module")
def whole(vit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with a LoRA and a head."""
    head = LinearHead(torch.eye(64), torch.zeros(64), 0.5)
    extractor = Extractor(load_backbone(vit), FeatureConfig((2, 3), long_side=56), head)
    add_lora(extractor.backbone, LoraSpec(2, last_blocks=1), seed=0)
    return save_adapter(tmp_path_factory.mktemp("adapters") / "a", extractor)


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def check_message(caught: pytest.ExceptionInfo[EquiviewError], folder: Path, said: str) -> None:
    text = str(caught.value)
    assert str(folder) in text and said in text, text
    assert "expected" in text and "found" in text and "\n" not in text
    assert len(text.replace(str(folder), "")) < 3 * TEXT_CHARS and "x" * 81 not in text


def edit(name: str, *path: str | int, value: Any = None, drop: bool = False) -> Spoil:
    """Return a function that changes one value of a JSON file and keeps checksums right."""

    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        inside = content
        for key in path[:-1]:
            inside = inside[key]
        if drop:
            del inside[path[-1]]
        elif path:
            inside[path[-1]] = value
        (folder / name).write_text(json.dumps(content if path else value))
        sign(folder)

    return spoil


def sign(folder: Path) -> None:
    """Write the checksums anew: what is wrong is the content, not the copy."""
    path = folder / "equiview.json"
    record = json.loads(path.read_text()) if path.is_file() else None
    if isinstance(record, dict) and isinstance(record.get("files"), dict):
        known = [name for name in record["files"] if (folder / name).is_file()]
        record["files"] |= {name: file_sha256(folder / name) for name in known}
        path.write_text(json.dumps(record))


def weights(name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    """Return a function that changes the tensors of a safetensors file and keeps checksums right."""

    def spoil(folder: Path) -> None:
        state = {key: value.clone() for key, value in load_file(folder / name).items()}
        changed = change(state)
        save_file(state if changed is None else changed, folder / name, metadata={"format": "pt"})
        sign(folder)

    return spoil


def raw(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)
        sign(folder)

    return spoil


def first(value: Any) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda state: state[min(state)].view(-1)[:1].fill_(value) is None or None


R, H, C, W = "equiview.json", "head.safetensors", "adapter_config.json", "adapter_model.safetensors"
ADAPTERS: dict[str, tuple[Spoil, str]] = {
    "record is a list": (edit(R, value=[1]), "found list"),
    "format is a number": (edit(R, "format", value=3), "'equiview-adapter'"),
    "format is long": (edit(R, "format", value=LONG), "'equiview-adapter'"),
    "version is text": (edit(R, "format_version", value="1"), "expected 1, found '1'"),
    "no backbone": (edit(R, "backbone", drop=True), "the key 'backbone'"),
    "backbone is text": (edit(R, "backbone", value="dinov2"), "backbone: expected an object"),
    "backbone without dim": (edit(R, "backbone", "dim", drop=True), "the key 'dim'"),
    "dim is text": (edit(R, "backbone", "dim", value="32"), "backbone: dim: expected an integer, found '32'"),
    "blocks is true": (edit(R, "backbone", "blocks", value=True), "blocks: expected an integer, found True"),
    "id is null": (edit(R, "backbone", "id", value=None), "id: expected text, found None"),
    "sha256 is a number": (edit(R, "backbone", "weights_sha256", value=5), "weights_sha256: expected text"),
    "features is a list": (edit(R, "features", value=[]), "features: expected an object"),
    "feature unknown": (edit(R, "features", "colour", value=1), "colour"),
    "feature of a long name": (edit(R, "features", LONG, value=1), "names among"),
    "blocks are text": (edit(R, "features", "blocks", value="23"), "blocks: expected a list, found '23'"),
    "a block is text": (edit(R, "features", "blocks", value=[2, "3"]), "blocks[1]: expected an integer"),
    "norm is a number": (edit(R, "features", "norm", value=1), "norm: expected true or false, found 1"),
    "long side is text": (edit(R, "features", "long_side", value="56"), "long_side: expected an integer"),
    "long side is huge": (edit(R, "features", "long_side", value=10**400), "long_side: expected an integer"),
    "stride is a list": (edit(R, "features", "stride", value=[8]), "stride: expected an integer or null"),
    "position unknown": (edit(R, "features", "position", value="mine"), "'hf' or 'dinov2'"),
    "sizes hold text": (edit(R, "features", "sizes", value=["1"]), "sizes[0]: expected a finite number"),
    "mirrored is NaN": (edit(R, "features", "mirrored", value=math.nan), "mirrored: expected a finite number"),
    "head is an object": (edit(R, "head", value={}), "head: expected a list"),
    "head part is text": (edit(R, "head", value=["linear"]), "head[0]: expected an object"),
    "head kind is a list": (edit(R, "head", 0, "kind", value=[1]), "kind: expected one of average"),
    "head kind is long": (edit(R, "head", 0, "kind", value=LONG), "kind: expected one of average"),
    "head without size": (edit(R, "head", 0, "in", drop=True), "in: expected an integer, found None"),
    "head size is text": (edit(R, "head", 0, "in", value="64"), "in: expected an integer, found '64'"),
    "head size is negative": (edit(R, "head", 0, "out", value=-1), "out: expected 1 to"),
    "head size is huge": (edit(R, "head", 0, "out", value=2**30), "out: expected 1 to"),
    "head size is another": (
        edit(R, "head", value=[{"kind": "linear", "in": 2**19, "out": 2**19}]),
        "head.safetensors: expected those of",
    ),
    "head strength is NaN": (edit(R, "head", 0, "strength", value=math.nan), "strength: expected a number from 0 to 1"),
    "lora is a list": (edit(R, "lora", value=[]), "lora: expected an object or null"),
    "lora rank is text": (edit(R, "lora", "rank", value="2"), "lora: rank: expected an integer"),
    "lora targets is text": (edit(R, "lora", "targets", value="q"), "targets: expected a list"),
    "a target is null": (edit(R, "lora", "targets", value=[None]), "targets[0]: expected text"),
    "lora strength is text": (edit(R, "lora", "strength", value="1"), "strength: expected a finite number"),
    "lora strength is 2": (edit(R, "lora", "strength", value=2), "LoRA strength: expected a number from 0 to 1"),
    "files is a list": (edit(R, "files", value=[]), "files: expected an object"),
    "a checksum is a number": (edit(R, "files", "other.bin", value=1), "expected text, found 1"),
    "a file outside": (edit(R, "files", "../../etc/passwd", value="0"), "files: expected names among"),
    "config is a list": (edit(C, value=[1]), "adapter_config.json: expected an object"),
    "config without r": (edit(C, "r", drop=True), "the key 'r'"),
    "r is text": (edit(C, "r", value="two"), "r: expected an integer, found 'two'"),
    "r is a fraction": (edit(C, "r", value=2.5), "r: expected an integer, found 2.5"),
    "alpha is null": (edit(C, "lora_alpha", value=None), "lora_alpha: expected a finite number"),
    "alpha is infinite": (edit(C, "lora_alpha", value=math.inf), "lora_alpha: expected a finite number"),
    "head holds NaN": (weights(H, first(math.nan)), "NaN or infinity in matrix"),
    "head holds infinity": (weights(H, first(math.inf)), "NaN or infinity in matrix"),
    "head of integers": (weights(H, lambda s: {k: v.int() for k, v in s.items()}), "weights of a float type"),
    "head of another shape": (
        weights(H, lambda s: s | {"matrix": torch.eye(3)}),
        "head.safetensors: expected those of",
    ),
    "head without weights": (weights(H, lambda s: {"mean": s["mean"]}), "expected those of"),
    "head is empty": (raw(H, b""), "head.safetensors"),
    "head is text": (raw(H, b"<html>not found</html>"), "head.safetensors"),
    "head has a huge header": (raw(H, b"\xff" * 64), "head.safetensors"),
    "LoRA holds NaN": (weights(W, first(math.nan)), "NaN or infinity in"),
    "LoRA of integers": (weights(W, lambda s: {k: v.int() for k, v in s.items()}), "weights of a float type"),
    "LoRA without tensors": (weights(W, lambda s: {}), "found no weights"),
    "LoRA of another layer": (weights(W, lambda s: {f"{LONG}.lora_A.weight": torch.ones(2, 32)}), "weights for"),
    "LoRA of half the tensors": (weights(W, lambda s: {min(s): s[min(s)]}), "found nothing"),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters(vit: Path, whole: Path, tmp_path: Path, name: str) -> None:
    folder, backbone = copied(whole, tmp_path / "a"), load_backbone(vit)
    spoil, said = ADAPTERS[name]
    spoil(folder)
    with pytest.raises(EquiviewError) as caught:
        load_adapter(folder, backbone)
    check_message(caught, folder, said)
    assert not has_lora(backbone) or "LoRA of half" in name


def test_the_adapter_they_are_made_of_is_right(vit: Path, whole: Path, tmp_path: Path) -> None:
    folder = copied(whole, tmp_path / "a")
    sign(folder)
    assert has_lora(load_adapter(folder, load_backbone(vit)).backbone)


def config(**values: Any) -> Spoil:
    return lambda folder: [edit("config.json", key, value=value)(folder) for key, value in values.items()] and None


def processor(value: Any) -> Spoil:
    return raw("preprocessor_config.json", json.dumps(value).encode())


P, M = "preprocessor_config.json", "model.safetensors"
FOUR_BIT = {"quant_method": "bitsandbytes", "load_in_4bit": True}
BACKBONES: dict[str, tuple[Spoil, str]] = {
    "config is a list": (edit("config.json", value=[1]), "config.json: expected an object"),
    "config is a number": (edit("config.json", value=1), "config.json: expected an object"),
    "type is a list": (config(model_type=["vit"]), "model_type: expected text or null"),
    "type is long": (config(model_type=LONG), "model_type: expected one of"),
    "vision config is text": (config(vision_config="vit"), "vision_config: expected an object"),
    "quantised": (config(quantization_config=FOUR_BIT), "float weights, found weights quantised by 'bitsandbytes'"),
    "quantised otherwise": (config(quantization_config={"quant_method": 3}), "float weights"),
    "quantisation is text": (config(quantization_config="int8"), "quantization_config: expected an object or null"),
    "grey pictures": (config(num_channels=1), "num_channels: expected 3 (RGB), found 1"),
    "channels are text": (config(num_channels="3"), "num_channels: expected an integer"),
    "width is text": (config(hidden_size="32"), "hidden_size: expected an integer"),
    "width is negative": (config(hidden_size=-32), ""),
    "another width": (config(hidden_size=48), ""),
    "width is huge": (config(hidden_size=2**40), "hidden_size: expected an integer"),
    "depth is a fraction": (config(num_hidden_layers=2.5), "num_hidden_layers: expected an integer"),
    "no heads": (config(num_attention_heads=0), ""),
    "heads that do not divide": (config(num_attention_heads=5), ""),
    "patch is text": (config(patch_size="eight"), ""),
    "patch of 0": (config(patch_size=0), ""),
    "activation unknown": (config(hidden_act="magic"), ""),
    "processor is a list": (processor([1]), "the settings of an image processor, found list"),
    "mean of two": (processor({"image_mean": [0, 0], "image_std": [1, 1, 1]}), "three numbers each"),
    "mean is text": (processor({"image_mean": "0.5", "image_std": [1, 1, 1]}), "three numbers each"),
    "mean holds NaN": (processor({"image_mean": [math.nan, 0, 0], "image_std": [1] * 3}), "three numbers each"),
    "std of 0": (processor({"image_mean": [0, 0, 0], "image_std": [1, 0, 1]}), "std above 0"),
    "std holds true": (processor({"image_mean": [0] * 3, "image_std": [True] * 3}), "three numbers each"),
    "normalise is text": (processor({"do_normalize": "no"}), "do_normalize: expected true or false or null"),
    "weights hold NaN": (weights(M, first(math.nan)), "finite weights"),
    "weights missing": (weights(M, lambda s: {min(s): s[min(s)]}), "all weights of a ViTModel"),
    "weights are text": (raw(M, b"<html>"), "model.safetensors"),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones(vit: Path, tmp_path: Path, name: str) -> None:
    folder = copied(vit, tmp_path / "vit")
    spoil, said = BACKBONES[name]
    spoil(folder)
    with pytest.raises(EquiviewError) as caught:
        load_backbone(folder)
    check_message(caught, folder, said)


def test_a_model_of_one_channel_is_refused_whatever_its_weights(tmp_path: Path) -> None:
    import transformers

    grey = transformers.ViTModel(transformers.ViTConfig(**COMMON, num_channels=1))
    with pytest.raises(EquiviewError, match=r"num_channels: expected 3 \(RGB\), found 1"):
        load_backbone(save(grey, tmp_path / "grey"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    settings = recipe(steps=1)
    start = Extractor(trained_backbone(), settings.features)
    add_lora(start.backbone, LoraSpec(last_blocks=2), seed=0)
    train(start, objects(3), of_network(settings), folder)
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(content: Any) -> None:
        for key in path[:-1]:
            content = content[key if key != "first" else min(content)]
        content[path[-1] if path[-1] != "first" else min(content)] = value

    return spoil


CHECKPOINTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "is a list": (lambda c: [1], "expected an object"),
    "without identity": (lambda c: c.pop("identity") and None, "the key 'identity'"),
    "identity is text": (put("identity", value="me"), "identity: expected an object"),
    "parameters is a list": (put("parameters", value=[]), "parameters: expected an object"),
    "a parameter is a number": (put("parameters", "first", value=1.0), "expected a Tensor, found 1.0"),
    "a parameter of NaN": (lambda c: first(math.nan)(c["parameters"]), "NaN or infinity"),
    "a parameter of another shape": (put("parameters", "first", value=torch.ones(3)), "other names or shapes"),
    "state is a list": (put("state", value=[]), "state: expected an object"),
    "state without steps": (lambda c: c["state"].pop("steps") and None, "the key 'steps'"),
    "steps is text": (put("state", "steps", value="1"), "steps: expected an integer, found '1'"),
    "losses hold text": (put("state", "losses", value=["low"]), "losses[0]: expected a finite number or null"),
    "skipped counts text": (put("state", "skipped", value={"dark": "1"}), "dark: expected an integer"),
    "seconds are NaN": (put("state", "seconds", value=math.nan), "seconds: expected a finite number"),
    "optimiser is null": (put("optimiser", value=None), "optimiser: expected an object"),
    "optimiser is empty": (put("optimiser", value={}), "the state of this optimiser"),
    "a rate of text": (lambda c: c["optimiser"]["param_groups"][0].update(lr="fast"), "moments and settings"),
    "moments of text": (put("optimiser", "state", 0, "exp_avg", value="x"), ""),
    "moments of another shape": (put("optimiser", "state", 0, "exp_avg", value=torch.ones(7)), "moments and settings"),
    "moments of NaN": (put("optimiser", "state", 0, "step", value=torch.tensor(math.nan)), "NaN or infinity"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(checkpoint: dict[str, Any], tmp_path: Path, name: str) -> None:
    content = torch.load(_saved(checkpoint, tmp_path / "whole.pt"), weights_only=True)
    spoil, said = CHECKPOINTS[name]
    changed = spoil(content)
    _saved(content if changed is None else changed, tmp_path / "checkpoint.pt")
    settings = recipe(steps=1)
    start = Extractor(trained_backbone(), settings.features)
    add_lora(start.backbone, LoraSpec(last_blocks=2), seed=0)
    before = [p.clone() for p in lora_parameters(start.backbone)]
    with pytest.raises(EquiviewError) as caught:
        train(start, objects(3), of_network(settings), tmp_path)
    check_message(caught, tmp_path / "checkpoint.pt", said)
    assert all(torch.equal(a, b) for a, b in zip(before, lora_parameters(start.backbone), strict=True))


def _saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


EXPORTS: dict[str, tuple[Spoil, str]] = {
    "config is a list": (edit("config.json", value=[]), "config.json: expected an object"),
    "features is text": (edit("config.json", "features", value="all"), "features: expected an object"),
    "a feature is text": (edit("config.json", "features", "norm", value="yes"), "norm: expected true or false"),
    "head is text": (edit("config.json", "head", value="linear"), "head: expected a list"),
    "no backbone": (edit("config.json", "equiview_backbone", drop=True), "the key 'equiview_backbone'"),
    "backbone without patch": (
        edit("config.json", "equiview_backbone", "patch", drop=True),
        "all fields of a backbone",
    ),
    "patch is text": (edit("config.json", "equiview_backbone", "patch", value="8"), "patch: expected an integer"),
    "encoder unknown": (edit("config.json", "encoder", "model_class", value="Nothing"), "an export that loads"),
    "weights hold NaN": (weights(M, first(math.nan)), "NaN or infinity"),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exports(vit: Path, tmp_path: Path, name: str) -> None:
    folder = export(Extractor(load_backbone(vit), FeatureConfig((3,), long_side=56)), tmp_path / "export")
    spoil, said = EXPORTS[name]
    spoil(folder)
    with pytest.raises(EquiviewError) as caught:
        open_export(folder)
    assert said in str(caught.value) and "expected" in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"long_side": "640"}, "long_side: expected an integer"),
        ({"long_side": math.inf}, "long_side: expected an integer"),
        ({"blocks": 3}, "blocks: expected a list, found 3"),
        ({"blocks": (1.5,)}, r"blocks\[0\]: expected an integer"),
        ({"norm": None}, "norm: expected true or false"),
        ({"mirrored": "half"}, "mirrored: expected a finite number"),
        ({"position": 3}, "'hf' or 'dinov2'"),
    ],
)
def test_feature_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(EquiviewError, match=said):
        FeatureConfig(**options)


def test_a_head_is_not_made_larger_than_its_weights() -> None:
    """What a file says about sizes allocates nothing."""
    spec = [{"kind": "linear", "in": 2**20, "out": 2**20}]
    with pytest.raises(EquiviewError, match="head weights"):
        build_head(spec, {"matrix": torch.eye(2), "mean": torch.zeros(2)})


def test_messages_are_one_short_line_of_what_can_be_printed() -> None:
    found = f"{LONG!r}, {['a b'] * 999}, two\nlines, \x1b[1m and \udcff"
    text = str(bad_input("a\x00b", "c", found, "d"))
    assert "x" * 81 not in text and len(text) < 2 * TEXT_CHARS and text.isprintable()
    text.encode()
    assert bad_input("a", "b", "c", "d").args == ("a: expected b, found c. d",)
    assert len(shown(list(range(999)))) <= 80 and shown("short") == "'short'"
    assert shown(10**5000) == "a number of over 40 digits"
    path = "/".join(["folder"] * 30) + "/model.safetensors"
    assert "/model.safetensors is" in str(bad_input("a", "b", f"{path} is gone", "d"))
