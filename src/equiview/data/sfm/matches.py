"""Features and matches of a folder of pictures in a COLMAP database, each finished stage recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...io import read_json, require_space, write_json
from .colmap import import_pycolmap, interruptible

Progress = Callable[[str, int, int], None]
# COLMAP gets its work in portions, after each of which progress is shown; within a portion it can stop between blocks.
_PORTION, _PAIRS_PORTION, _PAIRS_BLOCK = 8, 40, 4


@dataclass(frozen=True)
class ColmapConfig:
    """How COLMAP works.

    Attributes:
        seed: Of its random choices (which repeat on one thread; on several they may not).
        threads: CPU threads, -1 for all.
        max_features: SIFT features of one picture at most.
        max_exhaustive: Up to so many pictures every pair is matched; beyond, neighbours only.
        overlap: How many following pictures each is matched with when they are neighbours in time.
        max_error_px: Observations that reproject further away are dropped.
        min_angle_deg: Points whose rays differ by less are dropped.
    """

    seed: int = 0
    threads: int = -1
    max_features: int = 8192
    max_exhaustive: int = 80
    overlap: int = 10
    max_error_px: float = 2.0
    min_angle_deg: float = 1.5


@dataclass(frozen=True)
class Workplace:
    """A folder in which COLMAP works and which an interrupted run finds again.

    Attributes:
        folder: Holds the database, the models and the record of finished stages.
        images: The pictures.
        masks: Folder with NAME.png for each picture, features only where it is not black; None without.
    """

    folder: Path
    images: Path
    masks: Path | None = None
    stages: str = field(default="stages.json", repr=False)

    @property
    def database(self) -> Path:
        return self.folder / "database.db"

    def finished(self, stage: str) -> bool:
        """Say whether a stage was recorded as finished."""
        path = self.folder / self.stages
        return path.exists() and stage in read_json(path)

    def finish(self, stage: str) -> None:
        """Record that a stage is finished."""
        path = self.folder / self.stages
        if not self.finished(stage):
            write_json(path, [*(read_json(path) if path.exists() else []), stage])


def extract(
    place: Workplace, groups: Sequence[Sequence[str]], config: ColmapConfig, model: str, progress: Progress
) -> None:
    """Find SIFT features of every picture; those an interrupted run had found are kept.

    Args:
        place: Where.
        groups: Names of the pictures, those of one camera together.
        config: How.
        model: COLMAP's camera model.
        progress: Called with ("features", done, total).
    """
    total, done = sum(map(len, groups)), 0
    # A camera for each picture is one group, for COLMAP then works on several pictures at a time.
    each = len(groups) == total
    if each:
        groups = [[name for group in groups for name in group]]
    place.folder.mkdir(parents=True, exist_ok=True)
    for group in groups:
        for start in range(0, len(group), _PORTION):
            if not place.finished("features"):
                names = group[start : start + _PORTION]
                # Also of the first portion: an interrupted run may have begun it.
                require_space(place.database, len(names) * config.max_features * _FEATURE_BYTES + _SQLITE_BYTES)
                camera_id = None if each else _camera_of(place, group[0])
                interruptible(partial(_extract_some, place, names, each, camera_id, config, model))
            done += len(group[start : start + _PORTION])
            progress("features", done, total)
    place.finish("features")


def _camera_of(place: Workplace, name: str) -> int | None:
    """Return the camera a picture has in the database; None while it is not there."""
    pycolmap = import_pycolmap()
    with pycolmap.Database.open(place.database) as database:
        return int(database.read_image_with_name(name).camera_id) if database.exists_image(name) else None


def _extract_some(
    place: Workplace,
    names: Sequence[str],
    each: bool,
    camera_id: int | None,
    config: ColmapConfig,
    model: str,
    token: Any,
) -> None:
    pycolmap = import_pycolmap()
    pycolmap.set_random_seed(config.seed)
    how = pycolmap.FeatureExtractionOptions()
    reader = pycolmap.ImageReaderOptions()
    how.num_threads = config.threads
    how.sift.max_num_features = config.max_features
    reader.camera_model = model
    if camera_id is not None:
        reader.existing_camera_id = camera_id
    if place.masks is not None:
        reader.mask_path = str(place.masks)
    pycolmap.extract_features(
        place.database,
        place.images,
        image_names=list(names),
        camera_mode=pycolmap.CameraMode.PER_IMAGE if each else pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=how,
        device=pycolmap.Device.cpu,
        cancellation_token=token,
    )


# COLMAP ends the whole process when SQLite cannot write, so room is asked for: a feature has 6 floats and 128 bytes, a
# match two numbers, once as found and once as verified; SQLite keeps a journal beside them.
_FEATURE_BYTES, _MATCH_BYTES, _SQLITE_BYTES = 2 * (6 * 4 + 128), 2 * 2 * 8, 2**20


def pairs_in_order(names: Sequence[str], config: ColmapConfig) -> list[tuple[str, str]]:
    """Return which pictures of a video to match: each with the next ones, and with some at growing distance (2^k)."""
    steps = sorted({*range(1, config.overlap + 1), *(2**k for k in range(config.overlap))})
    count = len(names)
    return [(names[i], names[i + step]) for i in range(count) for step in steps if i + step < count]


def match(
    place: Workplace, pairs: Sequence[tuple[str, str]], config: ColmapConfig, progress: Progress, *, verify: bool
) -> None:
    """Match pairs of pictures; pairs an interrupted run had matched are kept.

    Args:
        place: Where features are.
        pairs: Names of pictures.
        config: How.
        progress: Called with ("matches", done, total) in pairs.
        verify: Estimate each pair's geometry and keep what fits it; without, the features alone decide.
    """
    for start in range(0, len(pairs), _PAIRS_PORTION):
        some = pairs[start : start + _PAIRS_PORTION]
        if not place.finished("matches"):
            require_space(place.database, len(some) * config.max_features * _MATCH_BYTES + _SQLITE_BYTES)
            interruptible(partial(_match_some, place, some, config, verify))
        progress("matches", start + len(some), len(pairs))
    place.finish("matches")


def _match_some(
    place: Workplace, pairs: Sequence[tuple[str, str]], config: ColmapConfig, verify: bool, token: Any
) -> None:
    pycolmap = import_pycolmap()
    pycolmap.set_random_seed(config.seed)
    how = pycolmap.FeatureMatchingOptions()
    pairing = pycolmap.ImportedPairingOptions()
    how.num_threads = config.threads
    how.skip_geometric_verification = not verify
    geometry = pycolmap.TwoViewGeometryOptions()
    geometry.ransac.random_seed = config.seed
    if not verify:
        # COLMAP throws away pairs with fewer matches than this; known poses can confirm a single one.
        geometry.min_num_inliers = 1
    listed = place.folder / "pairs.txt"
    listed.write_text("".join(f"{first} {second}\n" for first, second in pairs))
    pairing.match_list_path = str(listed)
    pairing.block_size = _PAIRS_BLOCK
    pycolmap.match_image_pairs(
        place.database,
        matching_options=how,
        pairing_options=pairing,
        verification_options=geometry,
        device=pycolmap.Device.cpu,
        cancellation_token=token,
    )
