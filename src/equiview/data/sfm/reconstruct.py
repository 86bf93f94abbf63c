"""Cameras and points from pictures alone: COLMAP's incremental mapping."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from .colmap import import_pycolmap, interruptible
from .matches import ColmapConfig, Progress, Workplace, extract, match, pairs_in_order

CAMERA_MODEL = "SIMPLE_RADIAL"


@dataclass(frozen=True)
class Recovered:
    """What mapping found.

    Attributes:
        model: The largest model, a `pycolmap.Reconstruction`; None when no two pictures could be put together.
        registered: Pictures in each model, largest first: more than one number means that the capture fell apart.
    """

    model: Any | None
    registered: tuple[int, ...]


def reconstruct(
    place: Workplace,
    sizes_hw: Mapping[str, tuple[int, int]],
    config: ColmapConfig,
    progress: Progress,
    *,
    camera: Literal["single", "each"] = "single",
    in_order: bool = False,
) -> Recovered:
    """Recover cameras (one focal length and one radial distortion each) and points.

    Args:
        place: Where COLMAP works; what an interrupted run finished there is used.
        sizes_hw: Height and width of each picture by file name.
        config: How.
        progress: Called with (stage, done, total); stages are features, matches and cameras.
        camera: One camera for all pictures of one size, or one for each.
        in_order: Frames of a video.
    """
    groups = camera_groups(sizes_hw, camera)
    extract(place, groups, config, CAMERA_MODEL, progress)
    names = list(sizes_hw)
    few = len(names) <= config.max_exhaustive or not in_order
    match(place, list(combinations(names, 2)) if few else pairs_in_order(names, config), config, progress, verify=True)
    _map(place, len(sizes_hw), config, progress)
    models = sorted(_models(place), key=lambda model: -model.num_reg_images())
    counts = tuple(model.num_reg_images() for model in models)
    return Recovered(drop_bad_points(models[0], config) if models else None, counts)


def camera_groups(sizes_hw: Mapping[str, tuple[int, int]], camera: Literal["single", "each"]) -> list[list[str]]:
    """Return the names of the pictures that share a camera; pictures of different size never do."""
    groups: dict[Any, list[str]] = {}
    for name, hw in sizes_hw.items():
        groups.setdefault(hw if camera == "single" else name, []).append(name)
    return list(groups.values())


def _map(place: Workplace, total: int, config: ColmapConfig, progress: Progress) -> None:
    pycolmap = import_pycolmap()
    folder = place.folder / "models"
    registered = 0

    def one_more() -> None:
        nonlocal registered
        registered += 1

    def work(token: Any) -> None:
        pycolmap.set_random_seed(config.seed)
        pycolmap.incremental_mapping(
            place.database,
            place.images,
            folder,
            pipeline_options(config),
            initial_image_pair_callback=one_more,
            next_image_callback=one_more,
            cancellation_token=token,
        )

    if not place.finished("model"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # It counts every registration, also those of models that are given up: never more than all.
        interruptible(work, lambda: progress("cameras", min(registered, total), total))
        place.finish("model")
    progress("cameras", total, total)


def pipeline_options(config: ColmapConfig) -> Any:
    """Return COLMAP's options of mapping and triangulation, seeded."""
    how = import_pycolmap().IncrementalPipelineOptions()
    how.num_threads = config.threads
    how.random_seed = config.seed
    how.min_model_size = 3
    how.mapper.random_seed = config.seed
    how.triangulation.random_seed = config.seed
    return how


def drop_bad_points(model: Any, config: ColmapConfig) -> Any:
    """Remove observations that reproject too far away and points whose rays are nearly parallel."""
    observations = import_pycolmap().ObservationManager(model)
    observations.filter_all_points3D(config.max_error_px, config.min_angle_deg)
    return model


def _models(place: Workplace) -> list[Any]:
    pycolmap = import_pycolmap()
    folders = sorted(path for path in (place.folder / "models").iterdir() if path.is_dir())
    return [pycolmap.Reconstruction(folder) for folder in folders if (folder / "points3D.bin").exists()]
