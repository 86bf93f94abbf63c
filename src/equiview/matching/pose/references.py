"""What a reference picture tells about 3D: known points at its tokens, from a render, from depth, or handed over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from ...cache import Cache
from ...errors import bad_input
from ...geometry import unproject
from ...io import pixels_of, posed_pixels
from ...models.extractor import MapSource
from ...sampling import descriptors, token_centers
from ...types import Camera, FeatureMap, PosedImage, View
from .rolls import rolled_camera, rolled_image

Reference = View | PosedImage
# Pixels of a reference and the world points they show, from structure from motion.
Observations = tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 3"]]


@dataclass(frozen=True)
class ViewPoints:
    """What one reference adds to a template.

    Attributes:
        descriptors: Of unit length.
        points_in_world: The point each of them shows.
    """

    descriptors: Float[torch.Tensor, "n c"]
    points_in_world: Float[np.ndarray, "n 3"]


def picture_of(reference: Reference | np.ndarray | Any, roll: int = 0) -> Any:
    """Return what an extractor takes, turned by `roll` quarters: a view stays a view, a file is read.

    Raises:
        EquiviewError: The file is missing or broken.
    """
    if isinstance(reference, View):
        return reference if roll % 4 == 0 else _rolled_view(reference, roll)
    rgb = posed_pixels(reference) if isinstance(reference, PosedImage) else pixels_of(reference)
    return rolled_image(rgb, roll)


def _rolled_view(view: View, roll: int) -> View:
    names = ("rgb", "mask", "points_in_world", "normals_in_world", "triangle_id")
    turned: dict[str, Any] = {name: np.ascontiguousarray(np.rot90(getattr(view, name), roll)) for name in names}
    return replace(view, camera=rolled_camera(view.camera, roll), **turned)


def pixels_at(xy: Float[np.ndarray, "n 2"], hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the pixel each place lies in."""
    cols, rows = np.floor(xy).astype(int).T
    return np.clip(rows, 0, hw[0] - 1), np.clip(cols, 0, hw[1] - 1)


def mask_at(reference: Reference, xy: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n"]:
    """Return True for places on the object; everywhere where there is no mask."""
    if reference.mask is None:
        return np.ones(len(xy), bool)
    return reference.mask[pixels_at(xy, reference.mask.shape)]


def inside_box(
    points: Float[np.ndarray, "n 3"], box: Float[np.ndarray, "2 3"] | None, margin: float
) -> Bool[np.ndarray, "n"]:
    """Return which points are finite and inside a box grown by `margin` of its sides."""
    fine = np.isfinite(points).all(-1)
    if box is None:
        return fine
    low, high = np.asarray(box, float)
    grow = margin * (high - low)
    with np.errstate(invalid="ignore"):
        return fine & (points >= low - grow).all(-1) & (points <= high + grow).all(-1)


def has_points(reference: Reference) -> bool:
    """Say whether a reference brings its own 3D points."""
    return isinstance(reference, View) or reference.depth is not None


def known_points(reference: Reference, fmap: FeatureMap) -> ViewPoints:
    """Return descriptors and points at the pixel centres nearest to the tokens: a render's, or unprojected depth.

    3D is exact at pixel centres only, so descriptors are read there instead of half a pixel away.
    """
    rows, cols = pixels_at(token_centers(fmap).double().cpu().numpy(), reference.camera.hw)
    xy = np.stack([cols, rows], 1) + 0.5
    if isinstance(reference, View):
        points = reference.points_in_world[rows, cols].astype(np.float64)
    elif reference.depth is not None:
        depth = reference.depth[rows, cols].astype(np.float64)
        points = unproject(reference.camera, xy, np.where(depth > 0, depth, np.nan))
    else:
        raise bad_input(f"reference {reference.name!r}", "depth or a render", "neither", "Triangulate instead.")
    keep = mask_at(reference, xy) & np.isfinite(points).all(-1)
    return ViewPoints(descriptors(fmap, torch.from_numpy(xy[keep]).float()), points[keep])


def observed_points(observations: Observations, fmap: FeatureMap) -> ViewPoints:
    """Return descriptors at given pixels and the points they show.

    Raises:
        EquiviewError: Pixels and points do not fit together.
    """
    xy, points = (np.asarray(one, np.float64) for one in observations)
    if xy.shape != (len(points), 2) or points.shape != (len(xy), 3):
        found = f"shapes {xy.shape} and {points.shape}"
        raise bad_input("observations", "pixels [n, 2] and points [n, 3]", found, "Give one pair a reference.")
    keep = np.isfinite(xy).all(1) & np.isfinite(points).all(1)
    return ViewPoints(descriptors(fmap, torch.from_numpy(xy[keep]).float()), points[keep])


class ReferenceMaps:
    """Feature maps of references, turned copies too, made when asked for and kept within a bound of memory.

    Args:
        source: Where maps come from.
        references: The pictures.
        limit_bytes: What the kept maps may take.
    """

    def __init__(self, source: MapSource, references: Sequence[Reference], limit_bytes: int) -> None:
        self._source = source
        self._references = references
        self._maps: Cache[FeatureMap] = Cache(limit_bytes)

    def camera(self, index: int, roll: int = 0) -> Camera:
        return rolled_camera(self._references[index].camera, roll)

    def __call__(self, index: int, roll: int = 0) -> FeatureMap:
        """Return the unit-length tokens of a reference turned by `roll` quarters."""

        def make() -> FeatureMap:
            reference = self._references[index]
            return unit_map(self._source, picture_of(reference, roll), reference.name)

        return self._maps.get((index, roll % 4), make)


def unit_map(source: MapSource, picture: Any, name: str) -> FeatureMap:
    """Return the feature map of one picture with tokens of unit length.

    Raises:
        EquiviewError: Features are not finite.
    """
    with torch.no_grad():
        (fmap,) = source.maps([picture])
    if not bool(torch.isfinite(fmap.tokens).all()):
        raise bad_input(f"features of {name!r}", "finite numbers", "NaN or infinity", "Use fp32, or check the adapter.")
    return fmap.replace_tokens(torch.nn.functional.normalize(fmap.tokens.float(), dim=0, eps=1e-12))
