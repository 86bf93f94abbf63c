"""The data items that flow through equiview: small, frozen, and carrying their own geometry.

Pixels are `xy`, origin at the image corner, first pixel centre at (0.5, 0.5). Cameras have OpenCV axes
(x right, y down, z forward). Transforms are `b_from_a`, points are `x_in_a`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from .errors import bad_input
from .limits import MAX_VALUE

if TYPE_CHECKING:  # Only named here, so that what handles files and numbers alone loads without it.
    import torch


SMALLEST_FOCAL_PX = 1e-6
"""No camera comes near; with less, rays overflow."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        intrinsics: 3x3 matrix in pixels, corner origin.
        cam_from_world: 4x4 rigid transform, world (object) coordinates to camera coordinates.
        hw: Image height and width in pixels.

    Raises:
        EquiviewError: A value is not finite, or the rotation is not a rotation.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    cam_from_world: Float[np.ndarray, "4 4"]
    hw: tuple[int, int]

    def __post_init__(self) -> None:
        for name, shape in (("intrinsics", (3, 3)), ("cam_from_world", (4, 4))):
            value = getattr(self, name)
            usable = np.abs(value) <= MAX_VALUE  # False for NaN.
            if value.shape != shape or not usable.all():
                raise bad_input(
                    f"camera {name}",
                    f"a finite {shape[0]}x{shape[1]} matrix",
                    f"shape {value.shape} with {int((~usable).sum())} values that are not finite or far too large",
                    "Check the pose this camera was made from.",
                )
        if min(np.diag(self.intrinsics)) < SMALLEST_FOCAL_PX:
            found = f"{self.intrinsics[0, 0]:g} and {self.intrinsics[1, 1]:g}"
            raise bad_input("camera intrinsics", "positive focal lengths", found, "Check the calibration.")
        rotation = self.cam_from_world[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
            raise bad_input(
                "camera cam_from_world",
                "a rotation (orthonormal, determinant +1)",
                f"determinant {np.linalg.det(rotation):.3g}",
                "Convert the pose to OpenCV axes, rotation without scale.",
            )

    @property
    def center_in_world(self) -> Float[np.ndarray, "3"]:
        rotation, translation = self.cam_from_world[:3, :3], self.cam_from_world[:3, 3]
        return -rotation.T @ translation


@dataclass(frozen=True)
class View:
    """One picture of an object with the exact 3D point behind every pixel centre.

    Attributes:
        rgb: Colours, 0 to 255.
        mask: True where the object is.
        points_in_world: 3D point at the pixel centre, object units; NaN outside the mask.
        normals_in_world: Unit surface normal turned towards this camera; NaN outside the mask.
        triangle_id: Index of the mesh triangle, -1 outside the mask.
        camera: The camera.
        name: For messages and file names.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    points_in_world: Float[np.ndarray, "h w 3"]
    normals_in_world: Float[np.ndarray, "h w 3"]
    triangle_id: Int[np.ndarray, "h w"]
    camera: Camera
    name: str = ""

    def __post_init__(self) -> None:
        h, w = self.camera.hw
        for name in ("rgb", "mask", "points_in_world", "normals_in_world", "triangle_id"):
            if getattr(self, name).shape[:2] != (h, w):
                raise bad_input(
                    f"view {self.name!r} {name}",
                    f"{h}x{w} pixels as the camera says",
                    "x".join(map(str, getattr(self, name).shape[:2])),
                    "Give every map of a view the size of its image.",
                )


@dataclass(frozen=True)
class Correspondences:
    """Truth: where surface points sampled in view 0 lie in view 1, visible ones only.

    Attributes:
        xy0: Pixels in view 0.
        xy1: Pixels in view 1, sub-pixel.
        points_in_world: The 3D points.
        index: Which of view 0's sampled points these are (into the sample, 0-based).
        overlap: Share (0-1) of view 0's sampled points that are visible in view 1.
        angle_deg: Angle between the viewing directions (camera to object centre), degrees.
    """

    xy0: Float[np.ndarray, "n 2"]
    xy1: Float[np.ndarray, "n 2"]
    points_in_world: Float[np.ndarray, "n 3"]
    index: Int[np.ndarray, "n"]
    overlap: float
    angle_deg: float

    def __len__(self) -> int:
        return len(self.xy0)


@dataclass(frozen=True)
class FeatureMap:
    """Tokens and the pixels they describe.

    Attributes:
        tokens: Channels first, one vector per token.
        stride_xy: Distance between neighbouring token centres, in pixels of the image.
        offset_xy: Centre of token (0, 0), in pixels of the image.
        image_hw: Size of the image these pixels belong to.
    """

    tokens: Float[torch.Tensor, "c h w"]
    stride_xy: tuple[float, float]
    offset_xy: tuple[float, float]
    image_hw: tuple[int, int]

    @property
    def hw(self) -> tuple[int, int]:
        """Number of token rows and columns."""
        return int(self.tokens.shape[1]), int(self.tokens.shape[2])

    def replace_tokens(self, tokens: Float[torch.Tensor, "c2 h w"]) -> FeatureMap:
        """Return the same geometry with other tokens (of the same grid)."""
        if tokens.shape[1:] != self.tokens.shape[1:]:
            raise ValueError(f"grid changed from {tuple(self.tokens.shape[1:])} to {tuple(tokens.shape[1:])}")
        return FeatureMap(tokens, self.stride_xy, self.offset_xy, self.image_hw)


@dataclass(frozen=True)
class Matches:
    """Prediction: for each query point, the best place in the target image.

    Attributes:
        xy1: Predicted pixel in the target image.
        score: Cosine similarity at the winning token (-1 to 1).
    """

    xy1: Float[torch.Tensor, "n 2"]
    score: Float[torch.Tensor, "n"]


class LazyImage(Protocol):
    """A picture that is made when it is asked for, such as a photograph whose lens distortion is undone on reading."""

    def read(self) -> UInt8[np.ndarray, "h w 3"]: ...


# A picture in memory, the file to read when it is needed, or what makes it.
ImageSource = Path | UInt8[np.ndarray, "h w 3"] | LazyImage


@dataclass(frozen=True)
class KeypointPair:
    """Truth of semantic transfer: key points that mean the same in two pictures.

    Attributes:
        name: For rows and messages; unique in its set.
        category: Class of the objects.
        image0: The source picture.
        image1: The target picture.
        xy0: Key points in the source, pixels.
        xy1: The same key points in the target, pixels.
        visible: True where a key point can be seen (and is annotated) in both; the others are not scored.
        box1_wh: Width and height of the target's bounding box in pixels, where the data set has one.
    """

    name: str
    category: str
    image0: ImageSource
    image1: ImageSource
    xy0: Float[np.ndarray, "n 2"]
    xy1: Float[np.ndarray, "n 2"]
    visible: Bool[np.ndarray, "n"]
    box1_wh: tuple[float, float] | None = None


@dataclass(frozen=True)
class Clip:
    """A video with true tracks.

    Attributes:
        name: For rows and messages.
        frames: 8-bit RGB pictures of one size, read when indexed: a long video is never in memory as a whole.
        hw: Height and width of a frame in pixels.
        xy: Where each point is in each frame, pixels; NaN where unknown.
        visible: True where a point can be seen.
        known: True where a point is annotated; only those are scored.
    """

    name: str
    frames: Sequence[UInt8[np.ndarray, "h w 3"]]
    hw: tuple[int, int]
    xy: Float[np.ndarray, "n t 2"]
    visible: Bool[np.ndarray, "n t"]
    known: Bool[np.ndarray, "n t"]


@dataclass(frozen=True)
class PosedImage:
    """A photograph whose camera is known.

    Attributes:
        image: The picture.
        camera: Intrinsics and cam_from_world, world being the object; pixels of the picture.
        name: For rows and messages.
        mask: True where the object is; None where unknown.
        depth: Distance along the camera's z axis, object units, 0 or NaN where unknown; None where there is none.
    """

    image: ImageSource
    camera: Camera
    name: str = ""
    mask: Bool[np.ndarray, "h w"] | None = None
    depth: Float[np.ndarray, "h w"] | None = None


@dataclass(frozen=True)
class UnusableQuery:
    """A query that a data set lists and that cannot be located: it counts as failed.

    Attributes:
        name: For rows.
        reason: Such as no camera, half a pose, no picture, or nothing to be seen of the object.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class PoseScene:
    """One object for one-shot pose: references make the template, queries are located against it.

    Attributes:
        name: For rows and messages.
        references: Pictures with known cameras.
        queries: Pictures whose cameras are the truth, and those that cannot be used, which fail with their reason.
        model_points: Surface points in world for ADD and the BOP errors; None where there is no model.
        world_unit_cm: Centimetres of one world unit; None where the scale is unknown.
    """

    name: str
    references: Sequence[PosedImage]
    queries: Sequence[PosedImage | UnusableQuery]
    model_points: Float[np.ndarray, "m 3"] | None = None
    world_unit_cm: float | None = None


@dataclass(frozen=True)
class ViewPairs:
    """Views of one object or scene, of which pairs are matched.

    Attributes:
        name: For rows and messages.
        views: Read or rendered when asked for; those of a capture with sparse points are `CaptureViews`.
        cam_from_world: Pose of each view, 4x4, known without reading it.
        pairs: Numbers of the views that are compared; None where the protocol draws them.
        unit_cm: Centimetres of one world unit.
        every: Of drawn pairs, every n-th view is a source.
    """

    name: str
    views: Sequence[View]
    cam_from_world: Sequence[Float[np.ndarray, "4 4"]]
    pairs: Sequence[tuple[int, int]] | None = None
    unit_cm: float = 100.0
    every: int = 1


@dataclass(frozen=True)
class SparseTracks:
    """Sparse truth of a capture: 3D points, and the pixels at which they were seen.

    Attributes:
        points_in_world: The points.
        image: Which image of the capture each observation is in (0-based).
        point: Which point it shows.
        xy: Where, in pixels of that image (corner origin, without lens distortion).
    """

    points_in_world: Float[np.ndarray, "m 3"]
    image: Int[np.ndarray, "k"]
    point: Int[np.ndarray, "k"]
    xy: Float[np.ndarray, "k 2"]


@dataclass(frozen=True)
class Capture:
    """Photographs of one real scene or object with known pinhole cameras.

    Attributes:
        name: For rows and messages.
        images: Pictures with cameras, in the order of the capture; lens distortion is undone when one is read. They may
            differ in size, may have masks, and have depth where the sensor gave it.
        tracks: Sparse points with the images that saw them; None where there are none.
        box: Lowest and highest corner of the object in world; None where unknown.
        notes: What a user should know, such as images that are listed and missing.
    """

    name: str
    images: Sequence[PosedImage]
    tracks: SparseTracks | None = None
    box: Float[np.ndarray, "2 3"] | None = None
    notes: tuple[str, ...] = ()
