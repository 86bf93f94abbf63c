"""Where in a frame is a descriptor? Without a pull towards the middle of the picture."""

import torch
from jaxtyping import Bool, Float, Int

from ...sampling import pixel_from_token, token_centers, token_from_pixel
from ...types import FeatureMap
from ..nearest import parabola_vertex, similarity_chunks, window_mean
from .data import TrackConfig


def locate(
    descriptors: Float[torch.Tensor, "n c"],
    target: FeatureMap,
    config: TrackConfig,
    near_xy: Float[torch.Tensor, "n 2"] | None = None,
) -> Float[torch.Tensor, "n 2"]:
    """Return the pixel of each descriptor's best place.

    Args:
        descriptors: L2-normalised.
        target: The frame to search.
        config: Localisation, and how far from `near_xy` a token may be.
        near_xy: Where each point was last; the whole frame is searched without.
    """
    nearby = None if config.search_px is None else near_xy
    found, start = [], 0
    for similarity in similarity_chunks(descriptors, target):
        searched = similarity
        if nearby is not None:
            allowed = _close(target, nearby[start : start + len(similarity)], config.search_px)
            searched = similarity.masked_fill(~allowed, -torch.inf)
        found.append(_place(similarity, searched.argmax(1), target.hw, config))
        start += len(similarity)
    return pixel_from_token(target, torch.cat(found))


def _close(target: FeatureMap, xy: Float[torch.Tensor, "n 2"], reach_px: float | None) -> Bool[torch.Tensor, "n hw"]:
    """Return which token centres lie this near each place; the nearest always does, however small the reach."""
    centres = token_centers(target)
    distance = torch.cdist(xy.to(centres), centres, compute_mode="donot_use_mm_for_euclid_dist")
    return distance <= distance.amin(1, keepdim=True).clamp(min=reach_px)


def _place(
    similarity: Float[torch.Tensor, "n hw"], best: Int[torch.Tensor, "n"], hw: tuple[int, int], config: TrackConfig
) -> Float[torch.Tensor, "n 2"]:
    """Return where around the winning token the peak is, token units."""
    if config.localisation == "window":
        return window_mean(similarity, best, hw, config.window, config.temperature)
    if config.localisation == "token":
        return torch.stack([best % hw[1], best // hw[1]], 1).to(similarity)
    return peak(similarity, best, hw, slanted=config.localisation == "quadratic")


def peak(
    similarity: Float[torch.Tensor, "n hw"], best: Int[torch.Tensor, "n"], hw: tuple[int, int], *, slanted: bool
) -> Float[torch.Tensor, "n 2"]:
    """Return where between the tokens the similarity peaks, token units.

    A parabola goes through the best token and its neighbours on each axis; at a border, where one neighbour is
    missing, through the best token and the next two inside, so that nothing is pulled to the outermost centres. An
    axis without a peak within half a token keeps the nearest half.

    Args:
        similarity: Cosine of each point and token.
        best: The winning token.
        hw: Rows and columns.
        slanted: Fit x and y together (a quadratic with a mixed term), which follows the slanted ridge that a
            foreshortened surface makes; where that has no peak within a token, or at a border, the axes stay apart.
    """
    row, col = best // hw[1], best % hw[1]
    x = _vertex(similarity, best, 1, col, hw[1])
    y = _vertex(similarity, best, hw[1], row, hw[0])
    offset = torch.stack([x, y], 1)
    if slanted:
        joint, valid = _joint_vertex(similarity, row, col, hw)
        offset = torch.where(valid[:, None], joint, offset)
    return torch.stack([col, row], 1) + offset


def _vertex(
    similarity: Float[torch.Tensor, "n hw"],
    best: Int[torch.Tensor, "n"],
    step: int,
    position: Int[torch.Tensor, "n"],
    size: int,
) -> Float[torch.Tensor, "n"]:
    """Return the vertex (-0.5 to 0.5 token from the winner) of the parabola along one axis, 0 where there is none."""
    if size < 3:
        return torch.zeros(len(best), device=similarity.device)
    middle = position.clamp(1, size - 2)
    at = best + (middle - position) * step
    left, centre, right = (similarity.gather(1, (at + one * step)[:, None])[:, 0] for one in (-1, 0, 1))
    vertex, is_peak = parabola_vertex(left, centre, right)
    vertex = vertex + middle - position
    return torch.where(is_peak, vertex.clamp(-0.5, 0.5), torch.zeros_like(vertex))


def _joint_vertex(
    similarity: Float[torch.Tensor, "n hw"],
    row: Int[torch.Tensor, "n"],
    col: Int[torch.Tensor, "n"],
    hw: tuple[int, int],
) -> tuple[Float[torch.Tensor, "n 2"], Bool[torch.Tensor, "n"]]:
    """Return the peak of the quadratic through the 3x3 similarities around the winner, and where there is one."""
    steps = torch.arange(-1, 2, device=similarity.device)
    rows = (row[:, None] + steps).clamp(0, hw[0] - 1)[:, :, None]
    cols = (col[:, None] + steps).clamp(0, hw[1] - 1)[:, None, :]
    patch = similarity.gather(1, (rows * hw[1] + cols).flatten(1)).reshape(-1, 3, 3)
    dx, dy = (patch[:, 1, 2] - patch[:, 1, 0]) / 2, (patch[:, 2, 1] - patch[:, 0, 1]) / 2
    dxx = patch[:, 1, 2] - 2 * patch[:, 1, 1] + patch[:, 1, 0]
    dyy = patch[:, 2, 1] - 2 * patch[:, 1, 1] + patch[:, 0, 1]
    dxy = (patch[:, 2, 2] - patch[:, 2, 0] - patch[:, 0, 2] + patch[:, 0, 0]) / 4
    determinant = dxx * dyy - dxy**2
    is_peak = (determinant > 1e-12) & (dxx < 0)
    safe = torch.where(is_peak, determinant, torch.ones_like(determinant))
    offset = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], 1) / safe[:, None]
    inside = (col > 0) & (col < hw[1] - 1) & (row > 0) & (row < hw[0] - 1)
    return offset, is_peak & inside & (offset.abs() <= 1).all(1)


def beyond_centres(fmap: FeatureMap, xy: Float[torch.Tensor, "n 2"]) -> Float[torch.Tensor, "n 2"]:
    """Return how far points lie outside the rectangle of token centres, in pixels.

    There a sampled feature is that of the nearest place inside. What is found elsewhere with it is that place, and
    the point itself is as far from it as it was in its own frame.
    """
    token_xy = token_from_pixel(fmap, xy)
    last = token_xy.new_tensor([fmap.hw[1] - 1, fmap.hw[0] - 1])
    inside = torch.minimum(token_xy.clamp(min=0), last)
    return (token_xy - inside) * token_xy.new_tensor(fmap.stride_xy)
