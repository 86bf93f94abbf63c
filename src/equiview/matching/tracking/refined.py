"""The maps of a clip at a second, closer look: each frame where the query points lie in it, see `matching.refine`."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ...sampling import descriptors
from ...types import FeatureMap
from ..refine import Box, box_around, refine_map
from .data import LazyMaps, Queries, TrackConfig
from .search import locate


class RefinedMaps(Sequence[FeatureMap]):
    """Maps as `LazyMaps` makes them, of the part of each frame that holds the points at the first look.

    Twice the passes of the network; what is kept is a descriptor for each query. A point outside the part is looked
    for inside it: where points lie all over the frame, the part is the frame, and the first look stands.

    Args:
        maps: Of the whole frames.
        queries: The points.
        config: How they are followed.

    Raises:
        EquiviewError: A query outside its frame, or in a frame there is not.
    """

    def __init__(self, maps: LazyMaps, queries: Queries, config: TrackConfig) -> None:
        self.maps, self.queries, self.config = maps, queries, config
        parts = {}
        for frame in np.unique(queries.frame):
            own = np.flatnonzero(queries.frame == frame)
            parts |= dict(zip(own, descriptors(maps[int(frame)], self._xy(own)), strict=True))
        self.features = torch.stack([parts[number] for number in range(len(queries))])

    def _xy(self, points: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.queries.xy[points]).float()

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> FeatureMap:  # type: ignore[override]
        return self._closer(index, self.maps[index])

    def __iter__(self) -> Iterator[FeatureMap]:
        for index, fmap in enumerate(self.maps):
            yield self._closer(index, fmap)

    def _closer(self, index: int, fmap: FeatureMap) -> FeatureMap:
        found = locate(self.features, fmap, self.config)
        score = (descriptors(fmap, found) * self.features).sum(1)
        own = self._xy(np.flatnonzero(self.queries.frame == index)).to(found)
        box = _with(box_around(found, score, fmap), own, fmap)
        return refine_map(self.maps.source, self.maps.frames[index], fmap, box).fmap


def _with(box: Box | None, xy: torch.Tensor, fmap: FeatureMap) -> Box | None:
    """Return the box grown to hold the points that are given in this frame, a token away from its border."""
    if box is None or not len(xy):
        return box
    reach, (h, w) = max(fmap.stride_xy), fmap.image_hw
    (left, top), (right, bottom) = (xy.amin(0) - reach).tolist(), (xy.amax(0) + reach).tolist()
    low = (max(0, int(min(box.x0, left))), max(0, int(min(box.y0, top))))
    return Box(*low, min(w, int(max(box.x1, right + 1))), min(h, int(max(box.y1, bottom + 1))))
