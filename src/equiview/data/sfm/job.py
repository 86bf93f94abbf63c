"""From pictures to a capture folder: the job behind `equiview capture`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ...errors import bad_input
from ...io import read_json, write_json
from ...records import CaptureRecord, Settings
from ...types import Capture
from .align import compare_cameras
from .colmap import import_pycolmap
from .matches import ColmapConfig, Progress, Workplace
from .photos import chosen_frames, masks_of, open_photos, write_masks, write_photos
from .reconstruct import reconstruct
from .statistics import CaptureStatistics, describe, model_arrays
from .triangulate import triangulate_known
from .verdict import judge
from .writing import (
    ABOUT,
    IMAGES,
    MASKS,
    SPARSE,
    WORK,
    claim_capture,
    files_fingerprint,
    posed_fingerprint,
    write_model,
    write_posed,
)

OpenPosed = Callable[[Path, int], Capture]


@dataclass(frozen=True)
class CaptureConfig:
    """How a capture is made.

    Attributes:
        max_frames: Of a video or a long folder so many pictures at most are used.
        long_side: Larger pictures are shrunk to this, pixels.
        camera: "single": one camera for all pictures of one size; "each": one for each picture.
        colmap: How COLMAP works.
    """

    max_frames: int = 80
    long_side: int = 1600
    camera: Literal["single", "each"] = "single"
    colmap: ColmapConfig = field(default_factory=ColmapConfig)


def capture_from_pictures(source: Path, out: Path, config: CaptureConfig, progress: Progress) -> CaptureRecord:
    """Recover cameras and points of photos or a video, and write a COLMAP folder.

    The same call goes on with an interrupted capture, and returns at once when it is finished.

    Args:
        source: Folder of photos, or a video file.
        out: Gets images/, masks/ (where the photos have them), sparse/0/, work/ and capture.json.
        config: How.
        progress: Called with (stage, done, total).

    Returns:
        The content of capture.json: source, settings, versions, statistics, verdict.

    Raises:
        EquiviewError: pycolmap is missing; nothing usable in `source`; something else in `out`.
    """
    import_pycolmap()
    photos = open_photos(source)
    files = [*photos.files, *(mask for mask in masks_of(photos) if mask is not None)]
    claim = _claim(source, files_fingerprint(files), config, "recovered")
    finished = claim_capture(out, claim)
    if finished is not None:
        return finished
    kept = out / WORK / "frames.json"
    if not kept.exists():
        write_json(kept, chosen_frames(photos, config.max_frames, progress))
    chosen = read_json(kept)
    sizes = write_photos(photos, chosen, out / IMAGES, config.long_side, progress)
    masked = write_masks(photos, chosen, out / MASKS, sizes)
    place = Workplace(out / WORK, out / IMAGES)
    recovered = reconstruct(place, sizes, config.colmap, progress, camera=config.camera, in_order=photos.in_order)
    found = None if recovered.model is None else model_arrays(recovered.model, list(sizes))
    about: CaptureRecord = {
        **claim,
        "frames_of_source": len(photos.frames),
        "registered_by_model": list(recovered.registered),
        "masks": masked,
    }
    statistics = describe(found, len(sizes), len(recovered.registered))
    return _finished(out, recovered.model, statistics, about)


def capture_with_poses(
    capture: Capture, source: Path, out: Path, config: CaptureConfig, progress: Progress
) -> CaptureRecord:
    """Find points for pictures whose cameras are known, and write a COLMAP folder; the cameras stay as they are.

    Args:
        capture: Pictures with cameras; lens distortion is undone in what is written.
        source: Where it came from.
        out: Gets images/, masks/ (when the capture has masks), sparse/0/, work/ and capture.json.
        config: How; `max_frames` and `camera` mean nothing here.
        progress: Called with (stage, done, total).

    Returns:
        The content of capture.json.

    Raises:
        EquiviewError: pycolmap is missing; a picture does not open; something else in `out`.
    """
    import_pycolmap()
    claim = _claim(source, posed_fingerprint(capture.images), config, "given")
    finished = claim_capture(out, claim)
    if finished is not None:
        return finished
    if len(capture.images) < 2:
        fix = "A single picture has no depth; give more."
        raise bad_input(str(source), "two pictures or more", str(len(capture.images)), fix)
    cameras, masked = write_posed(out, capture.images, config.long_side, progress)
    place = Workplace(out / WORK, out / IMAGES, out / MASKS if masked else None)
    model, fitting = triangulate_known(place, cameras, config.colmap, progress)
    found = None if model is None else model_arrays(model, list(cameras))
    about: CaptureRecord = {**claim, "notes": list(capture.notes), "masks": masked}
    statistics = describe(found, len(cameras), 1, fitting)
    return _finished(out, model, statistics, about)


def _claim(source: Path, files: str, config: CaptureConfig, poses: str) -> CaptureRecord:
    settings = asdict(config)
    # How many threads work changes nothing that is asked for.
    settings["colmap"].pop("threads")
    return {"source": str(source), "source_files": files, "poses": poses, "settings": settings}


def _finished(out: Path, model: Any, statistics: CaptureStatistics, about: CaptureRecord) -> CaptureRecord:
    verdict = judge(statistics, poses_given=about["poses"] == "given")
    content: CaptureRecord = {
        **about,
        "statistics": asdict(statistics),
        "verdict": asdict(verdict),
        "versions": _versions(),
    }
    if model is not None and verdict.grade != "failed":
        write_model(out, model)
    write_json(out / ABOUT, content)
    return cast(CaptureRecord, read_json(out / ABOUT))


def _versions() -> dict[str, str]:
    from ... import __version__

    pycolmap = import_pycolmap()
    return {"equiview": __version__, "pycolmap": pycolmap.__version__, "numpy": np.__version__}


def compare_with_given(out: Path, given: Capture) -> Settings:
    """Compare the recovered cameras of a finished capture folder with those its pictures came with.

    Args:
        out: Folder of `capture_from_pictures`.
        given: The same pictures with their cameras, matched by file name without suffix.

    Returns:
        See `CameraDifference`.

    Raises:
        EquiviewError: Fewer than three pictures in common, or nothing was recovered.
    """
    if not (out / SPARSE / "0").is_dir():
        raise bad_input(str(out), "recovered cameras in sparse/0", "none", "See the verdict in its capture.json.")
    model = import_pycolmap().Reconstruction(out / SPARSE / "0")
    found = model_arrays(model, [image.name for image in model.images.values()])
    poses = {Path(image.name).stem: image.camera.cam_from_world for image in given.images}
    return compare_cameras(*_in_common(found.names, found.cam_from_world, poses)).as_json()


def _in_common(names: Sequence[str], found: np.ndarray, poses: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    both = [(number, Path(name).stem) for number, name in enumerate(names) if Path(name).stem in poses]
    if not both:
        raise bad_input("cameras to compare", "pictures of the same names", "none in common", "Give the same folder.")
    return np.stack([poses[stem] for _, stem in both]), np.stack([found[number] for number, _ in both])
