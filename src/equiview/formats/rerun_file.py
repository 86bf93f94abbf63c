"""Captures and located queries as a recording of rerun (extra `rerun`): cameras, pictures and points in 3D.

Rerun's cameras look along +z with y down, and its pixels have the corner as origin: ours as they are. Source: rerun.io,
"Pinhole" and "Transform3D".
"""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import bad_input
from ..geometry import project
from ..io import atomic_path, posed_pixels
from ..records import PoseRow
from ..types import Camera, Capture, PosedImage, PoseScene

if TYPE_CHECKING:
    from collections.abc import Iterator

JPEG_QUALITY = 75
FOUND_RGB, TRUE_RGB = (255, 140, 0), (0, 160, 80)


def import_rerun() -> ModuleType:
    """Return rerun.

    Raises:
        EquiviewError: It is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise bad_input("--rerun", "rerun-sdk", "none", "pip install 'equiview[rerun]'.") from error
    return rerun


def write_capture(path: Path, capture: Capture) -> None:
    """Write a capture: every camera with its picture and the pixels at which points were seen, and the points.

    Raises:
        EquiviewError: rerun is not installed, or a picture cannot be read.
    """
    rerun, tracks = import_rerun(), capture.tracks
    with _recording(path) as recording:
        if tracks is not None:
            recording.log("world/points", rerun.Points3D(tracks.points_in_world), static=True)
        for number, image in enumerate(capture.images):
            name = f"world/cameras/{_entity(image.name or str(number))}"
            _log_camera(recording, name, image)
            if tracks is not None:
                seen = tracks.image == number
                labels = tracks.point[seen].astype(np.uint16)
                # The same point has the same colour in every picture that saw it: that is the match.
                recording.log(f"{name}/seen", rerun.Points2D(tracks.xy[seen], class_ids=labels), static=True)


def write_poses(path: Path, scenes: Sequence[PoseScene], rows: Sequence[PoseRow]) -> None:
    """Write what a run of `pose` found: references, and of each query the true camera and the one that was found.

    In each query's picture the object's points lie where the found pose puts them.

    Raises:
        EquiviewError: rerun is not installed, or a picture cannot be read.
    """
    rerun = import_rerun()
    found = {(row["object"], row["query"]): row for row in rows}
    with _recording(path) as recording:
        for number, scene in enumerate(scenes):
            root = f"world/{number}_{_entity(scene.name)}"
            if scene.model_points is not None:
                recording.log(f"{root}/points", rerun.Points3D(scene.model_points), static=True)
            for image in scene.references:
                _log_camera(recording, f"{root}/references/{_entity(image.name)}", image)
            for query in scene.queries:
                row = found.get((scene.name, query.name))
                if isinstance(query, PosedImage) and row is not None:
                    _log_query(recording, f"{root}/queries/{_entity(query.name)}", query, row, scene.model_points)


def _log_query(recording: Any, name: str, query: PosedImage, row: PoseRow, points: np.ndarray | None) -> None:
    rerun = import_rerun()
    recording.log(f"{name}/true", *_pinhole(query.camera, TRUE_RGB), static=True)
    if "cam_from_world" not in row:
        recording.log(name, rerun.TextDocument(row.get("failed", "not found")), static=True)
        return
    camera = Camera(query.camera.intrinsics, np.asarray(row["cam_from_world"]), query.camera.hw)
    _log_camera(recording, f"{name}/found", PosedImage(query.image, camera, query.name), FOUND_RGB)
    if points is not None:
        recording.log(f"{name}/found/points", rerun.Points2D(project(camera, points)[0]), static=True)


def _log_camera(recording: Any, name: str, image: PosedImage, rgb: tuple[int, int, int] | None = None) -> None:
    rerun = import_rerun()
    recording.log(name, *_pinhole(image.camera, rgb), static=True)
    recording.log(name, rerun.Image(posed_pixels(image)).compress(jpeg_quality=JPEG_QUALITY), static=True)


def _pinhole(camera: Camera, rgb: tuple[int, int, int] | None) -> tuple[Any, Any]:
    rerun, world_from_cam = import_rerun(), np.linalg.inv(camera.cam_from_world)
    pose = rerun.Transform3D(translation=world_from_cam[:3, 3], mat3x3=world_from_cam[:3, :3])
    size = [camera.hw[1], camera.hw[0]]
    return pose, rerun.Pinhole(image_from_camera=camera.intrinsics, resolution=size, color=rgb)


@contextmanager
def _recording(path: Path) -> "Iterator[Any]":
    """Give a recording that is written to a file, whole or not at all."""
    rerun = import_rerun()
    with atomic_path(path) as temporary:
        recording = rerun.RecordingStream("equiview")
        recording.save(str(temporary))
        recording.log("world", rerun.ViewCoordinates.RIGHT_HAND_Y_DOWN, static=True)
        yield recording
        recording.flush()
        recording.disconnect()


def _entity(name: str) -> str:
    """Return a name as one part of rerun's path."""
    return name.replace("/", "_").replace(" ", "_")
