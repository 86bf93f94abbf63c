"""Backbones written for timm: the same tokens from timm alone, in every family it has, and honest refusals."""

import json
import re
from pathlib import Path

import pytest
import torch
import transformers

import equiview
from bad_inputs import Run, check_message, write_adapter
from equiview.errors import EquiviewError
from equiview.models.adapters import LoraSpec, add_lora
from equiview.models.backbones import load_backbone
from equiview.models.export import read_protocol
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.timm_export import export_timm
from models.backbones.tiny import SPECS, make_model, save
from models.test_adapters import disturb, linear_head

FAMILIES = ("vit", "vit_mae", "deit", "dinov2", "dinov2_with_registers")


def adapted(folder: Path, config: FeatureConfig) -> Extractor:
    backbone = load_backbone(folder)
    add_lora(backbone, LoraSpec(rank=2, last_blocks=2), seed=0)
    disturb(backbone)
    return Extractor(backbone, config)


def swiglu(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.Dinov2Config(**SPECS["dinov2"][1], use_swiglu_ffn=True)
    model = transformers.Dinov2Model(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return save(model, folder)


@pytest.mark.parametrize("family", [*FAMILIES, "swiglu"])
def test_timm_gives_the_same_tokens(timm, tmp_path: Path, family: str) -> None:
    source = swiglu(tmp_path / "m") if family == "swiglu" else save(make_model(family), tmp_path / "m")
    model = adapted(source, FeatureConfig(blocks=(3,), long_side=56))
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    out = export_timm(model, tmp_path / "timm")
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())
    # The size of the position table: nothing is resampled.
    images = torch.rand((2, 3, 56, 56), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
        plain = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
        mean, std = (torch.tensor(plain.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
        tokens = plain.forward_features((images - mean) / std)[:, plain.num_prefix_tokens :]
        torch.testing.assert_close(tokens.transpose(1, 2).reshape(expected.shape), expected, atol=1e-4, rtol=1e-4)
        for block in (1, 2):
            ours = equiview.load(f"timm:local-dir:{out}", blocks=(block,), norm=False, long_side=56)(images)
            base = Extractor(model.backbone, FeatureConfig(blocks=(block,), norm=False, long_side=56))(images)
            torch.testing.assert_close(ours, base, atol=1e-4, rtol=1e-4)
    assert read_protocol(out) == json.loads(json.dumps(model.describe()))


def test_the_lines_of_its_readme_run(timm, tmp_path: Path) -> None:
    model = adapted(save(make_model("vit"), tmp_path / "m"), FeatureConfig(long_side=56))
    out = export_timm(model, tmp_path / "timm")
    (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    found: dict[str, torch.Tensor] = {}
    exec(code.replace("THIS FOLDER", str(out)).replace("448", "64"), found)
    assert found["tokens"].shape == (1, 64, 32)


def test_what_timm_has_no_place_for_is_refused(run: Run, tmp_path: Path) -> None:
    clip, vit = (save(make_model(family), tmp_path / family) for family in ("clip", "vit"))
    with pytest.raises(EquiviewError, match="one of deit, dinov2.*found clip.*without --timm"):
        export_timm(adapted(clip, FeatureConfig(long_side=56)), tmp_path / "out")
    headed = Extractor(load_backbone(vit), FeatureConfig(long_side=56), linear_head(32))
    with pytest.raises(EquiviewError, match="export --timm: the gain sits in the head.*without --timm"):
        export_timm(headed, tmp_path / "out")
    config = json.loads((vit / "config.json").read_text())
    (vit / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(EquiviewError, match="the activation gelu, found relu"):
        export_timm(adapted(vit, FeatureConfig(long_side=56)), tmp_path / "out")
    (vit / "config.json").write_text(json.dumps(config))
    adapter = write_adapter(tmp_path / "a", vit, head=False)
    words = ("export", "-b", vit, "--adapter", adapter, "--out", tmp_path / "out", "--device", "cpu", "--timm")
    check_message(run(*words, "--plain"), "--timm", "no --plain beside it", "Leave one")
    assert not (tmp_path / "out").exists()
    code, out, _ = run(*words, "--json")
    assert code == 0 and json.loads(out)["timm"] is True and (tmp_path / "out" / "model.safetensors").is_file()
    # What was written for timm goes to the hub as well.
    code, *_ = run("push", tmp_path / "out", "me/vit", "--to", tmp_path / "look")
    card = (tmp_path / "look" / "README.md").read_text()
    assert code == 0 and "library_name: timm" in card and 'create_model("hf-hub:me/vit", pretrained=True)' in card
