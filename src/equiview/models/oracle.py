"""Doubles of an extractor that bracket every score: perfect features and features that know nothing."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from ..errors import bad_input
from ..records import FeaturesRecord
from ..sampling import sample_grid
from ..types import FeatureMap, View
from .extractor import Picture, picture_rgb


class OracleExtractor:
    """Features that are the 3D position behind each token's centre: a matcher fed with them must be right.

    A position p is lifted to the sphere of radius R: (p, sqrt(R^2 - |p|^2)) / R. The cosine of two lifted positions
    is 1 - d^2 / (2 R^2) with d their distance, so the most similar token is the nearest in 3D. Background tokens
    are zero, which is less similar than any point of the object and does not turn its neighbours when interpolated.
    Perfect results may be asked of points more than one stride from a depth edge.

    Args:
        stride_px: Distance of tokens in image pixels; the first centre is half of it from the corner.
        radius: R, in object units; every point must be closer than that to the origin.
    """

    def __init__(self, stride_px: float = 16, radius: float = 2.0) -> None:
        self.stride_px = stride_px
        self.radius = radius

    def maps(
        self, views: Iterable[View], *, batch_size: int = 4, device: str | torch.device | None = None
    ) -> Iterator[FeatureMap]:
        """Yield one map of 4 channels per view. `batch_size` is there to be like an extractor.

        Raises:
            EquiviewError: A point outside the sphere.
        """
        for view in views:
            yield self._map(view, device)

    def _map(self, view: View, device: str | torch.device | None) -> FeatureMap:
        valid = view.mask & np.isfinite(view.points_in_world).all(-1)
        points = np.where(valid[..., None], view.points_in_world, 0.0)
        furthest = float(np.linalg.norm(points, axis=-1).max())
        if furthest >= self.radius:
            expected, fix = f"points closer than {self.radius} to the origin", "Give the oracle a larger radius."
            raise bad_input(f"view {view.name!r}", expected, f"one at {furthest:.3g}", fix)
        # The mean of the surface points around the token's centre, in double: d^2 is a small part of R^2.
        weighted = torch.from_numpy(np.concatenate([points, valid[..., None]], -1)).double().permute(2, 0, 1)
        grid, token_xy = _grid(view.rgb.shape[:2], self.stride_px)
        sampled = sample_grid(weighted[None], token_xy[None])[0]
        weight = sampled[:, 3:]
        position = sampled[:, :3] / weight.clamp(min=1e-9) / self.radius
        lifted = torch.cat([position, (1 - position.square().sum(1, keepdim=True)).clamp(min=0).sqrt()], 1)
        tokens = torch.where(weight > 1e-9, lifted, 0.0).T.reshape(4, *grid).float()
        return _feature_map(tokens, self.stride_px, view.rgb.shape[:2], device)

    def describe(self) -> FeaturesRecord:
        return {"backbone": "oracle", "stride": self.stride_px, "radius": self.radius, "head": []}


class PictureOracle:
    """The oracle for tasks that hand over pictures: it knows the view behind each by its pixels.

    Args:
        views: Views (or surfaces) whose pictures will be asked for.
        stride_px: As of `OracleExtractor`.
        radius: As of `OracleExtractor`.
    """

    def __init__(self, views: Iterable[View], stride_px: float = 16, radius: float = 2.0) -> None:
        self._oracle = OracleExtractor(stride_px, radius)
        self._views = {_fingerprint(view.rgb): view for view in views}

    def maps(
        self, views: Iterable[Picture], *, batch_size: int = 4, device: str | torch.device | None = None
    ) -> Iterator[FeatureMap]:
        """Yield one map of 4 channels per picture. `batch_size` is there to be like an extractor.

        Raises:
            EquiviewError: A picture that is none of the views', for instance a resized one.
        """
        for number, picture in enumerate(views):
            view = self._views.get(_fingerprint(picture_rgb(picture)))
            if view is None:
                fix = "The oracle knows rendered pictures as they are, not resized, cropped or mirrored."
                raise bad_input(f"picture {number}", f"one of {len(self._views)} known views", "another", fix)
            yield from self._oracle.maps([view], device=device)

    def describe(self) -> FeaturesRecord:
        return self._oracle.describe()


class NoiseExtractor:
    """Random features: what is scored with them is chance.

    Args:
        dim: Channels.
        seed: Of the noise. Each picture draws its own from the seed and its content (a view's from its camera too),
            so that the same picture gives the same map, in any order and batch, and no two pictures share one.
        stride_px: Distance of tokens in image pixels.
    """

    def __init__(self, dim: int = 64, seed: int = 0, stride_px: float = 16) -> None:
        self.dim = dim
        self.seed = seed
        self.stride_px = stride_px

    def maps(
        self, views: Iterable[Picture], *, batch_size: int = 4, device: str | torch.device | None = None
    ) -> Iterator[FeatureMap]:
        """Yield one map of independent normal values per picture. `batch_size` is there to be like an extractor."""
        for view in views:
            rgb = picture_rgb(view)
            grid, _ = _grid(rgb.shape[:2], self.stride_px)
            generator = np.random.default_rng([self.seed, _fingerprint(view)])
            tokens = torch.from_numpy(generator.standard_normal((self.dim, *grid), dtype=np.float32))
            yield _feature_map(tokens, self.stride_px, rgb.shape[:2], device)

    def describe(self) -> FeaturesRecord:
        return {"backbone": "noise", "dim": self.dim, "seed": self.seed, "stride": self.stride_px, "head": []}


def _fingerprint(view: Picture) -> int:
    digest = hashlib.sha256(np.ascontiguousarray(picture_rgb(view)).data)
    if isinstance(view, View):
        digest.update(np.ascontiguousarray(view.camera.cam_from_world, dtype=np.float64).data)
    return int.from_bytes(digest.digest()[:8], "little")


def _grid(image_hw: tuple[int, int], stride: float) -> tuple[tuple[int, int], Float[torch.Tensor, "n 2"]]:
    """Return token rows and columns, and every centre in coordinates of the pixel grid (0 is the first pixel)."""
    rows, cols = (max(1, int(side // stride)) for side in image_hw)
    ys, xs = torch.meshgrid(torch.arange(rows).double(), torch.arange(cols).double(), indexing="ij")
    centres = (torch.stack([xs, ys], -1).reshape(-1, 2) + 0.5) * stride
    return (rows, cols), centres - 0.5


def _feature_map(
    tokens: torch.Tensor, stride: float, image_hw: tuple[int, int], device: str | torch.device | None
) -> FeatureMap:
    tokens = tokens if device is None else tokens.to(device)
    return FeatureMap(tokens, (float(stride),) * 2, (stride / 2,) * 2, image_hw)
