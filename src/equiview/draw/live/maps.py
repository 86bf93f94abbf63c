"""Packed features as feature maps: what the page computes with, in Python."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ...sampling import descriptors
from ...types import FeatureMap
from .pack import Pack


def packed_maps(pack: Pack, variant: str) -> list[FeatureMap]:
    """Return the packed features as feature maps, one a view: what the page computes with.

    A last channel holds the length that the basis leaves out, so that tokens have unit length.
    """
    values = torch.from_numpy(pack.tokens[variant].astype(np.float32) * pack.scales[variant])
    left_out = (1 - values.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    values = torch.cat([values, left_out], 1)
    maps, start = [], 0
    for view in pack.views:
        rows, cols = view.grid_hw
        own = values[start : start + rows * cols].T.reshape(-1, rows, cols)
        maps.append(FeatureMap(own, view.stride_xy, view.offset_xy, view.image_hw))
        start += rows * cols
    return maps


def packed_queries(fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"]) -> Float[torch.Tensor, "n c"]:
    """Return packed features at pixels, to be matched with packed maps.

    What the basis leaves out of a query is not compared: its direction is not known.
    """
    queries = descriptors(fmap, xy)
    queries[:, -1] = 0
    return queries


def same_grids(maps: Sequence[Sequence[FeatureMap]]) -> bool:
    """Say whether all variants describe the same pixels."""

    def grid(one: FeatureMap) -> tuple[Any, ...]:
        return one.hw, one.stride_xy, one.offset_xy, one.image_hw

    return all([grid(m) for m in variant] == [grid(m) for m in maps[0]] for variant in maps[1:])
