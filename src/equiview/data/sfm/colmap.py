"""pycolmap (extra `colmap`): found when it is needed, quiet, and stopped by Ctrl-C.

COLMAP's work runs in a thread of its own while this one waits, because a C++ call would hold Ctrl-C back until it ends.
On Ctrl-C the work is told to stop; it does so between two pictures, a few pairs, or two registrations (seconds; within
a bundle adjustment when that ends), and what it had written to its database stays.

Nothing may look into that database with Python's own sqlite3 meanwhile: two SQLite libraries in one process break each
other's locks. Progress therefore comes from handing COLMAP its work in portions.
"""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from ...errors import EquiviewError, bad_input
from ...types import Camera

T = TypeVar("T")
_POLL_S = 0.1
# What SQLite and the C++ library say of a write that fails.
_NO_ROOM = re.compile(r"disk is full|disk I/O error|No space left|File too large", re.IGNORECASE)
_ROOM = "Make room and run again: the capture goes on where it stopped."


def import_pycolmap() -> ModuleType:
    """Return pycolmap.

    Raises:
        EquiviewError: It is not installed.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise EquiviewError(
            "Poses and points from pictures need pycolmap: pip install 'equiview[colmap]'. "
            "A capture that has been made is read without it."
        ) from error
    if threading.current_thread() is threading.main_thread():
        # Its logging library prints a C++ stack on SIGTERM; what was there before is put back.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
    return pycolmap


@contextmanager
def quiet(pycolmap: ModuleType) -> Iterator[None]:
    """Keep COLMAP's own log (hundreds of lines a run) off stderr; its errors arrive as exceptions all the same."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def interruptible(work: Callable[[Any], T], watch: Callable[[], None] = lambda: None) -> T:
    """Run COLMAP's work so that Ctrl-C stops it.

    Args:
        work: Gets the token to hand to pycolmap as `cancellation_token`.
        watch: Called about ten times a second while it works, to show progress.

    Raises:
        KeyboardInterrupt: After the work has stopped.
        EquiviewError: COLMAP failed, with its own words.
    """
    pycolmap = import_pycolmap()
    token = pycolmap.CancellationToken()
    with quiet(pycolmap), ThreadPoolExecutor(1, "colmap") as pool:
        future = pool.submit(work, token)
        try:
            while not wait([future], _POLL_S).done:
                watch()
        finally:
            # Leaving the block waits for the thread; after Ctrl-C it ends soon because of this.
            token.cancel()
    try:
        return future.result()
    except (RuntimeError, ValueError) as error:
        raise _in_words(error) from error


def _in_words(error: Exception) -> Exception:
    if isinstance(error, EquiviewError):
        return error
    said = str(error).strip().splitlines()
    found = said[-1] if said else type(error).__name__
    if _NO_ROOM.search(found):
        return EquiviewError(
            f"COLMAP: the disk is full, or the limit on the size of a file is reached ({found}). {_ROOM}"
        )
    return bad_input("COLMAP", "pictures it can work with", found, "Delete the work folder of the capture; run again.")


def colmap_camera(camera: Camera, camera_id: int) -> Any:
    """Return a camera of ours as COLMAP's PINHOLE (both count pixels from the image corner).

    Raises:
        EquiviewError: The intrinsics have skew, which PINHOLE lacks.
    """
    matrix = camera.intrinsics / camera.intrinsics[2, 2]
    if abs(matrix[0, 1]) > 1e-3 * matrix[0, 0]:
        fix = "Resample the pictures without skew."
        raise bad_input("camera intrinsics", "no skew (COLMAP's pinhole has none)", f"skew {matrix[0, 1]:.3g} px", fix)
    pycolmap = import_pycolmap()
    params = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
    height, width = camera.hw
    made = pycolmap.Camera(camera_id=camera_id, model="PINHOLE", width=width, height=height, params=params)
    made.has_prior_focal_length = True
    return made


def colmap_pose(camera: Camera) -> Any:
    """Return cam_from_world as COLMAP's rigid transform (the same axes as ours)."""
    pycolmap = import_pycolmap()
    return pycolmap.Rigid3d(pycolmap.Rotation3d(camera.cam_from_world[:3, :3]), camera.cam_from_world[:3, 3])


def our_pose(image: Any) -> np.ndarray:
    """Return the 4x4 cam_from_world of one of COLMAP's images."""
    cam_from_world = np.eye(4)
    cam_from_world[:3] = image.cam_from_world().matrix()
    return cam_from_world
