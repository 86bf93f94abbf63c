"""Fine thresholds, and what the grid of tokens allows at best."""

import numpy as np
import pytest
import torch

from equiview.metrics.pck import SCORINGS
from equiview.models.oracle import NoiseExtractor, OracleExtractor, PictureOracle
from equiview.report.bench import bench_table
from equiview.report.table import summary_tables
from equiview.sampling import nearest_centers, token_centers
from equiview.tasks import tracking, transfer
from equiview.tasks.equivariance import MeasureConfig, measure, protocol_of, summarize
from equiview.tasks.tracking import TrackingConfig
from equiview.tasks.transfer import TransferConfig
from equiview.types import Clip, FeatureMap, KeypointPair
from worlds import sphere_ring


def test_the_nearest_centre_is_the_nearest():
    fmap = FeatureMap(torch.zeros(1, 4, 5), (7.0, 9.0), (3.0, 4.0), (40, 40))
    xy = torch.from_numpy(np.random.default_rng(0).uniform(-5, 50, (60, 2))).float()
    found = nearest_centers(fmap, xy)
    distance = (xy[:, None] - token_centers(fmap)).norm(dim=2)
    assert torch.allclose((found - xy).norm(dim=1), distance.min(1).values, atol=1e-5)


@pytest.fixture(scope="module")
def views():
    return {"ball": sphere_ring(6, (96, 96), focal_px=150.0)}


def test_nothing_at_token_centres_beats_the_ceiling(views):
    source, config = OracleExtractor(stride_px=8), MeasureConfig(points=150, subtoken=False)
    rows = measure(source, views, config)
    metrics = summarize(rows, protocol_of(source, config))["metrics"]
    assert list(metrics) == ["ape", "pcdp@0.05", "pcdp@0.1", "pcdp@0.2", "pcdp@0.01", "pcdp@0.02"]
    # Half a diagonal of a token is 5.7 px: within 0.1 of 96 px and not within 0.01.
    assert metrics["pcdp@0.1"]["ceiling"] == 100 and 0 < metrics["pcdp@0.01"]["ceiling"] < 20
    for name, entry in metrics.items():
        better = entry["value"] >= entry["ceiling"] if name == "ape" else entry["value"] <= entry["ceiling"]
        assert better, name
    finer = summarize(measure(OracleExtractor(stride_px=2), views, config), protocol_of(source, config))["metrics"]
    assert finer["pcdp@0.02"]["ceiling"] > metrics["pcdp@0.02"]["ceiling"]


def test_tables_have_fine_scores_and_ceilings_and_older_rows_go_without(views):
    source, config = NoiseExtractor(stride_px=8), MeasureConfig(points=50)
    rows = measure(source, views, config)
    titles = [column.header for column in summary_tables(summarize(rows, protocol_of(source, config)))[0].columns]
    assert titles[-2:] == ["PCDP@0.01", "PCDP@0.02"]
    older = [{k: v for k, v in row.items() if k not in ("pcdp@0.01", "pcdp@0.02", "ceiling")} for row in rows]
    summary = summarize(older, protocol_of(source, config))
    assert len(summary["metrics"]) == 4 and "ceiling" not in summary["metrics"]["ape"]
    assert len(summary_tables(summary)[0].columns) == 5


def test_transfer_has_fine_thresholds_and_a_ceiling():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (64, 96, 3), np.uint8)
    xy = rng.uniform(5, 60, (30, 2))
    pair = KeypointPair("a-b", "cat", rgb, rgb[:, ::-1].copy(), xy, xy, np.ones(30, bool))
    (row,) = transfer.run(NoiseExtractor(stride_px=8), [pair], TransferConfig())
    metrics = transfer.summarize([row], {}, SCORINGS["json"])["metrics"]
    assert list(metrics) == ["pck@0.05", "pck@0.10", "pck@0.15", "pck@0.01", "pck@0.03"]
    # Shares of 96 px: 0.96 px is less than a token, 5.7 px (half its diagonal) less than 0.10 of it.
    assert metrics["pck@0.01"]["ceiling"] < 30 and metrics["pck@0.10"]["ceiling"] == 100
    expected = 100 * (np.array(row["grid_px"]) < 0.03 * 96).mean()
    assert metrics["pck@0.03"]["ceiling"] == pytest.approx(expected)


def test_tracking_has_fine_thresholds_and_a_ceiling():
    views = sphere_ring(24, (128, 128), focal_px=220.0)[:3]
    frames = [view.rgb for view in views]
    xy = np.full((4, 3, 2), 64.0) + np.array([[[0, 0]], [[4, 3]], [[-9, 6]], [[11, -13]]])
    clip = Clip("ball", frames, (128, 128), xy, np.ones((4, 3), bool), np.ones((4, 3), bool))
    rows = tracking.run(PictureOracle(views, 8), [clip], TrackingConfig())
    metrics = tracking.summarize(rows, {})["metrics"]
    assert metrics["delta@1px"]["value"] == rows[0]["pts_within_1"]
    # Token centres are 4 + 8 i: the distances of the points from them, in pixels of the raster, twice as large.
    off = 2 * np.linalg.norm(np.abs((xy[:, 0] - 4 + 4) % 8 - 4), axis=1)
    assert metrics["delta@2px"]["ceiling"] == pytest.approx(100 * (off < 2).mean())
    assert metrics["delta_avg"]["ceiling"] == pytest.approx(np.mean([100 * (off < t).mean() for t in (1, 2, 4, 8, 16)]))
    table = bench_table({"tasks": {"track": {"ball": metrics}}})
    names, grids = ([str(cell) for cell in table.columns[i].cells] for i in (2, -1))
    assert grids[names.index("delta@2px")] == f"{metrics['delta@2px']['ceiling']:.1f}"
    assert grids[names.index("share_under_8px")] == "\u2013"
