"""Sparse points of a capture and who sees them."""

from collections.abc import Sequence

import numpy as np

from ...types import SparseTracks


def restrict_tracks(tracks: SparseTracks, images: Sequence[int]) -> SparseTracks:
    """Keep some images, renumbered in the order given, and the points that at least two of them see."""
    if not len(tracks.image):
        return SparseTracks(tracks.points_in_world[:0], tracks.image, tracks.point, tracks.xy)
    number = np.full(max(int(tracks.image.max()), *images) + 1, -1)
    number[list(images)] = np.arange(len(images))
    kept = number[tracks.image] >= 0
    image, point, xy = number[tracks.image[kept]], tracks.point[kept], tracks.xy[kept]
    pairs = np.unique(np.stack([point, image], 1), axis=0)
    seen = np.bincount(pairs[:, 0], minlength=len(tracks.points_in_world)) >= 2
    renumbered = np.cumsum(seen) - 1
    kept = seen[point]
    return SparseTracks(tracks.points_in_world[seen], image[kept], renumbered[point[kept]], xy[kept])
