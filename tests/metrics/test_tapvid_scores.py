"""TAP-Vid and BADJA scores, against values of the reference code."""

import numpy as np
import pytest

from equiview.metrics.tapvid import (
    error_at_height_px,
    evaluated_frames,
    sample_queries,
    tapvid_metrics,
    to_raster,
)

NAMES = {"average_pts_within_thresh": "delta_avg"}


def cases(path):
    stored = np.load(path)
    found = {}
    for key in stored.files:
        case, side, name = key.split("/")
        found.setdefault(case, {}).setdefault(side, {})[name] = stored[key]
    return found


def scores(given, batch, points=slice(None)):
    mode = str(given["query_mode"])
    query, shown = given["query_points"][batch][points], ~given["gt_occluded"][batch][points]
    counted = evaluated_frames(query[:, 0], shown.shape[1], mode)
    predicted, seen = given["pred_tracks"][batch][points], ~given["pred_occluded"][batch][points]
    return tapvid_metrics(given["gt_tracks"][batch][points], shown, predicted, seen, counted)


@pytest.mark.shared
def test_parity_of_every_case(golden):
    for case in cases(golden / "f06_tapvid_metrics.npz").values():
        given, expected = case["in"], case["out"]
        for batch in range(len(given["gt_tracks"])):
            if given["get_trackwise_metrics"]:
                found = [scores(given, batch, [point]) for point in range(given["gt_tracks"].shape[1])]
            else:
                found = [scores(given, batch)]
            for name, values in expected.items():
                own = np.array([one[NAMES.get(name, name)] for one in found]) / 100
                np.testing.assert_allclose(own, np.atleast_1d(values[batch]), atol=1e-12, err_msg=name)


@pytest.mark.shared
@pytest.mark.parametrize("case", ["random", "pred_size_given", "gt_all_visible"])
def test_parity_of_a_video_and_badja(golden, case):
    stored = cases(golden / "f06b_tapvid_metrics_for_video_and_badja.npz")[case]
    given, expected = stored["in"], stored["out"]
    true, shown, predicted, seen, query = ([] for _ in range(5))
    for frame in given["frames"]:
        true.append(given[f"target_points_{frame}"])
        shown.append(~given[f"occluded_{frame}"])
        predicted.append(given[f"pred_tracks_{frame}"])
        seen.append(~given[f"pred_occluded_{frame}"])
        query.append(np.full(len(true[-1]), frame))
    true, shown, predicted, seen, query = (np.concatenate(part) for part in (true, shown, predicted, seen, query))
    hw = int(given["h"]), int(given["w"])
    pred_hw = (int(given["pred_h"]), int(given["pred_w"])) if given["use_pred_size"] else hw
    counted = evaluated_frames(query, shown.shape[1], "strided")
    own = tapvid_metrics(to_raster(true, hw), shown, to_raster(predicted, pred_hw), seen, counted)
    for name in expected:
        if name not in ("badja_acc_seg", "badja_acc_3px", "error", "badja_error"):
            assert own[NAMES.get(name, name)] / 100 == pytest.approx(float(expected[name]), abs=1e-6), name
    # BADJA's own scores: shares of visible positions within 3 px, or within 0.2 times the root of the animal's area.
    error = error_at_height_px(predicted, true, hw, hw[0])
    visible = shown & (np.arange(shown.shape[1]) >= 1)
    areas = (given["segmentations"] > 0).reshape(len(given["segmentations"]), -1).sum(1)
    for name, limit in (("badja_acc_seg", 0.2 * np.sqrt(areas)), ("badja_acc_3px", 3)):
        assert 100 * (error < limit)[visible].mean() == pytest.approx(float(expected[name]), abs=1e-4)


@pytest.mark.shared
def test_query_sampling(golden):
    for case in cases(golden / "f14_query_sampling.npz").values():
        given, expected = case["in"], case["out"]
        visible, xy = ~given["target_occluded"], given["target_points"]
        for mode in ("strided", "first"):
            points, frames = sample_queries(visible, mode, int(given["query_stride"]))
            tyx = np.concatenate([frames[:, None], xy[points, frames][:, ::-1]], 1)
            np.testing.assert_array_equal(tyx, expected[f"{mode}_query_points"][0])
            np.testing.assert_array_equal(~visible[points], expected[f"{mode}_occluded"][0])
            if mode == "strided":
                np.testing.assert_array_equal(points, expected["strided_trackgroup"][0])


def world():
    rng = np.random.default_rng(0)
    xy, visible = rng.uniform(0, 256, (6, 9, 2)), rng.random((6, 9)) < 0.7
    return xy, visible, evaluated_frames(np.zeros(6, int), 9, "first")


def test_perfect_is_100_and_a_hit_must_be_closer_than_the_threshold():
    xy, visible, counted = world()
    perfect = tapvid_metrics(xy, visible, xy, visible, counted)
    assert set(perfect.values()) == {100.0}
    moved = tapvid_metrics(xy, visible, xy + [4, 0], visible, counted)
    assert moved["pts_within_4"] == 0 and moved["pts_within_8"] == 100 and moved["delta_avg"] == pytest.approx(40)


def test_hidden_positions_do_not_matter():
    xy, visible, counted = world()
    nowhere = np.where(visible[..., None], xy, np.nan)
    assert tapvid_metrics(xy, visible, nowhere, visible, counted)["average_jaccard"] == 100
    nothing = tapvid_metrics(xy, visible & False, xy, visible, counted)
    assert np.isnan(nothing["delta_avg"]) and nothing["average_jaccard"] == 0


def test_error_is_in_pixels_at_256_high_with_the_aspect_kept():
    error = error_at_height_px(np.zeros((1, 1, 2)), np.array([[[15.0, 0.0]]]), (480, 854))
    assert error == pytest.approx(8.0)
