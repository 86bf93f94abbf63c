"""A capture where rendered views would stand: its pictures as `View`s, the object centred, its longest side 1.

Where the sensor gave depth, every view holds the 3D point of every pixel, as a rendered one does. Where there are
sparse tracks only, the maps of a view hold nothing and the truth is in `CaptureViews.tracks` (see `correspond`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from jaxtyping import Bool, Float

from ...cache import Cache
from ...errors import bad_input
from ...geometry import angle_between_deg, pixel_centers, project, transform, unproject
from ...io import posed_pixels
from ...render.store import SHARED_CACHE
from ...types import Camera, Capture, PosedImage, SparseTracks, View
from .checks import select

# An observation farther from its point's projection than this share of the picture's longer side is no truth: 3 px of
# 1024, a tenth of what PCDP@0.05 allows a prediction.
MAX_REPROJECTION = 0.003
# The object is where all but this share of the points is, on each side of each axis: strays do not set the scale.
TRIM = 0.02
# Depth pixels seen more steeply than this lie on an edge between two surfaces, or nowhere.
MAX_SLANT_DEG = 80.0
SAMPLED_PIXELS = 2_000


class CaptureViews(Sequence[View]):
    """The pictures of a capture as views, read when asked for; the most recent ones are kept.

    Args:
        capture: With depth or with tracks.
        cache: Where read views are kept.

    Attributes:
        name: Of the capture.
        cameras: One a view, in the normalised world.
        tracks: The sparse truth in the normalised world; None where views hold points of their own.
        size: Longest side of the object in units of the capture.

    Raises:
        EquiviewError: Fewer than two pictures, or neither depth nor tracks.
    """

    def __init__(self, capture: Capture, cache: Cache[View] = SHARED_CACHE) -> None:
        dense = all(image.depth is not None for image in capture.images)
        if len(capture.images) < 2:
            fix = "Take more pictures, from around the object."
            raise bad_input(f"capture {capture.name!r}", "two pictures or more", str(len(capture.images)), fix)
        if not dense and capture.tracks is None:
            fix = "Triangulate them: equiview capture FOLDER --out CAPTURE."
            raise bad_input(f"capture {capture.name!r}", "depth or sparse points", "poses only", fix)
        center, self.size = object_frame(capture)
        self.name = capture.name
        self._dense = dense
        self._cache = cache
        # Pictures are normalised when they are asked for: their depth and masks are not all held at once.
        self._images = capture.images
        self._center = center
        self.cameras = tuple(_normalised_camera(image.camera, center, self.size) for image in capture.images)
        self.tracks: SparseTracks | None = None
        if not dense and capture.tracks is not None:
            tracks = replace(capture.tracks, points_in_world=(capture.tracks.points_in_world - center) / self.size)
            self.tracks = consistent(tracks, self.cameras, (image.mask for image in capture.images))
        self._cache_key = cache.register(self)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> list[View]: ...
    def __getitem__(self, index: int | slice) -> View | list[View]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"view {index} of {len(self)}")
        index %= len(self)
        make = depth_view if self._dense else bare_view
        return self._cache.get((self._cache_key, index), lambda: make(self._normalised(index)))

    def _normalised(self, index: int) -> PosedImage:
        image = self._images[index]
        depth = None if image.depth is None else image.depth / self.size
        return replace(image, camera=self.cameras[index], depth=depth)


def object_frame(capture: Capture) -> tuple[Float[np.ndarray, "3"], float]:
    """Return the centre and the longest side of what a capture shows: its box, or where most of its points are.

    Raises:
        EquiviewError: It has no points.
    """
    if capture.box is not None:
        low, high = np.asarray(capture.box, float)
    else:
        points = capture.tracks.points_in_world if capture.tracks is not None else _depth_points(capture)
        points = points[np.isfinite(points).all(-1)]
        if len(points) == 0:
            fix = "Check depth and masks, or triangulate the capture again."
            raise bad_input(f"capture {capture.name!r}", "3D points", "none", fix)
        low, high = np.quantile(points, [TRIM, 1 - TRIM], axis=0)
    return (low + high) / 2, float(max((high - low).max(), 1e-9))


def _depth_points(capture: Capture) -> Float[np.ndarray, "n 3"]:
    parts = []
    for number, image in enumerate(capture.images):
        rows, cols = np.nonzero(_measured(image))
        keep = np.random.default_rng(number).permutation(len(rows))[:SAMPLED_PIXELS]
        assert image.depth is not None
        at = np.stack([cols[keep], rows[keep]], -1) + 0.5
        parts.append(unproject(image.camera, at, image.depth[rows[keep], cols[keep]].astype(np.float64)))
    return np.concatenate(parts)


def _measured(image: PosedImage) -> Bool[np.ndarray, "h w"]:
    assert image.depth is not None
    with np.errstate(invalid="ignore"):
        there = np.isfinite(image.depth) & (image.depth > 0)
    return there if image.mask is None else there & image.mask


def _normalised_camera(camera: Camera, center: Float[np.ndarray, "3"], size: float) -> Camera:
    """Describe a camera in the world whose origin is the object's centre and whose unit is its size."""
    cam_from_world = camera.cam_from_world.copy()
    cam_from_world[:3, 3] = transform(camera.cam_from_world, center) / size
    return Camera(camera.intrinsics, cam_from_world, camera.hw)


def consistent(
    tracks: SparseTracks, cameras: Sequence[Camera], masks: Iterable[Bool[np.ndarray, "h w"] | None]
) -> SparseTracks:
    """Drop observations that contradict their point, and points that fewer than two pictures are left to see.

    The checks of a correspondence from sparse points: the point lies in front of the camera and inside the picture,
    on the mask where there is one, and projects to where it was seen (so that going from one picture to the other and
    back returns to the start).
    """
    keep = np.zeros(len(tracks.xy), bool)
    for number, (camera, mask) in enumerate(zip(cameras, masks, strict=True)):
        own = np.nonzero(tracks.image == number)[0]
        xy = tracks.xy[own]
        h, w = camera.hw
        projected, depth = project(camera, tracks.points_in_world[tracks.point[own]])
        with np.errstate(invalid="ignore"):
            near = np.linalg.norm(projected - xy, axis=-1) <= MAX_REPROJECTION * max(h, w)
            fine = near & (depth > 0) & (xy >= 0).all(-1) & (xy < (w, h)).all(-1)
        if mask is not None:
            cols, rows = np.clip(np.nan_to_num(xy).astype(int), 0, (w - 1, h - 1)).T
            fine &= mask[rows, cols]
        keep[own] = fine
    keep &= np.bincount(tracks.point[keep], minlength=len(tracks.points_in_world))[tracks.point] >= 2
    return SparseTracks(tracks.points_in_world, tracks.image[keep], tracks.point[keep], tracks.xy[keep])


def bare_view(image: PosedImage) -> View:
    """Return a picture as a view whose surface is unknown: its maps hold nothing, and take no memory."""
    h, w = image.camera.hw
    nothing = np.broadcast_to(np.float32(np.nan), (h, w, 3))
    mask = np.ones((h, w), bool) if image.mask is None else image.mask
    return View(
        posed_pixels(image), mask, nothing, nothing, np.broadcast_to(np.int32(-1), (h, w)), image.camera, image.name
    )


def depth_view(image: PosedImage) -> View:
    """Return a picture with depth as a view: points unprojected, normals from neighbouring points.

    Pixels whose neighbours lie on another surface get no normal and leave the mask.
    """
    assert image.depth is not None
    measured = _measured(image)
    depth = np.where(measured, image.depth, np.nan).astype(np.float64)
    points = unproject(image.camera, pixel_centers(image.camera.hw), depth)
    normals = _normals(points, image.camera)
    mask = np.isfinite(normals).all(-1)
    empty = np.where(mask[..., None], 1.0, np.nan)
    return View(
        posed_pixels(image),
        mask,
        (points * empty).astype(np.float32),
        (normals * empty).astype(np.float32),
        np.where(mask, 0, -1).astype(np.int32),
        image.camera,
        image.name,
    )


def _normals(points: Float[np.ndarray, "h w 3"], camera: Camera) -> Float[np.ndarray, "h w 3"]:
    """Return unit normals towards the camera from central differences; NaN at borders, holes and steep places."""
    normals = np.full_like(points, np.nan)
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    cross = np.cross(down, right)
    with np.errstate(invalid="ignore", divide="ignore"):
        cross /= np.linalg.norm(cross, axis=-1, keepdims=True)
        to_camera = camera.center_in_world - points[1:-1, 1:-1]
        cross *= np.sign((cross * to_camera).sum(-1, keepdims=True))
        cross[~(angle_between_deg(cross, to_camera) < MAX_SLANT_DEG)] = np.nan
    normals[1:-1, 1:-1] = cross
    return normals


def spread(capture: Capture, n: int) -> Capture:
    """Return a capture of `n` of its pictures, evenly spaced in their order (all, if there are no more)."""
    if n >= len(capture.images):
        return capture
    return select(capture, np.unique(np.linspace(0, len(capture.images) - 1, n).round().astype(int)).tolist())
