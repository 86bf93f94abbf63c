"""Semantic transfer: where do key points of one picture lie in another picture of the same kind of thing?"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8

from ..errors import bad_input
from ..models.extractor import MapSource
from ..sampling import descriptors
from ..types import FeatureMap, Matches
from .localise import Localise
from .match import match_regions
from .nearest import CHUNK_SIMILARITIES


def locate(queries: Float[torch.Tensor, "n c"], target: FeatureMap, localise: Localise = Localise()) -> Matches:
    """Find each descriptor's place in the target.

    Args:
        queries: L2-normalised descriptors.
        target: Target tokens.
        localise: How.

    Returns:
        Pixels of the target, and the similarity there (cosine; a dot product for `paper`).
    """
    if localise.method == "paper":
        return locate_paper(queries, target)
    return match_regions(queries, target, [None], localise)[0]


def locate_paper(queries: Float[torch.Tensor, "n c"], target: FeatureMap) -> Matches:
    """Localise as published: the first pixel where the upsampled dot product is largest.

    The target map is NOT normalised. It is upsampled bilinearly between the outermost token centres and edge-padded to
    the picture. Similarities are upsampled instead of channels: both are linear, so the result is the same.

    Args:
        queries: L2-normalised descriptors.
        target: Tokens with a whole stride and a whole first centre (7 for patch 14).

    Returns:
        Whole pixels, as the published evaluation compares them, and the dot product.

    Raises:
        EquiviewError: Token centres do not lie on whole pixels.

    Source: You et al., ICLR 2025, released `evaluate.py` (semantic transfer).
    """
    geometry = (*target.stride_xy, *target.offset_xy)
    if any(value != int(value) for value in geometry):
        fix = "Use pictures whose sides are whole patches, and an even patch."
        raise bad_input("paper localisation", "token centres on whole pixels", f"stride and offset {geometry}", fix)
    stride_x, stride_y, left, top = (int(value) for value in geometry)
    rows, cols = target.hw
    h, w = target.image_hw
    inner = ((rows - 1) * stride_y + 1, (cols - 1) * stride_x + 1)
    pad = (left, w - left - inner[1], top, h - top - inner[0])
    tokens = target.tokens.float()
    xy, scores = [], []
    for chunk in queries.to(tokens).split(max(1, CHUNK_SIMILARITIES // (h * w))):
        similarity = torch.einsum("nc,chw->nhw", chunk, tokens)[:, None]
        dense = F.pad(F.interpolate(similarity, inner, mode="bilinear", align_corners=True), pad, mode="replicate")
        score, best = dense.flatten(1).max(1)
        xy.append(torch.stack([best % w, best // w], -1).to(tokens))
        scores.append(score)
    return Matches(torch.cat(xy), torch.cat(scores))


def transfer_maps(
    source: FeatureMap, xy0: Float[torch.Tensor, "n 2"], target: FeatureMap, localise: Localise = Localise()
) -> Matches:
    """Transfer key points between two feature maps.

    Args:
        source: Features of the picture the points are in.
        xy0: Its key points, pixels.
        target: Features of the other picture.
        localise: How a place is chosen.
    """
    return locate(descriptors(source, xy0), target, localise)


def mirrored(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the picture flipped left to right; a point at x moves to width - x."""
    return np.ascontiguousarray(rgb[:, ::-1])


def better(plain: Matches, flipped: Matches) -> bool:
    """Say whether the mirrored source fits better: its mean similarity is higher."""
    return bool(flipped.score.mean() > plain.score.mean())


@torch.no_grad()
def transfer(
    model: MapSource,
    image0: UInt8[np.ndarray, "h w 3"],
    xy0: Float[np.ndarray, "n 2"],
    image1: UInt8[np.ndarray, "h w 3"],
    *,
    localise: Localise = Localise(),
    flips: bool = False,
) -> Matches:
    """Find where key points of one picture lie in another one.

    Args:
        model: From `equiview.load`, or an `Extractor`.
        image0: 8-bit RGB with the points.
        xy0: Key points in it, pixels (corner origin).
        image1: The other picture.
        localise: How a place is chosen; `paper` wants square pictures of whole patches (see `tasks.transfer`).
        flips: Try the mirrored first picture too and keep the better of the two by mean similarity: for things that
            may look the other way.

    Returns:
        Pixels of `image1` and their similarity.

    Raises:
        EquiviewError: A point is outside its picture or not finite.
    """
    points = np.asarray(xy0, np.float64).reshape(-1, 2)
    check_points(points, image0.shape[:2])
    tries = [(image0, points)]
    if flips:
        tries.append((mirrored(image0), np.stack([image0.shape[1] - points[:, 0], points[:, 1]], 1)))
    target, *sources = model.maps([image1, *(image for image, _ in tries)])
    found = [
        transfer_maps(fmap, torch.from_numpy(xy).float(), target, localise)
        for fmap, (_, xy) in zip(sources, tries, strict=True)
    ]
    return found[1] if flips and better(*found) else found[0]


def outside(xy: Float[np.ndarray, "n 2"], hw: tuple[int, int], slack_px: float = 0.0) -> Bool[np.ndarray, "n"]:
    """Return True for points that are not finite or more than `slack_px` outside a picture."""
    limits = np.array([hw[1], hw[0]]) + slack_px
    return ~(np.isfinite(xy).all(1) & (xy >= -slack_px).all(1) & (xy <= limits).all(1))


def check_points(xy: Float[np.ndarray, "n 2"], hw: tuple[int, int], slack_px: float = 0.0) -> None:
    """Refuse points that are not in the picture.

    Raises:
        EquiviewError: There are none, or one is outside or not finite.
    """
    if not len(xy):
        raise bad_input("key points", "at least one", "none", "Give their pixels as x,y.")
    bad = outside(xy, hw, slack_px)
    if bad.any():
        x, y = xy[int(bad.argmax())]
        found = f"{x:g},{y:g}"
        raise bad_input("key point", f"a pixel inside the picture of {hw[1]}x{hw[0]}", found, "Points are x,y.")
