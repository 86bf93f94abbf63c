"""Viewpoint recall: the released evaluation's numbers, perfect with the oracle, chance with noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from captured_worlds import SCALE, depth_capture, track_capture
from equiview.data.captures.views import CaptureViews
from equiview.errors import EquiviewError
from equiview.matching.ratio import ratio_matches
from equiview.metrics.pose import rotation_error_deg
from equiview.metrics.recall import bin_members, match_errors, recall
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.sampling import descriptors
from equiview.tasks.recall import RecallConfig, draw_pairs, protocol_of, run, summarize
from equiview.types import Camera, FeatureMap, ViewPairs
from worlds import moved, sphere_ring

HW = (96, 96)


@pytest.fixture(scope="module")
def cases(golden):
    found = {}
    with np.load(golden / "f12_navi_recall.npz") as file:
        for key in file.files:
            case, way, name = key.split("/")
            found.setdefault(case, {})[f"{way}/{name}"] = file[key]
    return found


def released_pair(case, i):
    """Return the matches' world errors and picture errors of one pair of the fixture."""
    feats = [torch.from_numpy(case[f"in/feats_{k}"][i]) for k in (0, 1)]
    xyz = [case[f"in/xyz_grid_{k}"][i].transpose(1, 2, 0) for k in (0, 1)]
    step, (h, w) = 1 / float(case["in/scale_factor"]), xyz[0].shape[:2]
    token = w * step / feats[0].shape[2]
    maps = [FeatureMap(one, (token, token), (token / 2, token / 2), (int(h * step), int(w * step))) for one in feats]
    at = [np.argwhere(one[..., 2] > 0) for one in xyz]
    xy = [torch.from_numpy((index[:, ::-1] + 0.5) * step).float() for index in at]
    found = [descriptors(fmap, where, "bicubic") for fmap, where in zip(maps, xy, strict=True)]
    kept = ratio_matches(*found, int(case["in/num_corr"]))
    cam1_from_cam0 = np.vstack([case["in/Rt_01"][i], [0, 0, 0, 1]]).astype(np.float64)
    points = [one[index[:, 0], index[:, 1]].astype(np.float64) for one, index in zip(xyz, at, strict=True)]
    in_1 = points[0][kept.index_0.numpy()] @ cam1_from_cam0[:3, :3].T + cam1_from_cam0[:3, 3]
    camera = Camera(case["in/intrinsics_1"][i].astype(np.float64), np.eye(4), (int(h * step), int(w * step)))
    angle = rotation_error_deg(cam1_from_cam0, np.eye(4))
    return match_errors(in_1, points[1][kept.index_1.numpy()], camera), kept.weight.numpy(), angle


@pytest.mark.parametrize("name", ["eight_pairs", "six_pairs_more_corr_than_points"])
def test_recall_is_that_of_the_released_evaluation(cases, name):
    case = cases[name]
    errors, per_pair, angles = [], [], []
    for i, true_weight in enumerate(case["out/match_weight"]):
        (world, pixels), weight, angle = released_pair(case, i)
        # 1 - cosine in float32 has an error of 1e-7, which the division makes larger.
        assert np.sort(weight) == pytest.approx(np.sort(true_weight), abs=5e-5)
        assert np.sort(world) == pytest.approx(np.sort(case["out/err_3d_m"][i]), abs=1e-5)
        near = np.sort(case["out/err_2d_px"][i]) < 1000  # Beyond, float32 has no digits left.
        assert np.sort(pixels)[near] == pytest.approx(np.sort(case["out/err_2d_px"][i])[near], rel=1e-4, abs=1e-3)
        errors.append((world, pixels))
        per_pair.append(recall(world, 0.02))
        angles.append(angle)
    assert np.array(angles) == pytest.approx(case["out/rel_angle_deg"], abs=2e-3)
    assert np.array(per_pair) == pytest.approx(100 * case["out/recall_2cm_per_pair"], abs=0.5)
    world, pixels = (np.concatenate(one) for one in zip(*errors, strict=True))
    assert [recall(world, t) for t in (0.01, 0.02, 0.05)] == pytest.approx(
        case["out/recall_pct_3d_001_002_005"], abs=0.5
    )
    assert [recall(pixels, t) for t in (5, 25, 50)] == pytest.approx(case["out/recall_pct_2d_5_25_50px"], abs=0.5)
    bins = bin_members(angles, (0, 30, 60, 90, 120))
    means = [np.mean([per_pair[i] for i in members]) for members in bins.values()]
    assert means == pytest.approx(100 * case["out/recall_2cm_by_angle_bin_0_30_60_90_120"], abs=0.5)


@pytest.mark.parametrize("name", ["ratio_test", "all_points"])
def test_ratio_matches_are_the_released_ones(golden, name):
    with np.load(golden / "f12b_ratio_test_matches.npz") as file:
        given = {key: file[key] for key in file.files}
    unit = [F.normalize(torch.from_numpy(given[f"{name}/in/P{k}_F"]), dim=1) for k in (1, 2)]
    found = ratio_matches(*unit, int(given[f"{name}/in/num_corres"]))
    assert found.weight.numpy() == pytest.approx(given[f"{name}/out/weight"], abs=1e-5)
    assert found.index_0.tolist() == given[f"{name}/out/index_1"].tolist()
    assert found.index_1.tolist() == given[f"{name}/out/index_2"].tolist()


def test_without_the_ratio_test_the_nearest_are_kept(golden):
    """The released code keeps those that lie furthest apart; the partner of each is the same."""
    with np.load(golden / "f12b_ratio_test_matches.npz") as file:
        given = {key.split("/", 1)[1]: file[key] for key in file.files if key.startswith("no_ratio_test")}
    unit = [F.normalize(torch.from_numpy(given[f"in/P{k}_F"]), dim=1) for k in (1, 2)]
    every = ratio_matches(*unit, len(unit[0]), ratio_test=False)
    partner = dict(zip(every.index_0.tolist(), every.index_1.tolist(), strict=True))
    furthest = every.index_0.tolist()[::-1][: int(given["in/num_corres"])]
    assert furthest == given["out/index_1"].tolist()
    assert [partner[i] for i in furthest] == given["out/index_2"].tolist()
    assert -every.weight.numpy()[::-1][: len(furthest)] == pytest.approx(given["out/weight"], abs=1e-5)


def test_ratio_matches_in_parts_are_those_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    one, other = (F.normalize(torch.randn(n, 6, generator=generator), dim=1) for n in (40, 30))
    whole = ratio_matches(one, other, 12)
    cosine = one @ other.T
    order = cosine.sort(dim=1, descending=True)
    weight = 1 - (1 - order.values[:, 0]) / (1 - order.values[:, 1])
    assert whole.index_0.tolist() == weight.argsort(descending=True)[:12].tolist()
    assert whole.index_1.tolist() == order.indices[whole.index_0, 0].tolist()
    monkeypatch.setattr("equiview.matching.ratio.CHUNK_SIMILARITIES", 90)
    parts = ratio_matches(one, other, 12)
    assert parts.index_0.tolist() == whole.index_0.tolist() and torch.allclose(parts.weight, whole.weight)
    with pytest.raises(EquiviewError, match="two descriptors"):
        ratio_matches(one, other[:1], 3)


def ring_set(n=8, **more):
    views = sphere_ring(n, HW, focal_px=150.0)
    return ViewPairs("sphere", views, [view.camera.cam_from_world for view in views], unit_cm=20.0, **more)


CONFIG = RecallConfig(matches=60, max_angle_deg=50, pairs_per_view=2)


def scored(source, sets, config):
    return summarize(run(source, sets, config), protocol_of(source, config))


def test_the_oracle_is_perfect_and_noise_is_chance():
    best = scored(OracleExtractor(stride_px=2), [ring_set()], CONFIG)["metrics"]
    assert best["recall@1cm"] == {"value": 100.0, "ci95": [100.0, 100.0], "n": 16}
    assert best["recall@5px"]["value"] == best["recall@2cm@30-60deg"]["value"] == 100
    assert best["recall@2cm@0-30deg"] == {"value": None, "ci95": None, "n": 0}
    one = ring_set()
    chance = scored(NoiseExtractor(stride_px=8), [one], CONFIG)["metrics"]["recall@2cm"]["value"]
    # A match that knows nothing ends within 2 cm of a random point of the sphere, 20 cm wide.
    points = [view.points_in_world[view.mask] for view in one.views[:2]]
    rng = np.random.default_rng(0)
    drawn = [part[rng.integers(len(part), size=20_000)] for part in points]
    expected = recall(20 * np.linalg.norm(drawn[0] - drawn[1], axis=1), 2)
    assert expected < 5 and abs(chance - expected) < 3


def test_the_world_frame_changes_nothing():
    one, turn = ring_set(), np.eye(4)
    turn[:3, :3], turn[:3, 3] = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]), (0.1, 0.2, -0.3)
    views = [moved(view, turn) for view in one.views]
    other = replace(one, views=views, cam_from_world=[view.camera.cam_from_world for view in views])
    source = NoiseExtractor(stride_px=8)
    pair = [(0, 1)]
    maps = list(source.maps(one.views[:2]))

    class Given(NoiseExtractor):
        def maps(self, asked, **options):
            for view in asked:
                yield maps[int(view.name.removeprefix("ring"))]

    rows = [run(Given(), [replace(given, pairs=pair)], CONFIG) for given in (one, other)]
    assert rows[0] == rows[1]


def test_captures_with_depth_or_tracks_are_scored():
    """Depth gives the numbers of the surface itself; of sparse points the observed ones are matched."""
    dense = CaptureViews(depth_capture(8, HW))
    sparse = CaptureViews(track_capture(8, HW))
    for views in (dense, sparse):
        one = ViewPairs("capture", views, [camera.cam_from_world for camera in views.cameras], unit_cm=20.0)
        rows = run(PointOracle(), [one], replace(CONFIG, matches=20))
        assert {row["n"] for row in rows} == {20}
        assert min(row["recall@2cm"] for row in rows) == 100
    assert dense.size == pytest.approx(SCALE, rel=0.1)


class PointOracle:
    """The oracle of the sphere for views of a capture, whose maps may hold nothing."""

    def __init__(self):
        ring = sphere_ring(8, HW)
        self.known = dict(zip((view.name for view in ring), OracleExtractor(stride_px=1).maps(ring), strict=True))

    def maps(self, asked, **options):
        for view in asked:
            yield self.known[view.name]

    def describe(self):
        return {"backbone": "oracle"}


def test_pairs_are_drawn_within_the_angle():
    one = ring_set(8)
    pairs = draw_pairs(one, CONFIG)
    assert len(pairs) == 16 and pairs == draw_pairs(one, CONFIG)
    for i, j in pairs:
        assert 0 < rotation_error_deg(one.cam_from_world[i], one.cam_from_world[j]) <= 50
    with pytest.raises(EquiviewError, match="rotated by at most 5 degrees"):
        draw_pairs(one, replace(CONFIG, max_angle_deg=5))


def test_a_view_without_surface_is_a_counted_failure():
    one = ring_set(3, pairs=[(0, 1), (0, 2)])
    empty = one.views[1]
    one.views[1] = replace(empty, mask=np.zeros_like(empty.mask))
    rows = run(OracleExtractor(stride_px=4), [one], CONFIG)
    assert "no surface" in rows[0]["failed"] and "failed" not in rows[1]
    summary = summarize(rows, protocol_of(OracleExtractor(), CONFIG))
    assert summary["metrics"]["recall@2cm"]["n"] == 1 and sum(summary["failed"].values()) == 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"matches": 0}, "1 or more"),
        ({"thresholds_cm": (0.0,)}, "positive"),
        ({"binned": "3cm"}, "1cm, 2cm, 5cm"),
        ({"bins_deg": (30, 0)}, "rising"),
    ],
)
def test_a_bad_protocol_is_refused(bad, words):
    with pytest.raises(EquiviewError, match=words):
        RecallConfig(**bad)
