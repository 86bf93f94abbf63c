"""A clip at a second look: the maps are of the part that holds the points, and tracks are finer."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.matching.tracking import LazyMaps, Queries, RefinedMaps, TrackConfig, track
from equiview.models.extractor import resize
from equiview.types import FeatureMap

TOKENS = 20
STEPS = ((0, 0), (11, 3), (23, 9), (34, 14))


class Patches:
    """Every picture in as many cells, each described by the colours of what lies in it; the background by nothing."""

    def maps(self, pictures: Iterable[np.ndarray], *, batch_size: int = 4) -> Iterator[FeatureMap]:
        for picture in pictures:
            h, w = picture.shape[:2]
            side = max(h, w) / TOKENS
            rows, cols = round(h / side), round(w / side)
            small = resize(torch.from_numpy(picture).permute(2, 0, 1)[None].float(), (4 * rows, 4 * cols))
            cells = torch.nn.functional.pixel_unshuffle(small - small.mean((2, 3), keepdim=True), 4)
            stride = (w / cols, h / rows)
            yield FeatureMap(cells[0] + 1e-3, stride, (stride[0] / 2, stride[1] / 2), (h, w))


def clip() -> list[np.ndarray]:
    """A patterned square that moves over black, a quarter of the picture's side."""
    frames = [np.zeros((240, 240, 3), np.uint8) for _ in STEPS]
    for frame, (dx, dy) in zip(frames, STEPS, strict=True):
        frame[80 + dy : 140 + dy, 60 + dx : 120 + dx] = dead_leaves(3, (60, 60))
    return frames


def test_tracks_are_finer() -> None:
    xy = np.stack(np.meshgrid(np.arange(72, 112, 8.0), np.arange(92, 132, 8.0)), -1).reshape(-1, 2)
    queries, config = Queries(xy, np.zeros(len(xy), int)), TrackConfig()
    maps = LazyMaps(Patches(), clip())
    closer = RefinedMaps(maps, queries, config)
    assert len(closer) == len(STEPS) and closer[1].stride_xy[0] < 0.6 * maps[1].stride_xy[0]
    truth = xy[:, None] + np.array(STEPS)
    errors = [np.linalg.norm(track(seen, queries, config).xy - truth, axis=2)[:, 1:] for seen in (maps, closer)]
    assert np.median(errors[1]) < 0.6 * np.median(errors[0]) and np.median(errors[1]) < 4
    # The part holds the points where they are given, so that each is described by what lies there.
    first = track(closer, queries, config).xy[:, 0]
    np.testing.assert_array_equal(first, xy)


def test_points_all_over_the_frame_get_no_second_look() -> None:
    picture = dead_leaves(1, (240, 240))
    xy = np.stack(np.meshgrid(np.arange(8, 240, 16.0), np.arange(8, 240, 16.0)), -1).reshape(-1, 2)
    queries = Queries(xy, np.zeros(len(xy), int))
    maps = LazyMaps(Patches(), [picture, picture])
    closer = RefinedMaps(maps, queries, TrackConfig())
    assert closer[1].hw == maps[1].hw and len(closer[1].tokens) == 2 * len(maps[1].tokens)
    plain, twice = (track(seen, queries).xy for seen in (maps, closer))
    np.testing.assert_allclose(plain, twice, atol=0.05)
