"""Frames are chosen evenly along the movement, and blurred ones lose to their sharp neighbours."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from equiview.data.sfm.frames import FrameScores, choose_frames, measure_frames, picture_motion
from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.errors import EquiviewError

WORLD = dead_leaves(5, (200, 900))


class Pan:
    """Windows of a long picture, some blurred along the movement; counts what is read."""

    def __init__(self, lefts, blurred=()):
        self.lefts, self.blurred, self.read = list(lefts), set(blurred), []

    def __len__(self):
        return len(self.lefts)

    def __getitem__(self, index):
        self.read.append(index)
        frame = WORLD[:, self.lefts[index] : self.lefts[index] + 260]
        if index in self.blurred:
            return uniform_filter1d(frame.astype(float), 13, axis=1).astype(np.uint8)
        return frame


def quiet(*_):
    pass


def test_every_frame_is_read_once_in_order_and_progress_is_told():
    frames, told = Pan(range(0, 200, 10)), []
    measure_frames(frames, lambda *call: told.append(call))
    assert frames.read == list(range(20))
    assert told[-1] == ("frames", 20, 20)


@pytest.mark.parametrize("shift_px", [2, 6, 12])
def test_motion_is_a_share_of_the_long_side(shift_px):
    scores = measure_frames(Pan(range(0, 10 * shift_px, shift_px)), quiet)
    assert scores.motion[0] == 0
    np.testing.assert_allclose(scores.motion[1:], shift_px / 260, atol=0.006)


def test_blurred_frames_lose_to_their_sharp_neighbours():
    blurred = {i for i in range(60) if i % 3}  # Two of three: a shaking hand.
    scores = measure_frames(Pan(range(0, 600, 10), blurred), quiet)
    chosen = choose_frames(scores, 15)
    assert len(chosen) >= 12 and not blurred & set(chosen)


def test_a_stretch_of_blur_is_bridged_by_its_sharp_ends():
    blurred = set(range(20, 24))
    chosen = choose_frames(measure_frames(Pan(range(0, 600, 10), blurred), quiet), 30)
    assert not blurred & set(chosen)


def test_standing_still_adds_no_frames():
    lefts = [*range(0, 200, 10), *[200] * 100, *range(200, 400, 10)]
    chosen = choose_frames(measure_frames(Pan(lefts), quiet), 20)
    still = [i for i in chosen if 22 <= i < 119]
    assert len(chosen) >= 15 and len(still) <= 1
    steps = np.diff([lefts[i] for i in chosen])
    assert steps.max() <= 3 * np.median(steps)


def test_at_most_so_many_in_order_and_each_once():
    scores = FrameScores(np.ones(500), np.full(500, 0.05))
    chosen = choose_frames(scores, 80)
    assert len(chosen) == 80 and chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < 500


def test_a_video_without_movement_gives_few_frames():
    assert len(choose_frames(FrameScores(np.ones(50), np.zeros(50)), 20)) <= 2


def test_blank_pictures_do_not_move():
    assert picture_motion(np.zeros((90, 160)), np.zeros((90, 160))) == 0.0


def test_fewer_than_two_frames_are_refused():
    with pytest.raises(EquiviewError, match="2 or more"):
        choose_frames(FrameScores(np.ones(5), np.ones(5)), 1)
