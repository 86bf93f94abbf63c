"""The pictures of a capture: found and checked when it is opened, read when they are asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Bool, Float

from ... import pictures
from ...cache import Cache
from ...errors import bad_input
from ...io import require_file
from ...types import Camera, PosedImage
from .registration import DepthCamera, registered
from .undistortion import UndistortedImage, Undistortion, nearest

_KEPT_BYTES = 512 * 2**20
_UNKNOWN_DEPTH = 65535  # The largest 16-bit value is "no measurement" (7-Scenes) or the far end of a clipped range.


@dataclass(frozen=True)
class Photograph:
    """A picture of a capture before it is read.

    Attributes:
        path: The file.
        undistortion: From the file to the pinhole picture.
        cam_from_world: 4x4 rigid transform.
        name: For rows and messages.
        mask: A picture of the same size that is bright where the object is; its own path: its alpha channel.
        depth: A 16-bit picture or .npy of the same size, along the camera's z axis.
        depth_unit: World units of one step of `depth`.
        depth_camera: What measured depth, where that is not the colour camera; `depth` then has a size of its own.
        half_depth: The 16 bits of `depth` are a half-precision number (CO3D).
    """

    path: Path
    undistortion: Undistortion
    cam_from_world: Float[np.ndarray, "4 4"]
    name: str
    mask: Path | None = None
    depth: Path | None = None
    depth_unit: float = 1.0
    depth_camera: DepthCamera | None = None
    half_depth: bool = False

    def posed(self) -> PosedImage:
        """Return the posed image; mask and depth are read now, the picture when it is asked for."""
        undo = self.undistortion
        image = self.path if undo.changes_nothing else UndistortedImage(self.path, undo)
        mask = None if self.mask is None else nearest(undo, read_mask(self.mask))
        depth = None if self.depth is None else read_depth(self.depth, self.depth_unit, half=self.half_depth)
        if depth is not None:
            own = self.depth_camera
            depth = nearest(undo, depth) if own is None else registered(depth, own, undo)
        return PosedImage(image, Camera(undo.intrinsics, self.cam_from_world, undo.hw), self.name, mask, depth)


class Photographs(Sequence[PosedImage]):
    """The images of a capture; masks and depth are read when an image is first asked for.

    At most 512 MiB of them are kept, so that a long capture opens at once and is never in memory as a whole. A slice is
    a sequence of the same kind.

    Args:
        photographs: What is known of each.
    """

    def __init__(self, photographs: Iterable[Photograph]) -> None:
        self.photographs = tuple(photographs)
        self._kept: Cache[PosedImage] = Cache(_KEPT_BYTES)

    def __len__(self) -> int:
        return len(self.photographs)

    def only(self, kept: Iterable[int]) -> "Photographs":
        """Return some of them, in the order given."""
        return Photographs(self.photographs[one] for one in kept)

    @overload
    def __getitem__(self, index: int) -> PosedImage: ...
    @overload
    def __getitem__(self, index: slice) -> "Photographs": ...
    def __getitem__(self, index: int | slice) -> "PosedImage | Photographs":
        if isinstance(index, slice):
            return Photographs(self.photographs[index])
        index = range(len(self))[index]
        return self._kept.get(index, self.photographs[index].posed)


def read_raster(path: Path) -> np.ndarray:
    """Return the values of a one-channel picture (mask, 16-bit depth), or of a .npy file.

    Raises:
        EquiviewError: The file is missing or broken.
    """
    require_file(path, "a mask or depth file")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise bad_input(str(path), "an array that opens", str(error), "Fetch or write it again.") from error
    with pictures.opened(path, str(path), "Fetch or write it again.") as image:
        return pictures.values(image)


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Return True where a mask is over half of its largest value (so 1, 255 and JPEG all work).

    With an alpha channel, that is the mask.
    """
    values = read_raster(path)
    if values.ndim == 3:
        values = values[..., -1] if values.shape[2] in (2, 4) else values.max(-1)
    return values > values.max() / 2


def read_depth(path: Path, unit: float, *, half: bool = False) -> Float[np.ndarray, "h w"]:
    """Return depth in world units, 0 where it is unknown (0, 65535 or not finite in the file).

    Args:
        path: A 16-bit picture, or .npy.
        unit: World units of one step.
        half: The bits of the picture are half-precision numbers.

    Raises:
        EquiviewError: It has several channels.
    """
    values = read_raster(path)
    if values.ndim != 2:
        raise bad_input(str(path), "depth with one channel", f"shape {values.shape}", "Write it as 16-bit PNG.")
    if half:
        values = values.astype(np.uint16).view(np.float16)
    unknown = ~np.isfinite(values) | (values >= _UNKNOWN_DEPTH if values.dtype.kind in "iu" else values <= 0)
    return np.where(unknown, 0, values).astype(np.float32) * np.float32(unit)
