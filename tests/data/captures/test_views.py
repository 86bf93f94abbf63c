"""A capture where rendered views stand: the frame, what views hold, which observations count."""

from dataclasses import replace

import numpy as np
import pytest

import captured_worlds
from equiview.data.captures.checks import select
from equiview.data.captures.views import CaptureViews, consistent, object_frame, spread
from equiview.errors import EquiviewError
from equiview.types import Capture, SparseTracks


def kept_of(tracks, images):
    return consistent(tracks, [image.camera for image in images], [image.mask for image in images])


def test_the_box_is_the_frame_where_there_is_one():
    capture = replace(captured_worlds.track_capture(), box=np.array([[0.0, 0, 0], [2, 4, 8]]))
    center, size = object_frame(capture)
    assert np.allclose(center, [1, 2, 4])
    assert size == 8


@pytest.mark.parametrize("make", [captured_worlds.depth_capture, captured_worlds.track_capture])
def test_points_are_the_frame_where_there_is_no_box(make):
    center, size = object_frame(make())
    assert np.linalg.norm(center - captured_worlds.SHIFT) < 0.1 * captured_worlds.SCALE
    # The ring of cameras does not see the poles, and strays are cut off: a little less than the diameter.
    assert 0.85 * captured_worlds.SCALE < size <= 1.01 * captured_worlds.SCALE


def test_depth_gives_the_points_and_normals_of_the_sphere():
    capture = captured_worlds.depth_capture()
    views = CaptureViews(replace(capture, box=captured_worlds.SHIFT + np.array([[-0.5] * 3, [0.5] * 3]) * 37.0))
    truth = captured_worlds.sphere_views()[2]
    view = views[2]
    both = view.mask & truth.mask
    assert both.sum() > 0.8 * truth.mask.sum()
    assert np.abs(view.points_in_world - truth.points_in_world)[both].max() < 1e-5
    assert (view.normals_in_world * truth.normals_in_world).sum(-1)[both].min() > 0.98
    assert np.isnan(view.points_in_world[~view.mask]).all()
    assert views.tracks is None


def test_sparse_views_hold_the_picture_and_no_surface():
    capture = captured_worlds.track_capture()
    views = CaptureViews(capture)
    assert np.isnan(views[0].points_in_world).all()
    assert (views[0].rgb == capture.images[0].image).all()
    assert (views[-1].mask == capture.images[-1].mask).all()
    assert [view.name for view in views[1:3]] == ["ring1", "ring2"]
    assert views.tracks is not None


def test_without_masks_the_whole_picture_counts():
    assert CaptureViews(captured_worlds.track_capture(masks=False))[0].mask.all()


def test_observations_that_contradict_their_point_are_dropped():
    capture = captured_worlds.track_capture()
    tracks = capture.tracks
    xy = tracks.xy.copy()
    first, second = np.nonzero(np.bincount(tracks.point)[tracks.point] >= 2)[0][[5, 9]]
    xy[first] += 3.0
    xy[second] = np.nan
    kept = kept_of(replace(tracks, xy=xy), capture.images)
    before = len(kept_of(tracks, capture.images).xy)
    # A point that only two pictures saw loses its other observation too.
    assert before - 4 <= len(kept.xy) <= before - 2
    assert np.isfinite(kept.xy).all()


def test_points_behind_a_camera_or_off_the_mask_are_dropped():
    capture = captured_worlds.track_capture()
    tracks = capture.tracks
    behind = 2 * capture.images[0].camera.center_in_world - tracks.points_in_world
    assert len(kept_of(replace(tracks, points_in_world=behind), capture.images).xy) == 0
    empty = [replace(image, mask=np.zeros_like(image.mask)) for image in capture.images]
    assert len(kept_of(tracks, empty).xy) == 0


def test_selecting_renumbers_tracks_and_drops_points_seen_once():
    capture = captured_worlds.track_capture(6)
    chosen = select(capture, [4, 1])
    assert [image.name for image in chosen.images] == ["ring4", "ring1"]
    assert set(chosen.tracks.image) <= {0, 1}
    assert (np.bincount(chosen.tracks.point)[np.unique(chosen.tracks.point)] == 2).all()
    own = {tuple(xy) for image, xy in zip(capture.tracks.image, capture.tracks.xy, strict=True) if image == 4}
    assert {tuple(xy) for image, xy in zip(chosen.tracks.image, chosen.tracks.xy, strict=True) if image == 0} <= own


def test_spread_takes_both_ends_and_no_more_than_there_are():
    capture = captured_worlds.track_capture(6)
    assert [image.name for image in spread(capture, 3).images] == ["ring0", "ring2", "ring5"]
    assert len(spread(capture, 99).images) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, images=c.images[:1]), "two pictures or more"),
        (lambda c: replace(c, tracks=None), "poses only"),
        (
            lambda c: replace(c, tracks=SparseTracks(np.zeros((0, 3)), *(np.zeros(0, int),) * 2, np.zeros((0, 2)))),
            "3D points",
        ),
        (lambda c: select(c, [0, 7]), "images 0 to 5"),
    ],
)
def test_bad_captures_are_told(change, message):
    with pytest.raises(EquiviewError, match=message):
        CaptureViews(change(captured_worlds.track_capture()))


def test_a_picture_of_another_size_is_told():
    capture = captured_worlds.track_capture()
    images = [replace(image, image=np.zeros((8, 8, 3), np.uint8)) for image in capture.images]
    with pytest.raises(EquiviewError, match="64x64 pixels as its camera says"):
        CaptureViews(Capture("small", images, capture.tracks))[0]
