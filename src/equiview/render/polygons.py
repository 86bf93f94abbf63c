"""Polygons of any number of corners, and the triangles they are cut into."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, one behind the other."""

    counts: Int[np.ndarray, "n"]
    values: np.ndarray

    @classmethod
    def empty(cls) -> "Ragged":
        """Return no lists at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @cached_property
    def starts(self) -> Int[np.ndarray, "n"]:
        """Where each list begins in the values."""
        return np.cumsum(self.counts) - self.counts

    def row(self, index: int) -> np.ndarray:
        """Return list `index`."""
        return self.values[self.starts[index] : self.starts[index] + self.counts[index]]


def fans(polygons: Ragged) -> tuple[Int[np.ndarray, "f 3"], Int[np.ndarray, "f"], Int[np.ndarray, "f 3"]]:
    """Cut polygons into triangles: their vertices, the polygon each is of, and which of its corners each vertex is."""
    per_polygon = np.maximum(polygons.counts - 2, 0)
    polygon_of = np.repeat(np.arange(len(per_polygon)), per_polygon)
    second = np.arange(len(polygon_of)) - np.repeat(np.cumsum(per_polygon) - per_polygon, per_polygon) + 1
    corner_of = np.stack([np.zeros_like(second), second, second + 1], 1)
    return polygons.values.astype(np.int64)[polygons.starts[polygon_of][:, None] + corner_of], polygon_of, corner_of
