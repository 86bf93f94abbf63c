"""The transfer task between its bounds: oracle features are perfect, noise is chance; and the published run exactly."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import binary_erosion

from equiview.data.correspond import correspond, pixel_index, sample_surface
from equiview.data.keypoints.pfpascal import read_pairs
from equiview.errors import EquiviewError
from equiview.matching.localise import Localise
from equiview.metrics.pck import SCORINGS, PairCount, Scoring, correct, summarize_counts
from equiview.models.extractor import Extractor, FeatureConfig
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.transfer import (
    PictureFeatures,
    TransferConfig,
    paper_config,
    predict,
    protocol_of,
    run,
    score_pair,
    summarize,
)
from equiview.types import FeatureMap, KeypointPair
from models.backbones.original import conv, tiny
from worlds import sphere_ring

HW, STRIDE = (128, 128), 4


class SeenBefore:
    """An oracle for pictures: finds the view whose colours they are."""

    def __init__(self, views):
        self.views = {view.rgb.tobytes(): view for view in views}
        self.oracle = OracleExtractor(stride_px=STRIDE)

    def maps(self, views):
        return self.oracle.maps([self.views[rgb.tobytes()] for rgb in views])

    def describe(self):
        return self.oracle.describe()


@pytest.fixture(scope="module")
def views():
    return sphere_ring(8, hw=HW, focal_px=140.0)


@pytest.fixture(scope="module")
def pairs(views):
    """Key points of the same surface in two views, away from the rim, where the oracle must be right."""
    found = []
    for i, source in enumerate(views):
        for j in ((i + 1) % len(views), (i - 1) % len(views)):
            target = views[j]
            truth = correspond(source, target, sample_surface(source, 200, seed=i))
            keep = np.ones(len(truth), bool)
            for view, xy in ((source, truth.xy0), (target, truth.xy1)):
                keep &= binary_erosion(view.mask, iterations=STRIDE + 2)[pixel_index(xy)]
            xy0, xy1 = truth.xy0[keep], truth.xy1[keep]
            box = (float(np.ptp(np.nonzero(target.mask)[1])), float(np.ptp(np.nonzero(target.mask)[0])))
            name = f"{source.name}-{target.name}"
            found.append(
                KeypointPair(name, f"c{i % 2}", source.rgb, target.rgb, xy0, xy1, np.ones(len(xy0), bool), box)
            )
    return found


@pytest.mark.parametrize("name", ["pf-willow", "spair", "pf-pascal", "json"])
@pytest.mark.parametrize("method", ["argmax", "window", "paper"])
def test_the_oracle_is_perfect(views, pairs, name, method):
    """Within 5 % of the object (the published localisation is a token wide; it is asked for 10 %)."""
    rows = run(SeenBefore(views), pairs, TransferConfig(Localise(method, window=3, temperature=1e-4)))
    metrics = summarize(rows, {}, SCORINGS[name])["metrics"]
    assert metrics["pck@0.10"]["value"] == 100
    assert metrics["pck@0.10"]["ci95"] == [100, 100]
    if method != "paper":
        assert metrics["pck@0.05"]["value"] == 100


@pytest.mark.parametrize("method", ["argmax", "window", "paper"])
def test_noise_is_chance(pairs, method):
    """A random place is right with the area of the disc it may fall in."""
    scoring = Scoring("image", "point")
    rows = [
        row
        for seed in range(3)
        for row in run(NoiseExtractor(seed=seed, stride_px=4), pairs, TransferConfig(Localise(method)))
    ]
    found = summarize(rows, {}, scoring)["metrics"]["pck@0.15"]["value"]
    assert found == pytest.approx(100 * np.pi * 0.15**2, abs=2.0)


def test_rows_are_json_and_hold_what_scores_need(views, pairs):
    rows = run(SeenBefore(views), pairs[:3])
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    row = rows[0]
    assert row["n"] == len(row["errors_px"]) == len(pairs[0].xy0)
    assert row["image_px"] == 128
    assert row["box_px"] == pairs[0].box1_wh[0]
    assert (row["self_pair"], row["mirrored"]) == (False, False)
    assert row["extent_px"] == pytest.approx(np.ptp(pairs[0].xy1, axis=0).max(), abs=1e-3)


class Counting:
    """Noise that counts how often it is asked."""

    def __init__(self):
        self.noise, self.asked = NoiseExtractor(), 0

    def maps(self, views):
        views = list(views)
        self.asked += len(views)
        return self.noise.maps(views)

    def describe(self):
        return self.noise.describe()


def test_every_picture_is_computed_once(pairs):
    source = Counting()
    run(source, pairs)
    assert source.asked == 8
    source = Counting()
    run(source, pairs, TransferConfig(flips=True))
    assert source.asked == 16


def test_a_small_cache_gives_the_same_rows(pairs):
    source = Counting()
    rows = run(source, pairs, TransferConfig(cache_mb=0))
    assert source.asked > 8
    assert rows == run(NoiseExtractor(), pairs)


def changed(pair, **changes):
    return KeypointPair(**{**{name: getattr(pair, name) for name in pair.__dataclass_fields__}, **changes})


def test_pairs_that_cannot_be_scored_are_counted(pairs):
    hidden = changed(pairs[0], name="hidden", visible=np.zeros(len(pairs[0].xy0), bool))
    away = changed(pairs[0], name="away", xy1=pairs[0].xy1 + 500)
    lost = changed(pairs[0], name="lost", xy0=np.full_like(pairs[0].xy0, np.nan))
    rows = run(NoiseExtractor(), [hidden, away, lost, *pairs])
    summary = summarize(rows, {}, SCORINGS["json"])
    assert summary["failed"] == {
        "no key point is visible in both pictures": 1,
        "a key point lies outside its picture": 2,
    }
    assert summary["metrics"]["pck@0.10"]["n"] == len(pairs)
    nothing = summarize(rows[:3], {}, SCORINGS["json"])["metrics"]["pck@0.10"]
    assert nothing == {"value": None, "ci95": None, "n": 0}


def test_hidden_points_are_not_scored(pairs):
    visible = np.arange(len(pairs[0].xy0)) < 5
    xy1 = np.where(visible[:, None], pairs[0].xy1, np.nan)
    (row,) = run(NoiseExtractor(), [changed(pairs[0], visible=visible, xy1=xy1)])
    assert row["n"] == 5


class Colours:
    """Features that are the colours of an 8 px cell and of the one to its right: they know left from right."""

    def maps(self, views):
        for rgb in views:
            cells = F.avg_pool2d(torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() - 127, 8)
            yield FeatureMap(torch.cat([cells, cells.roll(-1, 2)]), (8.0, 8.0), (4.0, 4.0), rgb.shape[:2])


def test_flips_keep_the_better_source():
    """A mirrored target is found with flips, missed without, and the row says which."""
    rgb = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8), 8, 0), 8, 1)
    xy0 = np.array([[12.0, 20.0], [76.0, 44.0]])
    there = np.stack([96 - xy0[:, 0], xy0[:, 1]], 1)
    pair = KeypointPair("m", "c", rgb, np.ascontiguousarray(rgb[:, ::-1]), xy0, there, np.ones(2, bool))
    rows = [score_pair(pair, PictureFeatures(Colours(), c), c) for c in (TransferConfig(), TransferConfig(flips=True))]
    assert [row["mirrored"] for row in rows] == [False, True]
    assert max(rows[1]["errors_px"]) <= 4 < max(rows[0]["errors_px"])


@pytest.mark.parametrize("square_px", [None, 160])
def test_errors_do_not_depend_on_the_square(square_px, tmp_path):
    """A perfect place stays perfect on a square, in its pixels; lengths grow with it."""
    rgb = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
    config = TransferConfig(square_px=square_px)
    features = PictureFeatures(NoiseExtractor(stride_px=8), config)
    xy = np.array([[16.0, 24.0], [100.0, 80.0]])
    placed, side = features.placed(rgb, xy)
    assert side == (128 if square_px is None else 160)
    np.testing.assert_allclose(features.unplaced(rgb, placed), xy)
    row = score_pair(KeypointPair("s", "c", rgb, rgb, xy, xy, np.ones(2, bool), (64, 32)), features, config)
    assert row["self_pair"]
    assert row["box_px"] == 64 * side / 128


def test_bad_input_is_one_message(pairs, tmp_path):
    with pytest.raises(EquiviewError, match="an empty list"):
        run(NoiseExtractor(), [])
    gone = changed(pairs[0], image0=tmp_path / "gone.png")
    with pytest.raises(EquiviewError, match=r"gone\.png"):
        run(NoiseExtractor(), [gone])
    rows = run(NoiseExtractor(), [changed(pairs[0], box1_wh=None)])
    with pytest.raises(EquiviewError, match="bounding box"):
        summarize(rows, {}, SCORINGS["spair"])


def test_features_that_are_not_finite_are_refused(pairs):
    class Broken(NoiseExtractor):
        def maps(self, views):
            for fmap in super().maps(views):
                yield fmap.replace_tokens(fmap.tokens * torch.nan)

    with pytest.raises(EquiviewError, match="finite"):
        run(Broken(), pairs[:1])


def test_the_protocol_is_json_and_says_how(pairs):
    protocol = protocol_of(NoiseExtractor(), paper_config(14), SCORINGS["pf-pascal"], seed=1)
    assert json.loads(json.dumps(protocol)) == protocol
    assert protocol["transfer"]["square_px"] == 840
    assert protocol["transfer"]["localise"]["method"] == "paper"
    assert protocol["seed"] == 1


@pytest.mark.shared
def test_parity_of_a_published_run(golden, tmp_path):
    """Pictures, list, ViT, places and scores of the released evaluation, end to end at 168 px."""
    data = np.load(golden / "f09b_transfer_end_to_end.npz")
    case = "three_categories"
    folder = tmp_path / "PF-dataset-PASCAL"
    (folder / "JPEGImages").mkdir(parents=True)
    for number, name in enumerate(data[f"{case}/in/image_names"]):
        # PNG content: JPEG would change the pixels.
        Image.fromarray(data[f"{case}/in/image_{number:02d}"]).save(tmp_path / name, format="PNG")
    (tmp_path / "list.csv").write_text(str(data[f"{case}/in/csv_text"]))
    pairs = read_pairs(tmp_path / "list.csv", folder)
    size = int(data[f"{case}/in/img_size"])

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(golden, "A")

        def forward(self, maps):
            return self.conv(maps)

    source = Extractor(tiny(golden, "A", lora=True), FeatureConfig(long_side=size, position="dinov2"), Head()).eval()
    config = TransferConfig(Localise("paper"), square_px=size)
    features = PictureFeatures(source, config)
    moved = 0
    counts = {alpha: [] for alpha in (0.05, 0.10, 0.15)}
    for number, pair in enumerate(pairs):
        where = f"cat{number // 2}_pair{number % 2}"
        truth, expected = (data[f"{case}/out/{name}_yx_{where}"][:, ::-1] for name in ("gt", "pred"))
        placed, _ = features.placed(pair.image1, pair.xy1)
        np.testing.assert_allclose(placed, truth, atol=1e-3)
        found, _ = predict(pair, features, config)
        moved += int((found.xy1.numpy() != expected).any(1).sum())
        for alpha, own in counts.items():
            hits = correct(np.linalg.norm(expected - truth, axis=1), size, alpha)
            own.append(PairCount(pair.category, str(number), int(hits.sum()), len(hits)))
    assert moved <= 1 + int(data[f"{case}/out/n_ties_max"] > 1)
    weights = [15, 30, 10]
    for column, own in enumerate(counts.values()):
        classes = summarize_counts(own, "class")["by_category"]
        shares = [classes[name]["per_point"] / 100 for name in ("aeroplane", "bicycle", "bird")]
        assert shares == pytest.approx(data[f"{case}/out/per_class"][:, column].tolist(), abs=1e-6)
        assert np.average(shares, weights=weights) == pytest.approx(data[f"{case}/out/weighted"][column], abs=1e-6)
