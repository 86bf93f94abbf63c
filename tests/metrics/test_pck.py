"""PCK in its three conventions, against stored values of the reference evaluations, and its averages."""

import numpy as np
import pytest

from equiview.data.letterbox import square_of
from equiview.metrics.pck import PairCount, box_px, correct, extent_px, image_px, pck, summarize_counts
from equiview.stats import bootstrap_ci95, cluster_ci95

pytestmark = pytest.mark.filterwarnings("error")
ALPHAS = (0.05, 0.10, 0.15)


def test_less_or_equal_only_when_inclusive():
    errors = np.array([9.0, 10.0, 11.0])
    assert correct(errors, 100, 0.1).tolist() == [True, False, False]
    assert correct(errors, 100, 0.1, inclusive=True).tolist() == [True, True, False]
    assert pck(errors, 100, 0.1, inclusive=True) == pytest.approx(200 / 3)


def test_lengths():
    assert image_px((300, 400)) == 400
    assert box_px((30.0, 20.0)) == 30
    assert extent_px(np.array([[0.0, 5], [10, 20], [4, 4]])) == 16
    assert extent_px(np.zeros((0, 2))) == 0


@pytest.mark.shared
@pytest.mark.parametrize("case", ["twenty_categories", "first_four"])
def test_parity_with_the_paper(golden, case):
    """By image size, strict: per class over points, then weighted by the pairs of the published lists."""
    data = np.load(golden / "f08d_pck_official.npz")
    size, classes = float(data[f"{case}/in/img_size"]), int(data[f"{case}/in/n_categories"])
    weights = data[f"{case}/out/weights"]
    for column, alpha in enumerate(ALPHAS):
        counts = []
        for number in range(classes):
            truth, found = (data[f"{case}/in/{name}_yx_{number:02d}"] for name in ("gt", "pred"))
            hits = correct(np.linalg.norm(truth - found, axis=1), size, alpha)
            assert hits.mean() == pytest.approx(data[f"{case}/out/per_class"][number, column], abs=1e-6)
            # The published weight of a class is its number of pairs: hits spread over as many pairs.
            share = hits.mean()
            counts += [PairCount(f"{number:02d}", f"{number}/{k}", share, 1) for k in range(weights[number])]
        summary = summarize_counts(counts, "class")
        assert summary["value"] == pytest.approx(100 * data[f"{case}/out/weighted"][column], abs=1e-4)
        assert summary["class_mean"] == pytest.approx(100 * data[f"{case}/out/mean_of_classes"][column], abs=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("average", ["keypoint", "image"])
@pytest.mark.parametrize("kind", ["spair_bbox", "pascal_img"])
def test_parity_by_box_and_by_image(golden, kind, average):
    """Strict, by the target's box (SPair) or the image; per point and per image."""
    data = np.load(golden / "f08e_pck_geoaware_spair.npz")
    case = f"{kind}_per_{average}"
    size, points, sizes = (data[f"{case}/in/{name}"] for name in ("anno_size", "raw_kps", "image_wh"))
    for column, alpha in enumerate(data[f"{case}/out/alphas"]):
        counts = []
        for pair, found in enumerate(data[f"{case}/in/pred_xy"]):
            w, h = (int(side) for side in sizes[2 * pair + 1])
            square = square_of((h, w), int(size))
            visible = (points[2 * pair, :, 2] > 0) & (points[2 * pair + 1, :, 2] > 0)
            truth = square.place(points[2 * pair + 1, visible, :2].astype(np.float64))
            x1, y1, x2, y2 = data[f"{case}/in/target_bbox_xyxy"][pair]
            length = box_px((x2 - x1, y2 - y1)) * square.scale if kind == "spair_bbox" else float(size)
            hits = correct(np.linalg.norm(found[visible] - truth, axis=1), length, alpha)
            counts.append(PairCount("all", str(pair), int(hits.sum()), len(hits)))
        summary = summarize_counts(counts, "point")
        per_point = data[f"{case}/out/per_keypoint_pck_and_count"]
        assert summary["value"] == pytest.approx(100 * per_point[column], abs=1e-4)
        assert sum(c.points for c in counts) == per_point[-1]
        if average == "image":
            per_image = data[f"{case}/out/per_image_pck_and_count"]
            assert summary["per_pair"] == pytest.approx(100 * per_image[column], abs=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["willow_bbox", "willow_bbox_resized", "pascal_img", "exact_threshold"])
def test_parity_by_extent(golden, case):
    """Inclusive, by the range of the target's key points, mean over pairs."""
    data = np.load(golden / "f08f_pck_hpf_willow.npz")
    truth, found = (np.swapaxes(data[f"{case}/in/{name}_kps"], 1, 2).astype(np.float64) for name in ("trg", "prd"))
    ratio = float(data[f"{case}/in/trg_intratio"])
    by_image = str(data[f"{case}/in/threshold_kind"]) == "img"
    for row, alpha in enumerate(ALPHAS):
        counts = []
        for pair in range(len(truth)):
            length = image_px(tuple(data[f"{case}/in/trg_img_chw"][1:])) if by_image else extent_px(truth[pair])
            errors = np.linalg.norm(truth[pair] - found[pair], axis=1)
            hits = correct(errors, length * ratio, alpha, inclusive=True)
            counts.append(PairCount("all", str(pair), int(hits.sum()), len(hits)))
        expected = data[f"{case}/out/pair_pck_then_mean_by_alpha"][row]
        assert [c.share for c in counts] == pytest.approx(expected[:-1].tolist(), abs=1e-6)
        assert summarize_counts(counts, "pair")["value"] == pytest.approx(100 * expected[-1], abs=1e-4)


def test_averages_by_hand():
    counts = [PairCount("a", "p", 1, 2), PairCount("a", "p", 4, 4), PairCount("b", "q", 0, 2)]
    found = summarize_counts(counts, "point")
    assert found["value"] == found["per_point"] == pytest.approx(100 * 5 / 8)
    assert found["per_pair"] == pytest.approx(50)
    assert found["class_mean"] == pytest.approx(100 * (5 / 6 + 0) / 2)
    assert found["class_weighted"] == pytest.approx(100 * 5 / 6 * 2 / 3)
    assert found["by_category"]["a"] == {"per_pair": 75.0, "per_point": pytest.approx(500 / 6), "n": 2}
    assert found["ci95"] is None
    assert found["n"] == 3


def test_nothing_scored_is_null():
    assert summarize_counts([], "pair") == {"value": None, "ci95": None, "n": 0}


@pytest.mark.parametrize("average", ["pair", "point", "class"])
def test_intervals_hold_the_value_and_all_right_is_certain(average):
    rng = np.random.default_rng(0)
    counts = [PairCount("ab"[k % 2], str(k // 3), int(rng.integers(0, 11)), 10) for k in range(60)]
    found = summarize_counts(counts, average)
    assert found["ci95"][0] < found["value"] < found["ci95"][1]
    sure = summarize_counts([PairCount(c.category, c.unit, 10, 10) for c in counts], average)
    assert sure["ci95"] == [100, 100]


def test_cluster_interval_of_equal_units_is_the_ordinary_one():
    values = np.random.default_rng(1).normal(size=40)
    table = np.stack([values, np.ones(40)], 1)
    found = cluster_ci95(table, lambda sums: sums[:, 0] / sums[:, 1])
    assert found == pytest.approx(bootstrap_ci95(values), abs=0.02)
    assert cluster_ci95(table[:4], lambda sums: sums[:, 0]) is None
