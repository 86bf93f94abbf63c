"""The tracker: perfect with perfect features, chance with noise, no pull inwards, memory that does not grow."""

import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from equiview.errors import EquiviewError
from equiview.matching.tracking import Queries, TrackConfig, track, track_paper
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.tasks.tracking import TrackingConfig, run, summarize
from equiview.types import FeatureMap
from matching.tracking.worlds import Field, sphere_clip


def value(rows, name):
    return summarize(rows, {})["metrics"][name]["value"]


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_perfect_features_give_perfect_tracks(mode):
    rows = run(OracleExtractor(2), [sphere_clip()], TrackingConfig(mode, query_stride=4))
    assert value(rows, "average_jaccard") > 99
    assert value(rows, "delta_avg") > 99
    assert value(rows, "share_under_8px") == 1
    hidden = sum(row["n_hidden"] for row in rows if row["kind"] == "point")
    assert hidden > 20, "the world must hide points for this to mean anything"


def test_noise_is_chance():
    rows = run(NoiseExtractor(stride_px=8), [sphere_clip()], TrackingConfig())
    assert value(rows, "delta_avg") < 3
    assert value(rows, "average_jaccard") < 2


def grid(low, high, n=9):
    x, y = np.meshgrid(np.linspace(*low, n), np.linspace(*high, n))
    return np.stack([x.ravel(), y.ravel()], 1)


@pytest.mark.parametrize("localisation", ["quadratic", "parabola"])
def test_a_shift_of_less_than_a_token_is_found_everywhere(localisation):
    """2.8 px at a stride of 7, and points in the outermost tokens are not pulled inwards."""
    field, shift = Field(), np.array([2.8, 2.8])
    maps = [field.map(), field.map(shift)]
    xy = grid((7.0, 150.0), (7.0, 125.0))
    error = track(maps, Queries(xy, np.zeros(len(xy), int)), TrackConfig(localisation)).xy[:, 1] - (xy + shift)
    assert np.median(np.abs(error)) < 0.5 and np.abs(error).max() < 2.0
    border = (xy == xy.min(0)).any(1) | (xy == xy.max(0)).any(1)
    assert np.abs(error[border].mean(0)).max() < 0.4


def test_a_soft_argmax_in_a_window_finds_the_shift_inside():
    field, shift = Field(), np.array([2.8, 0.0])
    xy = grid((30.0, 120.0), (30.0, 100.0))
    queries, config = Queries(xy, np.zeros(len(xy), int)), TrackConfig("window", temperature=0.15)
    error = track([field.map(), field.map(shift)], queries, config).xy[:, 1] - (xy + shift)
    assert np.median(np.abs(error)) < 1.0
    centres = track([field.map(), field.map(shift)], queries, TrackConfig("token")).xy[:, 1] - (xy + shift)
    assert np.median(np.abs(error)) < np.median(np.abs(centres))


def test_the_published_tracker_does_pull_inwards():
    field = Field()
    corner = Queries(np.array([[7.0, 7.0]]), np.zeros(1, int))
    found = track_paper([field.map(), field.map()], corner)
    assert (found.xy[0, 1] - corner.xy[0]).min() > 5


def test_points_beyond_the_outermost_centres_keep_their_distance():
    field = Field()
    xy = np.array([[1.0, 60.0], [60.0, 2.0]])
    tracks = track([field.map(), field.map((14.0, 14.0))], Queries(xy, np.zeros(2, int)))
    np.testing.assert_allclose(tracks.xy[:, 1], xy + 14, atol=1.5)


def test_a_query_in_any_frame_stays_where_it_was_given_and_is_followed_both_ways():
    field = Field()
    maps = [field.map((4.0 * t, 0.0)) for t in range(5)]
    queries = Queries(np.array([[70.3, 60.2], [80.0, 33.0]]), np.array([2, 4]))
    for config in (TrackConfig(), TrackConfig(search_px=20.0)):
        tracks = track(maps, queries, config)
        for point, frame in enumerate(queries.frame):
            expected = queries.xy[point] + np.stack([4.0 * (np.arange(5) - frame), np.zeros(5)], 1)
            np.testing.assert_allclose(tracks.xy[point], expected, atol=0.8)
            np.testing.assert_array_equal(tracks.xy[point, frame], queries.xy[point].astype(np.float32))
        assert tracks.visible.all()


def test_a_window_around_the_last_position_ignores_a_better_match_far_away():
    first, second = torch.zeros(3, 8, 20), torch.zeros(3, 8, 20)
    first[2], second[2] = 1.0, 1.0
    first[:, 4, 5] = torch.tensor([1.0, 0.0, 0.0])
    second[:, 4, 6] = torch.tensor([1.0, 0.3, 0.0])
    second[:, 4, 16] = torch.tensor([1.0, 0.0, 0.0])
    maps = [FeatureMap(t, (10.0, 10.0), (5.0, 5.0), (80, 200)) for t in (first, second)]
    query = Queries(np.array([[55.0, 45.0]]), np.zeros(1, int))
    assert track(maps, query).xy[0, 1] == pytest.approx([165, 45], abs=1)
    assert track(maps, query, TrackConfig(search_px=30.0)).xy[0, 1] == pytest.approx([65, 45], abs=1)


def test_smoothing_takes_out_a_jump_and_leaves_a_steady_motion():
    field = Field()
    shifts = [0.0, 4.0, 8.0, 40.0, 16.0, 20.0, 24.0]
    maps = [field.map((s, 0.0)) for s in shifts]
    query = Queries(np.array([[60.0, 60.0]]), np.zeros(1, int))
    rough, smooth = (track(maps, query, TrackConfig(smoothing=n)).xy[0, :, 0] for n in (1, 3))
    assert rough[3] == pytest.approx(100, abs=1) and smooth[3] == pytest.approx(76, abs=1)
    np.testing.assert_allclose(smooth[[1, 5, 6]], rough[[1, 5, 6]])


class Counted(Sequence):
    """Maps made when asked for, remembering how many are alive at once."""

    def __init__(self, frames):
        self.field, self.frames, self.alive, self.most = Field(dim=8), frames, weakref.WeakSet(), 0

    def __len__(self):
        return self.frames

    def __getitem__(self, index):
        if index >= self.frames:
            raise IndexError
        fmap = self.field.map((0.02 * index, 0.0), hw=(70, 84))
        self.alive.add(fmap.tokens)
        self.most = max(self.most, len(self.alive))
        return fmap


def test_memory_does_not_grow_with_the_clip():
    most = []
    for frames in (20, 100):
        maps = Counted(frames)
        track(maps, Queries(np.array([[30.0, 30.0], [40.0, 20.0]]), np.array([0, 7])))
        most.append(maps.most)
    assert most[0] == most[1] <= 4


@pytest.mark.parametrize(
    "xy, frame, message",
    [
        ([200.0, 10.0], 0, "inside 168x140 pixels"),
        ([-1.0, 10.0], 0, "inside 168x140 pixels"),
        ([float("nan"), 10.0], 0, "inside 168x140 pixels"),
        ([10.0, 10.0], 2, "a frame from 0 to 1"),
        ([10.0, 10.0], -1, "a frame from 0 to 1"),
    ],
)
@pytest.mark.parametrize("tracker", [track, track_paper])
def test_a_query_that_is_not_there(tracker, xy, frame, message):
    maps = [Field().map(), Field().map()]
    with pytest.raises(EquiviewError, match=message):
        tracker(maps, Queries(np.array([xy]), np.array([frame])))


def test_no_frames_no_points_other_sizes_nan():
    one = Queries(np.array([[10.0, 10.0]]), np.zeros(1, int))
    with pytest.raises(EquiviewError, match="at least one frame"):
        track([], one)
    with pytest.raises(EquiviewError, match="at least one, found none"):
        track([Field().map()], Queries(np.zeros((0, 2)), np.zeros(0, int)))
    with pytest.raises(EquiviewError, match="168x140 pixels as before, found 84x70"):
        track([Field().map(), Field().map(hw=(70, 84))], one)
    broken = Field().map()
    with pytest.raises(EquiviewError, match="frame 1.*NaN"):
        track([Field().map(), broken.replace_tokens(broken.tokens * torch.nan)], one)
    for wrong in ({"smoothing": 2}, {"search_px": 0.0}, {"temperature": -1.0}):
        with pytest.raises(EquiviewError):
            TrackConfig(**wrong)
