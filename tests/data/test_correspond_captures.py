"""Correspondences of captures: the same places a renderer would give, and measuring and solving on top of them."""

import numpy as np
import pytest
import torch

import captured_worlds
from equiview.data.captures.views import CaptureViews
from equiview.data.correspond import correspond, correspond_in, sample_points
from equiview.finetune.closed_form import ClosedFormConfig, view_statistics
from equiview.finetune.pairs import PairConfig, PairSample, sample_overlapping_pair, sample_published_pair
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.equivariance import MeasureConfig, measure, plan_object


class Known:
    """Gives the feature maps of other views of the same pictures."""

    def __init__(self, views, stride_px):
        self.views, self.oracle = {view.name: view for view in views}, OracleExtractor(stride_px)

    def maps(self, views, **_):
        return self.oracle.maps([self.views[view.name] for view in views])

    def describe(self):
        return self.oracle.describe()


def test_tracks_give_the_places_that_the_surface_gives():
    rendered = captured_worlds.sphere_views()
    views = CaptureViews(captured_worlds.track_capture())
    sample = sample_points(views, 0, 1000, seed=0)
    truth = correspond_in(views, (0, 1), sample)
    assert len(truth) > 30
    # Points sampled in view 0 stand at pixel centres there: its renderer can be asked for them.
    own = np.isclose(truth.xy0 % 1, 0.5, atol=1e-4).all(1)
    exact = correspond(rendered[0], rendered[1], truth.xy0[own])
    assert own.sum() > 10
    assert np.abs(exact.xy1 - truth.xy1[own][exact.index]).max() < 0.02
    assert abs(truth.angle_deg - exact.angle_deg) < 5
    assert 0 < truth.overlap <= 1
    assert (truth.index < len(sample.xy)).all()


def test_a_sample_is_repeatable_and_bounded():
    views = CaptureViews(captured_worlds.track_capture())
    a, b = (sample_points(views, 2, 25, seed=3) for _ in range(2))
    assert len(a.xy) == 25
    assert (a.xy == b.xy).all()
    assert (a.xy != sample_points(views, 2, 25, seed=4).xy).any()


@pytest.mark.parametrize("make", [captured_worlds.depth_capture, captured_worlds.track_capture])
def test_perfect_features_find_every_point_and_noise_finds_chance(make):
    capture = make(6, (256, 256))
    views = CaptureViews(capture)
    perfect = measure(Known(captured_worlds.sphere_views(6, (256, 256)), 4), {"a": views}, MeasureConfig(points=200))
    noise = measure(NoiseExtractor(stride_px=8), {"a": views}, MeasureConfig(points=200))
    assert np.mean([row["ape"] for row in perfect]) < 1.0
    assert np.mean([row["pcdp@0.05"] for row in perfect]) > 99
    assert np.mean([row["pcdp@0.05"] for row in noise]) < 10


def test_tracks_do_not_say_what_is_ambiguous():
    plan = plan_object("a", CaptureViews(captured_worlds.track_capture()), MeasureConfig())
    assert plan.ambiguous is None
    rows = measure(NoiseExtractor(), {"a": CaptureViews(captured_worlds.track_capture())})
    assert all(row["unambiguous"] is None and row["n_ambiguous"] is None for row in rows)


@pytest.mark.parametrize("sampler", [sample_overlapping_pair, sample_published_pair])
def test_training_pairs_come_from_tracks(sampler):
    objects = {"a": CaptureViews(captured_worlds.track_capture())}
    pair = sampler(objects, PairConfig(points=50, max_angle_deg=120), seed=0, index=1)
    assert isinstance(pair, PairSample)
    assert pair.positives > 0
    if pair.aligned:
        assert torch.equal(pair.points0, pair.points1)


def test_a_closed_form_takes_tracks_and_depth():
    noise = NoiseExtractor(dim=8)
    for make in (captured_worlds.depth_capture, captured_worlds.track_capture):
        views = CaptureViews(make())
        statistics = view_statistics([(views, list(noise.maps(views)))], ClosedFormConfig())
        assert statistics.n > 100
        # Independent features of variance 1, compared at bilinear places: a scatter of at most 1 on the diagonal.
        assert 0.1 < np.diag(statistics.scatter).mean() < 1.2
