"""Follow points through a clip, one frame in memory at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from ...errors import bad_input
from ...sampling import descriptors
from ...types import FeatureMap
from .data import Queries, TrackConfig, Tracks
from .occlusion import visible_from
from .search import beyond_centres, locate
from .smoothing import smooth

OnFrame = Callable[[int, int], None]


class FeatureTracker:
    """Searches every frame for the features the query points have in their own frames.

    It holds the queries' features, the maps of the distinct query frames (for the way back) and two numbers and a
    position for each point and frame: nothing grows with the length of the clip but the tracks themselves.

    Args:
        queries: The points.
        query_maps: The map of every frame that holds a query point.
        n_frames: Length of the clip.
        config: How points are followed.

    Raises:
        EquiviewError: A point outside its frame, or features that are not finite.
    """

    def __init__(
        self, queries: Queries, query_maps: dict[int, FeatureMap], n_frames: int, config: TrackConfig = TrackConfig()
    ) -> None:
        self.queries = queries
        self.config = config
        self.maps = query_maps
        first = next(iter(query_maps.values()))
        queries.check(first.image_hw, n_frames)
        self.hw = first.image_hw
        device, n = first.tokens.device, len(queries)
        self.start_xy = torch.from_numpy(np.asarray(queries.xy)).float().to(device)
        self.features = torch.zeros(n, first.tokens.shape[0], device=device)
        self.beyond = torch.zeros(n, 2, device=device)
        for points, fmap in self._groups(range(n)):
            self.features[points] = descriptors(_finite(fmap, "a query frame"), self.start_xy[points])
            self.beyond[points] = beyond_centres(fmap, self.start_xy[points])
        self.last_xy = self.start_xy.clone()
        self.xy = np.full((n, n_frames, 2), np.nan)
        self.score = np.full((n, n_frames), np.nan)
        self.cycle_px = np.full((n, n_frames), np.nan)

    def _groups(self, points: Iterable[int]) -> Iterator[tuple[torch.Tensor, FeatureMap]]:
        """Yield the points of each query frame together, with that frame's map."""
        points = np.asarray(list(points))
        frames = self.queries.frame[points]
        for frame in np.unique(frames):
            yield torch.from_numpy(points[frames == frame]).to(self.start_xy.device), self.maps[int(frame)]

    def step(self, frame: int, fmap: FeatureMap, points: Int[np.ndarray, "m"] | None = None) -> None:
        """Find the points in one frame.

        Args:
            frame: Its number.
            fmap: Its feature map, of the same picture size as the query frames.
            points: Which points; all when None.
        """
        if fmap.image_hw != self.hw:
            expected, size = (f"{w}x{h} pixels" for h, w in (self.hw, fmap.image_hw))
            raise bad_input(f"frame {frame}", f"{expected} as before", size, "Give frames of one size.")
        rows = np.arange(len(self.queries)) if points is None else points
        if len(rows) == 0:
            return
        pick = torch.from_numpy(rows).to(self.start_xy.device)
        near = None if self.config.search_px is None else self.last_xy[pick]
        found = locate(self.features[pick], _finite(fmap, f"frame {frame}"), self.config, near)
        there = descriptors(fmap, found)
        limit = found.new_tensor([self.hw[1], self.hw[0]])
        xy = torch.minimum((found + self.beyond[pick]).clamp(min=0), limit)
        own = torch.from_numpy(self.queries.frame[rows] == frame).to(xy.device)
        xy[own] = self.start_xy[pick][own]
        there[own] = self.features[pick][own]
        self.last_xy[pick] = xy
        self.xy[rows, frame] = xy.cpu().numpy()
        self.score[rows, frame] = (there * self.features[pick]).sum(1).cpu().numpy()
        self.cycle_px[rows, frame] = self._way_back(rows, there, own).cpu().numpy()

    def _way_back(
        self, rows: Int[np.ndarray, "m"], there: Float[torch.Tensor, "m c"], own: torch.Tensor
    ) -> Float[torch.Tensor, "m"]:
        """Return how far from the query each found feature leads in the query's own frame."""
        home = torch.zeros(len(self.queries), 2, device=there.device)
        features = torch.zeros_like(self.features)
        pick = torch.from_numpy(rows).to(there.device)
        features[pick] = there
        for points, fmap in self._groups(rows):
            home[points] = locate(features[points], fmap, self.config) + self.beyond[points]
        distance = (home[pick] - self.start_xy[pick]).norm(dim=1)
        return torch.where(own, torch.zeros_like(distance), distance)

    def finish(self) -> Tracks:
        """Decide what is visible, from all frames seen, and smooth where the configuration asks for it."""
        fmap = next(iter(self.maps.values()))
        own = np.arange(self.xy.shape[1])[None] == self.queries.frame[:, None]
        visible = visible_from(self.score, self.cycle_px / max(fmap.stride_xy), own, self.config.cycle_tokens)
        xy = smooth(self.xy, visible, own, self.config.smoothing)
        return Tracks(xy, visible, self.score, self.cycle_px)


def _finite(fmap: FeatureMap, what: str) -> FeatureMap:
    if not bool(torch.isfinite(fmap.tokens).all()):
        raise bad_input(f"features of {what}", "finite numbers", "NaN or infinity", "Use fp32, or check the adapter.")
    return fmap


@torch.no_grad()
def track(
    maps: Sequence[FeatureMap],
    queries: Queries,
    config: TrackConfig = TrackConfig(),
    on_frame: OnFrame | None = None,
) -> Tracks:
    """Follow query points through a clip.

    Args:
        maps: One feature map a frame, of one picture size; made when asked for (`LazyMaps`), a long clip fits.
        queries: The points, each in any frame.
        config: How points are followed.
        on_frame: Called with (done, total) after every frame.

    Returns:
        Positions, visibility, scores; at its own frame a query point stays where it was given.

    Raises:
        EquiviewError: No frames, a query outside its frame or in a frame there is not, a changing size.
    """
    frames = check_clip(maps, queries)
    tracker = FeatureTracker(queries, {frame: maps[frame] for frame in frames}, len(maps), config)
    backwards = config.search_px is not None and frames[-1] > 0
    total = len(maps) + (frames[-1] if backwards else 0)
    for frame, fmap in enumerate(maps):
        ahead = np.flatnonzero(queries.frame <= frame) if backwards else None
        tracker.step(frame, fmap, ahead)
        if on_frame is not None:
            on_frame(frame + 1, total)
    if backwards:
        _go_back(maps, tracker, frames[-1], total, on_frame)
    return tracker.finish()


def check_clip(maps: Sequence[FeatureMap], queries: Queries) -> list[int]:
    """Return the frames that hold query points, sorted.

    Raises:
        EquiviewError: No frames, no points, or one in a frame there is not.
    """
    if len(maps) == 0:
        raise bad_input("clip", "at least one frame", "none", "Check the video.")
    frames = sorted({int(frame) for frame in queries.frame})
    if not frames or frames[0] < 0 or frames[-1] >= len(maps):
        # Whether a point lies inside its frame is asked again where the size is known.
        queries.check((2**31, 2**31), len(maps))
    return frames


def _go_back(
    maps: Sequence[FeatureMap], tracker: FeatureTracker, last: int, total: int, on_frame: OnFrame | None
) -> None:
    """Follow points from their own frames towards the beginning: a search around the last position needs an order."""
    tracker.last_xy = tracker.start_xy.clone()
    for frame in range(last - 1, -1, -1):
        tracker.step(frame, maps[frame], np.flatnonzero(tracker.queries.frame > frame))
        if on_frame is not None:
            on_frame(total - frame, total)
