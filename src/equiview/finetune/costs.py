"""What work costs on this machine, measured once and rounded to powers of two."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..models.extractor import Extractor, Picture
from ..models.position_bias import noise_pictures
from ..types import View

RENDER_S = 0.5
"""Seconds of rendering a view, about; not measured, because views may be there already."""


@dataclass(frozen=True)
class Costs:
    """What work costs on this machine.

    Attributes:
        map_s: Seconds of one feature map.
        product_s: Seconds of multiplying a thousand tokens by a square matrix of the features' width.
        views: Views of each object.
        own_views: Views of all of the user's objects.
    """

    map_s: float
    product_s: float
    views: int
    own_views: int

    @property
    def object_s(self) -> float:
        """Seconds of an auxiliary object: its views rendered, and their maps."""
        return self.views * (RENDER_S + self.map_s)


def coarse(seconds: float) -> float:
    """Return the nearest power of two, so that a machine is as fast today as it was yesterday."""
    return 2.0 ** round(math.log2(max(seconds, 1e-9)))


def measure_costs(extractor: Extractor, own: Sequence[View], views: int) -> Costs:
    """Measure what work costs, in powers of two.

    Args:
        extractor: What features are computed with.
        own: Views of the user's objects; without any, noise is looked at.
        views: Views of each auxiliary object.
    """
    seen: Sequence[Picture] = own or noise_pictures(extractor.config.long_side)
    maps = extractor.eval().maps([seen[n % len(seen)] for n in range(4)], batch_size=1)
    width = 0

    def next_map() -> None:
        nonlocal width
        width = int(next(maps).tokens.shape[0])

    map_s = fastest(next_map)
    tokens, matrix = (torch.ones(rows, width, device=extractor.device) for rows in (1000, width))
    product_s = fastest(lambda: float((tokens @ matrix)[0, 0]))
    return Costs(coarse(map_s), coarse(product_s), views, len(own))


def fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of three runs after a first: a busy moment does not count."""
    times = []
    for _ in range(4):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times[1:])
