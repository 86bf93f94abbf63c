"""The jobs behind `equiview transfer`, and the command itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equiview.cli import transfer as command
from equiview.draw.canvas import GAP_PX
from equiview.draw.matches import pair_picture
from equiview.errors import EquiviewError
from equiview.io import read_jsonl
from equiview.jobs.transfer import TransferRun, protocol_for, score_transfer, transfer_points
from equiview.matching.localise import Localise
from equiview.metrics.pck import Scoring
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.oracle import NoiseExtractor
from equiview.tasks.transfer import TransferConfig
from models.backbones.tiny import make_model, save


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Six pairs of five pictures; the last is a picture with itself."""
    rng = np.random.default_rng(0)
    for name in "abcde":
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(tmp_path / f"{name}.png")
    listed = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "a"), ("a", "a")]
    found = [
        {"image0": f"{a}.png", "image1": f"{b}.png", "xy0": [[10, 20], [80, 50]], "xy1": [[10, 20], [80, 50]]}
        for a, b in listed
    ]
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps({"pairs": found}))
    return path


class Stops(NoiseExtractor):
    """Noise that breaks off at some picture."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def maps(self, views, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().maps(views, **kwargs)


def test_a_run_is_written_resumed_and_claimed(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("equiview.jobs.transfer.BLOCK_PAIRS", 2)
    run, out = TransferRun(f"json:{pairs}"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        score_transfer(Stops(3), run, out)
    assert [path.name for path in (out / "rows").iterdir()] == ["000000.jsonl"]
    seen = []
    summary = score_transfer(NoiseExtractor(), run, out, lambda *at: seen.append(at))
    assert seen == [("transfer", n, 6) for n in (3, 4, 5, 6)]
    assert json.loads((out / "summary.json").read_text()) == summary
    assert len(read_jsonl(out / "rows.jsonl")) == 6
    assert summary["protocol"]["pairs"] == "json"
    with pytest.raises(EquiviewError, match="another run"):
        score_transfer(NoiseExtractor(seed=1), run, out)


def test_self_pairs_are_set_apart(pairs, tmp_path):
    summary = score_transfer(NoiseExtractor(stride_px=4), TransferRun(f"json:{pairs}"), tmp_path / "out")
    assert summary["metrics"]["pck@0.05"]["n"] == 6
    assert summary["without_self_pairs"]["pck@0.05"]["n"] == 5
    assert summary["metrics"]["pck@0.05"]["value"] > summary["without_self_pairs"]["pck@0.05"]["value"]


def test_another_scoring(pairs, tmp_path):
    run = TransferRun(f"json:{pairs}", scoring=Scoring("extent", "point", inclusive=True))
    summary = score_transfer(NoiseExtractor(), run, tmp_path / "out")
    assert summary["protocol"]["scoring"] == {"threshold": "extent", "average": "point", "inclusive": True}


def test_points_between_two_pictures(pairs, tmp_path):
    images = (tmp_path / "a.png", tmp_path / "a.png")
    xy0 = np.array([[10.0, 20.0], [80.0, 50.0]])
    result = transfer_points(NoiseExtractor(stride_px=4), images, xy0, TransferConfig(), tmp_path)
    np.testing.assert_allclose(result["xy1"], xy0, atol=4)
    assert json.loads((tmp_path / "points.json").read_text()) == result
    with Image.open(tmp_path / "points.png") as drawn:
        assert drawn.size == (2 * 96 + GAP_PX, 64)


def test_the_picture_shows_points_on_both_sides():
    black = np.zeros((200, 300, 3), np.uint8)
    drawn = pair_picture(black, np.array([[50.0, 60.0]]), black[:150], np.array([[200.0, 100.0]]))
    assert drawn.shape == (200, 600 + GAP_PX, 3)
    assert drawn[60, 50].tolist() == drawn[100, 300 + GAP_PX + 200].tolist() == [255, 25, 25]
    assert (drawn[180, 400] == 255).all()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model("dinov2"), tmp_path_factory.mktemp("models") / "dinov2")


def test_paper_brings_its_own_size(backbone):
    from equiview.models.backbones import load_backbone

    source = Extractor(load_backbone(backbone), FeatureConfig(long_side=100))
    patch = source.backbone.info.patch
    changed, config = protocol_for(source, Localise("paper"), flips=True)
    assert changed.config.long_side == config.square_px == 60 * patch
    assert config.flips
    assert source.config.long_side == 100
    assert changed.backbone is source.backbone
    with pytest.raises(EquiviewError, match="stride"):
        protocol_for(Extractor(source.backbone, FeatureConfig(stride=1)), Localise("paper"), flips=False)


def test_the_command_scores_a_set(run, pairs, backbone, tmp_path):
    out = tmp_path / "out"
    arguments = ("transfer", "--pairs", f"json:{pairs}", "--backbone", backbone, "--long-side", 64, "--out", out)
    code, stdout, stderr = run(*arguments, "--flips", "--threshold", "extent")
    assert code == 0, stderr
    assert "pck@0.10" in stdout
    assert "without pairs of a picture with itself" in stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["protocol"]["scoring"]["threshold"] == "extent"
    assert summary["protocol"]["transfer"]["flips"]


def test_the_command_finds_points(run, pairs, backbone, tmp_path):
    images = (tmp_path / "a.png", tmp_path / "b.png")
    arguments = ("--points", "10,20 30,40", "--points", "80,50", "--backbone", backbone, "--long-side", 64)
    code, stdout, stderr = run(
        "transfer",
        *images,
        *arguments,
        "--out",
        tmp_path / "out",
        "--localisation",
        "window",
        "--json",
    )
    assert code == 0, stderr
    result = json.loads(stdout)
    assert len(result["xy1"]) == 3
    assert result["wrote"] == [str(tmp_path / "out" / name) for name in ("points.png", "points.json")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.png", "b.png"), "2 and 0 points"),
        (("a.png", "--points", "1,2"), "1 and 1 points"),
        (("a.png", "b.png", "--points", "1;2"), "'1;2'"),
        (("a.png", "b.png", "--points", "1,2", "--pairs", "json:x"), "no pictures or points"),
        (("a.png", "b.png", "--points", "1,200"), "1,200"),
        (("a.png", "gone.png", "--points", "1,2"), "gone.png"),
        (("--pairs", "nothing:x"), "pf-willow"),
    ],
)
def test_wrong_use_is_one_message(run, monkeypatch, pairs, backbone, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    out = ("--backbone", backbone, "--long-side", 64, "--out", tmp_path / "out")
    code, stdout, stderr = run("transfer", *arguments, *out)
    assert code == 2
    assert stdout == ""
    assert said in stderr.replace("\n", " ")
    assert "Traceback" not in stderr


def test_help_has_examples(run):
    code, stdout, _ = run("transfer", "--help")
    assert code == 0
    assert "equiview transfer --pairs pf-willow:PF-dataset-WILLOW" in stdout
    assert command.PAIRS_HELP.split(",")[0] in " ".join(stdout.split())
