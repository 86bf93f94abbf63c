"""Packs: what rounding may cost, what fits, and files that are not packs."""

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import captured_worlds
from bad_inputs import write_adapter
from equiview.data.captures.views import CaptureViews
from equiview.draw.live.make import make_pack
from equiview.draw.live.maps import packed_maps
from equiview.draw.live.pack import read_pack, save_pack
from equiview.draw.live.reduce import STEPS, fit_basis, quantise
from equiview.draw.live.truth import known_points
from equiview.errors import EquiviewError
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.report import loss_words, write_live_page, write_report
from equiview.types import FeatureMap
from report.make_run import write_measured, write_run
from worlds import sphere_ring

pytestmark = pytest.mark.usefixtures("undrawn")


def random_maps(n, channels=40, hw=(6, 8), seed=0, image_hw=(60, 80)):
    rng = torch.Generator().manual_seed(seed)
    stride = (image_hw[1] / hw[1], image_hw[0] / hw[0])
    offset = (stride[0] / 2, stride[1] / 2)
    return [FeatureMap(torch.randn(channels, *hw, generator=rng), stride, offset, image_hw) for _ in range(n)]


def pictures(n, hw=(60, 80)):
    return [np.random.default_rng(i).integers(0, 255, (*hw, 3), np.uint8) for i in range(n)]


@pytest.fixture(scope="module")
def sphere():
    views = sphere_ring(5)
    maps = list(OracleExtractor(stride_px=4).maps(views))
    return views, maps, known_points(views, maps)


def test_with_all_channels_only_rounding_is_lost():
    maps = random_maps(3)
    tokens, scale = quantise(maps, fit_basis(maps, [np.zeros((0, 2))] * 3, 40))
    assert tokens.dtype == np.int8 and np.abs(tokens).max() == STEPS
    full = torch.cat([F.normalize(m.tokens.flatten(1).T, dim=1) for m in maps])
    packed = torch.from_numpy(tokens * scale)
    # Half a step in each channel, on both sides of the product.
    bound = 2 * float(np.linalg.norm(scale / 2)) + float((scale**2).sum()) / 4
    assert float((full @ full.T - packed @ packed.T).abs().max()) < bound < 0.06


def test_the_basis_is_the_best_for_dot_products_without_points():
    maps = random_maps(2)
    full = torch.cat([F.normalize(m.tokens.flatten(1).T, dim=1) for m in maps]).double()
    basis = fit_basis(maps, [np.zeros((0, 2))] * 2, 10).double()
    left = torch.linalg.svd(full)[1][10:].square().sum()
    assert float((full - full @ basis @ basis.T).square().sum()) == pytest.approx(float(left), rel=1e-4)


def test_more_channels_than_tokens_give_the_same_basis():
    maps = random_maps(1, channels=200)
    basis = fit_basis(maps, [np.zeros((0, 2))], 48)
    assert basis.shape == (200, 48)
    full = F.normalize(maps[0].tokens.flatten(1).T, dim=1)
    assert torch.allclose(full @ basis @ basis.T, full, atol=1e-3)


def test_packed_tokens_have_unit_length(sphere):
    views, maps, truth = sphere
    pack = make_pack("ball", [v.rgb for v in views], {"pretrained": maps}, truth)
    for one in packed_maps(pack, "pretrained"):
        assert torch.allclose(one.tokens.norm(dim=0), torch.ones(one.hw), atol=0.02)


def test_perfect_features_stay_nearly_perfect(sphere):
    views, maps, truth = sphere
    loss = make_pack("ball", [v.rgb for v in views], {"pretrained": maps}, truth).loss["pretrained"]
    assert loss["n"] > 100 and loss["moved_share"] < 0.05 and loss["cosine_error"] < 0.01
    # 5 % of this small picture are 0.8 tokens, so that a slightly other parabola already counts.
    assert 0 <= loss["pcdp_full"] - loss["pcdp_packed"] < 15


def test_known_points_are_on_the_object_and_hidden_ones_have_no_place(sphere):
    views, _, truth = sphere
    for i, (view, xy) in enumerate(zip(views, truth.xy, strict=True)):
        cols, rows = xy.astype(int).T
        assert view.mask[rows, cols].all()
        assert np.abs(truth.xy_true[i][i] - xy).max() < 1e-3
        assert np.isnan(truth.xy_true[i]).any()


def test_known_points_of_tracks_are_the_observed_ones():
    views = CaptureViews(captured_worlds.track_capture())
    truth = known_points(views, list(NoiseExtractor(dim=4).maps(views)))
    own = views.tracks.image == 1
    assert len(truth.xy[1]) == own.sum()
    assert {tuple(xy) for xy in truth.xy[1]} == {tuple(xy) for xy in views.tracks.xy[own]}
    assert (truth.xy_true[1][1] == truth.xy[1]).all()
    assert 0 < np.isfinite(truth.xy_true[1][2]).all(-1).sum() < own.sum()


def test_a_pack_comes_back_from_its_file(sphere, tmp_path):
    views, maps, truth = sphere
    pack = make_pack("ball", [v.rgb for v in views], {"pretrained": maps, "adapted": maps}, truth)
    save_pack(tmp_path / "ball.npz", pack)
    again = read_pack(tmp_path / "ball.npz")
    assert (again.name, again.loss, list(again.tokens)) == (pack.name, pack.loss, ["pretrained", "adapted"])
    for a, b in zip(pack.views, again.views, strict=True):
        assert (a.name, a.image_hw, a.grid_hw, a.stride_xy, a.offset_xy) == (
            *(b.name, b.image_hw, b.grid_hw, b.stride_xy, b.offset_xy),
        )
        assert a.jpeg == b.jpeg and np.allclose(a.xy_true, b.xy_true, atol=1e-4, equal_nan=True)
    assert all(np.array_equal(pack.tokens[v], again.tokens[v]) for v in pack.tokens)


def test_the_size_is_kept_by_channels_first_then_by_views():
    maps, shown = random_maps(14, channels=120, hw=(30, 40), image_hw=(300, 400)), pictures(14, (30, 40))
    sizes = {}
    for most in (3_000_000, 900_000, 300_000):
        pack = make_pack("x", shown, {"pretrained": maps}, max_bytes=most)
        assert pack.n_bytes <= most
        sizes[most] = (len(pack.views), pack.tokens["pretrained"].shape[1])
    assert sizes == {3_000_000: (12, 96), 900_000: (12, 56), 300_000: (7, 32)}
    with pytest.raises(EquiviewError, match=re.escape("at most 0.1 MB")):
        make_pack("x", shown, {"pretrained": maps}, max_bytes=60_000)


@pytest.mark.parametrize(("n", "hw", "variants"), [(1, (1, 1), 1), (1, (5, 3), 2), (2, (1, 7), 1), (3, (9, 2), 2)])
def test_odd_sizes_single_views_and_one_variant(tmp_path, n, hw, variants):
    image_hw = (hw[0] * 7 + 3, hw[1] * 5 + 1)
    maps = random_maps(n, channels=5, hw=hw, image_hw=image_hw)
    pack = make_pack("odd", pictures(n, image_hw), dict(list({"pretrained": maps, "adapted": maps}.items())[:variants]))
    assert [len(words) > 20 for words in loss_words(pack)] == [True] * variants
    check_self_contained(write_live_page(pack, tmp_path / "odd.html").read_text())


def check_self_contained(text):
    assert re.search(r"https?://", text) is None
    assert "@import" not in text and re.search(r"url\((?!#)", text) is None
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\(", text)
    assert "default-src 'none'" in text and "script-src 'sha256-" in text
    assert text.count("<script") == text.count("</script>") == 2
    assert len(text) < 15_000_000


def test_a_name_cannot_break_the_page(tmp_path):
    pack = make_pack("</script><b>", pictures(2), {"pretrained": random_maps(2)}, names=["<i>", "\u2028"])
    text = write_live_page(pack, tmp_path / "page.html").read_text()
    check_self_contained(text)
    assert "<b>" not in text and "<i>" not in text
    data = json.loads(re.search(r'id="live-data">(.*?)</script>', text)[1])
    assert data["scenes"][0]["name"] == "</script><b>"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: {}, "no variant"),
        (lambda m: {"pretrained": m[:1]}, "2 pictures"),
        (lambda m: {"pretrained": m, "adapted": random_maps(2, hw=(3, 4))}, "grids that differ"),
        (lambda m: {"pretrained": [m[0], m[1].replace_tokens(m[1].tokens * np.nan)]}, "NaN"),
    ],
)
def test_bad_features_are_one_message(change, said):
    with pytest.raises(EquiviewError, match=said):
        make_pack("x", pictures(2), change(random_maps(2)))


@pytest.mark.parametrize("spoil", ["text", "cut", "other", "format"])
def test_broken_packs_are_named(tmp_path, spoil):
    path = tmp_path / "mug.npz"
    save_pack(path, make_pack("x", pictures(2), {"pretrained": random_maps(2)}))
    if spoil == "text":
        path.write_text("no zip")
    elif spoil == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif spoil == "other":
        np.savez(path, x=np.zeros(3))
    else:
        np.savez(path, record=np.array(json.dumps({"format": 9})))
    with pytest.raises(EquiviewError, match="mug.npz"):
        read_pack(path)


def test_a_report_holds_the_packs_of_its_run_and_drops_what_does_not_fit(tmp_path, monkeypatch):
    run = write_measured(tmp_path / "run", objects=("a", "b"))
    without = write_report(run).read_text()
    assert "live-data" not in without and "script-src" not in without
    for name in ("a", "b"):
        save_pack(run / "live" / f"{name}.npz", make_pack(name, pictures(2), {"pretrained": random_maps(2)}))
    text = write_report(run).read_text()
    check_self_contained(text)
    assert 'href="#live"' in text and len(re.findall(r'"name": "[ab]", "variants"', text)) == 2
    monkeypatch.setattr("equiview.report.page.MAX_PAGE_BYTES", len(text) - 1)
    assert len(re.findall(r'"name": "[ab]", "variants"', write_report(run).read_text())) == 1
    monkeypatch.setattr("equiview.report.page.MAX_PAGE_BYTES", 1)
    assert write_report(run).read_text() == without


def save_pictures(folder, n=2):
    paths = [folder / f"{number}.png" for number in range(n)]
    for path, rgb in zip(paths, pictures(n), strict=True):
        Image.fromarray(rgb).save(path)
    return paths


def test_view_makes_a_page_of_pictures(run, tmp_path):
    code, out, err = run("view", *save_pictures(tmp_path), "--out", tmp_path / "page", "--long-side", 96, "--no-open")
    assert code == 0, err
    assert "channels of 8 bits" in " ".join(out.split()) and "index.html" in out
    check_self_contained((tmp_path / "page" / "index.html").read_text())


def test_the_page_says_which_adapter_and_how_much_of_it(run, tmp_path):
    adapter = write_adapter(tmp_path / "mug", "equiview/tiny")
    given = [*save_pictures(tmp_path), "--adapter", adapter, "--strength", 0.25]
    code, _, err = run("view", *given, "--out", tmp_path / "page", "--no-open")
    assert code == 0, err
    assert "equiview/tiny, adapter mug at strength 0.25" in (tmp_path / "page" / "index.html").read_text()


def test_view_opens_a_run(run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    folder = write_run(tmp_path / "run", objects=("a",))
    code, out, _ = run("view", folder, "--json")
    assert code == 0 and json.loads(out)["opened"] is True
    assert opened == [(folder / "report.html").resolve().as_uri()]
    assert "no live part" in json.loads(out)["words"][0]


@pytest.mark.parametrize("case", ["missing", "folder and picture", "empty folder", "no picture", "thirteen"])
def test_bad_inputs_of_view_are_one_message(run, tmp_path, case):
    first = save_pictures(tmp_path, 1)[0]
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    given, said = {
        "missing": ([tmp_path / "nowhere.jpg"], "nowhere.jpg"),
        "folder and picture": ([tmp_path / "empty", first], "one run folder, or pictures"),
        "empty folder": ([tmp_path / "empty"], "summary.json"),
        "no picture": ([tmp_path / "text.jpg"], "text.jpg"),
        "thirteen": ([first] * 13, "1 to 12 pictures"),
    }[case]
    code, out, err = run("view", *given, "--out", tmp_path / "page", "--no-open")
    assert (code, out) == (2, "") and said in err and "Traceback" not in err
    assert not (tmp_path / "page").exists()
