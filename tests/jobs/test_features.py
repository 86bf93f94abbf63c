"""Features as files: they come back as they were, colours mean the same everywhere, runs go on where they stopped."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bad_inputs import check_message, leftovers
from equiview.cli.progress import StageProgress, rate
from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.draw.pca import colour_map, fit_pca, unit_tokens
from equiview.draw.sheet import MOST_SHOWN, contact_sheet, pca_picture
from equiview.errors import EquiviewError
from equiview.io import read_image
from equiview.jobs import features as feature_files
from equiview.jobs.features import (
    FeatureFilesConfig,
    find_pictures,
    read_colours,
    read_features,
    write_features,
)
from equiview.models.loading import load
from equiview.models.oracle import NoiseExtractor
from equiview.sampling import token_centers
from equiview.types import FeatureMap


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of three sizes; `e` is `a` again."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, seed, hw in (("a", 0, (64, 96)), ("b", 1, (64, 96)), ("c", 2, (96, 64)), ("d", 3, (80, 80))):
        Image.fromarray(dead_leaves(seed, hw)).save(folder / f"{name}.png")
    (folder / "e.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    return folder


class Stops(NoiseExtractor):
    """Noise that is stopped at some picture."""

    def __init__(self, at: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.left = at

    def maps(self, views, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().maps(views, **kwargs)


def test_maps_come_back_with_their_geometry(photos, tmp_path):
    model = load("equiview/tiny", long_side=96)
    out = tmp_path / "out"
    index = write_features(model, [photos], out, FeatureFilesConfig(dtype="float32"))
    assert json.loads((out / "index.json").read_text()) == index
    assert [entry["name"] for entry in index["pictures"]] == list("abcde")
    maps = model.maps([read_image(photos / f"{name}.png") for name in "abcde"], batch_size=1)
    for (name, found), expected, entry in zip(read_features(out), maps, index["pictures"], strict=True):
        assert torch.equal(found.tokens, expected.tokens)
        assert (found.stride_xy, found.offset_xy) == (expected.stride_xy, expected.offset_xy)
        assert found.image_hw == expected.image_hw and name == entry["name"]
        # What the index says in words puts the last token where the map does.
        rows, cols = entry["channels_rows_columns"][1:]
        last = [entry["offset_xy"][i] + (n - 1) * entry["stride_xy"][i] for i, n in enumerate((cols, rows))]
        assert np.allclose(last, token_centers(expected)[-1])
    assert index["protocol"]["features"] == model.describe()
    assert leftovers(out) == []


def test_half_precision_is_the_default(photos, tmp_path):
    source = NoiseExtractor(stride_px=16)
    write_features(source, [photos / "a.png"], tmp_path / "out")
    ((name, found),) = read_features(tmp_path / "out")
    (expected,) = source.maps([read_image(photos / "a.png")])
    assert name == "a" and found.tokens.dtype == torch.float32
    assert torch.equal(found.tokens, expected.tokens.half().float())


def test_colours_mean_the_same_everywhere(photos, tmp_path):
    out = tmp_path / "out"
    model = load("equiview/tiny", long_side=96)
    write_features(model, [photos], out)
    pictures = {name: read_image(out / "pca" / f"{name}.png") for name in "abcde"}
    assert np.array_equal(pictures["a"], pictures["e"]) and not np.array_equal(pictures["a"], pictures["b"])
    assert pictures["c"].shape == (640, 427, 3)
    colours = read_colours(out)
    for name, fmap in read_features(out):
        assert np.array_equal(pca_picture(colours, fmap), pictures[name])
    assert read_image(out / "pca.png").ndim == 3
    # From the start again, and in another order: the same colours to the last bit, or nearly.
    write_features(model, [photos], tmp_path / "again")
    assert (tmp_path / "again" / "pca" / "c.png").read_bytes() == (out / "pca" / "c.png").read_bytes()


def test_a_colour_lies_on_its_token():
    """One token stands out; its colour is at its place in the picture, at the stride and offset the map says."""
    tokens = torch.zeros(4, 5, 7)
    tokens[0] = 1.0
    tokens[:, 1, 4] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    fmap = FeatureMap(tokens, (20.0, 10.0), (12.0, 6.0), (60, 150))
    drawn = pca_picture(fit_pca(unit_tokens(fmap)), fmap, 150).astype(int)
    differs = np.abs(drawn - drawn[-1, -1]).sum(-1)
    y, x = np.unravel_index(differs.argmax(), differs.shape)
    assert abs(x + 0.5 - (12 + 4 * 20)) <= 1 and abs(y + 0.5 - (6 + 10)) <= 1


def test_pca_is_that_of_the_plain_twin():
    tokens = np.random.default_rng(0).normal(size=(200, 6)) * [5, 3, 2, 1, 0.5, 0.1]
    fitted = fit_pca(tokens)
    axes = np.linalg.svd(tokens - tokens.mean(0), full_matrices=False)[2][:3]
    assert np.allclose(np.abs((fitted.basis * axes).sum(1)), 1)
    assert (fitted.basis[np.arange(3), np.abs(fitted.basis).argmax(1)] > 0).all()
    colours = fitted(tokens)
    assert colours.min() == 0 and colours.max() == 1 and 0.01 < (colours == 0).mean() < 0.03
    few = fit_pca(tokens[:, :2])(tokens[:, :2])
    assert few.shape == (200, 3) and (few[:, 2] == 0).all()
    with pytest.raises(EquiviewError, match="finite"):
        fit_pca(tokens * np.nan)
    fmap = FeatureMap(torch.zeros(4, 2, 3), (1.0, 1.0), (0.5, 0.5), (2, 3))
    assert colour_map(fit_pca(unit_tokens(fmap)), fmap).tokens.shape == (3, 2, 3)


def test_a_stopped_run_goes_on(photos, tmp_path, sent):
    out, seen = tmp_path / "out", []
    with pytest.raises(KeyboardInterrupt):
        write_features(Stops(2), [photos], out)
    assert sorted(p.name for p in (out / "tokens").iterdir()) == ["a.safetensors", "b.safetensors"]
    assert not (out / "index.json").exists() and leftovers(out) == []
    with pytest.raises(EquiviewError, match="finished run"):
        read_features(out)
    # Two are there, three are left.
    write_features(Stops(3), [photos], out, progress=lambda *at: seen.append(at))
    assert seen[0] == ("features", 0, 5) and ("features", 5, 5) in seen and seen[-1] == ("pca", 10, 10)
    write_features(NoiseExtractor(), [photos], tmp_path / "at once", engine=sent)
    for one, other in zip(read_features(out), read_features(tmp_path / "at once"), strict=True):
        assert one[0] == other[0] and torch.equal(one[1].tokens, other[1].tokens)
    assert (out / "pca.png").read_bytes() == (tmp_path / "at once" / "pca.png").read_bytes()


def test_stopped_while_writing(photos, tmp_path, monkeypatch):
    """Ctrl-C in the middle of a file leaves nothing of it."""

    def half(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_files, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        write_features(NoiseExtractor(), [photos], tmp_path / "out")
    assert not list((tmp_path / "out" / "tokens").iterdir())


def test_changed_and_added_pictures(photos, tmp_path):
    out = tmp_path / "out"
    write_features(NoiseExtractor(), [photos], out, FeatureFilesConfig(pca=False))
    assert not (out / "pca").exists()
    before = {name: fmap.tokens for name, fmap in read_features(out)}
    Image.fromarray(dead_leaves(9, (64, 96))).save(photos / "b.png")
    Image.fromarray(dead_leaves(10, (64, 96))).save(photos / "f.png")
    write_features(Stops(2), [photos], out, FeatureFilesConfig(pca=False))
    after = {name: fmap.tokens for name, fmap in read_features(out)}
    assert list(after) == list("abcdef") and torch.equal(before["a"], after["a"])
    assert not torch.equal(before["b"], after["b"])


def test_another_backbone_or_type_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    write_features(NoiseExtractor(), [photos / "a.png"], out)
    with pytest.raises(EquiviewError, match=r"another run .*features"):
        write_features(NoiseExtractor(seed=1), [photos / "a.png"], out)
    with pytest.raises(EquiviewError, match=r"another run .*dtype"):
        write_features(NoiseExtractor(), [photos / "a.png"], out, FeatureFilesConfig(dtype="float32"))
    with pytest.raises(EquiviewError, match="dtype"):
        FeatureFilesConfig(dtype="int8")


def test_names_of_pictures(photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(dead_leaves(0, (32, 32))).save(other / "a.png")
    Image.fromarray(dead_leaves(0, (32, 32))).save(other / "b.jpg")
    names = find_pictures([photos, other, photos / "a.png"])
    assert list(names) == ["photos-a.png", "b.png", "c", "d", "e", "other-a.png", "b.jpg"]
    twin = tmp_path / "x" / "photos"
    twin.mkdir(parents=True)
    Image.fromarray(dead_leaves(0, (32, 32))).save(twin / "a.png")
    with pytest.raises(EquiviewError, match="names that differ"):
        find_pictures([photos, twin])


def test_no_picture_takes_the_name_of_another(tmp_path):
    """The stem of one may be the whole name that two others get."""
    for name in ("b.jpg", "b.png", "b.jpg.png"):
        Image.fromarray(dead_leaves(0, (32, 32))).save(tmp_path / name)
    names = find_pictures([tmp_path])
    assert {path.name for path in names.values()} == {"b.jpg", "b.png", "b.jpg.png"}


def test_the_sample_is_bounded(photos, tmp_path, monkeypatch):
    """A small budget takes few tokens of every picture, or of some pictures; colours are still those of all."""
    fitted = []
    monkeypatch.setattr(feature_files, "fit_pca", lambda tokens: fitted.append(tokens.shape) or fit_pca(tokens))
    for budget, tokens in (
        (64 * 10, 5 * 2),
        (64 * 3, 3),
        (10**9, sum(h * w for h, w in [(4, 6)] * 3 + [(6, 4), (5, 5)])),
    ):
        monkeypatch.setattr(feature_files, "FIT_NUMBERS", budget)
        write_features(NoiseExtractor(64), [photos], tmp_path / str(budget))
        assert fitted[-1] == (tokens, 64)


def test_a_sheet_of_many_shows_some(photos):
    many = [("a very long name that does not fit in the width of its cell at all", photos / "a.png", photos / "b.png")]
    sheet = contact_sheet(many * (MOST_SHOWN + 20))
    assert sheet.shape[1] == 6 * 228 + 8 and np.array_equal(sheet, contact_sheet(many * MOST_SHOWN))
    assert contact_sheet(many).shape[1] == 236


def test_the_command(run, photos, tmp_path):
    out = tmp_path / "out"
    call = ("features", photos, "-b", "equiview/tiny", "--long-side", 64, "--out", out)
    code, text, err = run(*call, "--json")
    result = json.loads(text)
    assert code == 0 and result["command"] == "features" and "features ..." in err
    assert result["wrote"] == [str(out / n) for n in ("index.json", "tokens", "pca.png", "pca")]
    assert result["index"] == json.loads((out / "index.json").read_text())
    code, text, _ = run(*call)
    assert code == 0 and "5 pictures, 192 channels" in text
    # Other blocks are other features: not in this folder.
    check_message(run(*call, "--blocks", "3"), "another run (it differs in: features)")


def test_ctrl_c_says_how_to_go_on(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("equiview.jobs.feature_options.open_features", lambda *args, **kwargs: Stops(2))
    result = run("features", photos, "-b", "equiview/tiny", "--out", tmp_path / "out", "--quiet")
    check_message(result, "the same command resumes it", code=130)
    assert len(list((tmp_path / "out" / "tokens").iterdir())) == 2 and leftovers(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("missing", "nothing: expected an image file"),
        ("empty", "empty: expected pictures"),
        ("broken", "b.png: expected an image that opens"),
        ("cut", "b.png: expected an image that opens"),
        ("text", "notes.txt: expected an image that opens"),
        ("file", "a folder to write to, or nothing yet"),
        ("damaged", "a.safetensors: expected tokens of a picture"),
        ("foreign", "a.safetensors: expected tokens with their geometry"),
        ("backbone", "nowhere"),
        ("record", "run.json: expected JSON"),
    ],
)
def test_bad_input(run, photos, tmp_path, case, said):
    out, source, name = tmp_path / "out", photos, "equiview/tiny"
    if case == "missing":
        source = tmp_path / "nothing"
    elif case == "empty":
        source = tmp_path / "empty"
        source.mkdir()
    elif case == "broken":
        (photos / "b.png").write_bytes(b"nothing")
    elif case == "cut":
        (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:2000])
    elif case == "text":
        source = photos / "notes.txt"
    elif case == "file":
        out.write_text("x")
    elif case == "backbone":
        name = tmp_path / "nowhere"
    else:
        run("features", photos, "-b", name, "--long-side", 64, "--out", out)
        if case == "damaged":
            (out / "tokens" / "a.safetensors").write_bytes(b"\x08\x00")
        elif case == "record":
            (out / "run.json").write_text("{")
        else:
            feature_files.save_file({"x": torch.zeros(1)}, out / "tokens" / "a.safetensors")
    check_message(_without_stages(run("features", source, "-b", name, "--long-side", 64, "--out", out)), said)


def _without_stages(result):
    """Drop the lines that say what is being done."""
    code, out, err = result
    return code, out, "\n".join(line for line in err.splitlines() if not line.endswith(" ..."))


def test_reading_says_what_is_wrong(photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(EquiviewError, match="a folder written by equiview features"):
        read_features(out)
    write_features(NoiseExtractor(), [photos], out, FeatureFilesConfig(pca=False))
    with pytest.raises(EquiviewError, match="PCA colours"):
        read_colours(out)
    (out / "tokens" / "b.safetensors").unlink()
    with pytest.raises(EquiviewError, match=r"b\.safetensors: expected tokens"):
        list(read_features(out))
    (out / "index.json").write_text("[]")
    with pytest.raises(EquiviewError, match="format"):
        read_features(out)
    (out / "pca.safetensors").write_bytes(b"x")
    with pytest.raises(EquiviewError, match="broken"):
        read_colours(out)


def test_numbers_that_do_not_fit_are_refused(photos, tmp_path):
    class Large(NoiseExtractor):
        def maps(self, views, **kwargs):
            for fmap in super().maps(views):
                yield fmap.replace_tokens(fmap.tokens * 1e6)

    with pytest.raises(EquiviewError, match="finite numbers in float16"):
        write_features(Large(), [photos], tmp_path / "out")
    assert not (tmp_path / "out" / "tokens").exists() or not list((tmp_path / "out" / "tokens").iterdir())
    write_features(Large(), [photos], tmp_path / "wide", FeatureFilesConfig(dtype="float32", pca=False))


def test_the_bar_says_how_fast():
    assert rate(3.14159) == "3.14/s" and rate(0.25) == "4 s each"
    progress = StageProgress({"a": 1})
    task = progress.bars.tasks[0]
    column = progress.bars.columns[3]
    task.finished_speed = 2.0
    assert str(column.render(task)) == ""
    progress("a", 1, 2)
    progress.bars.tasks[1].finished_speed = 2.0
    assert str(column.render(progress.bars.tasks[1])) == "2/s"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_picture_whose_name_is_no_utf8_gets_a_name_that_is(tmp_path):
    for name in (b"plain.png", b"a\xff\xfeb.png"):
        Image.new("RGB", (64, 48), (90, 20, 30)).save(tmp_path / "kept.png")
        os.rename(tmp_path / "kept.png", os.fsencode(tmp_path) + b"/" + name)
    names = list(find_pictures([tmp_path]))
    assert "plain" in names and len(names) == 2
    for name in names:
        name.encode()
