"""The jobs behind `equiview pose`: score a data set's queries into a resumable folder, or locate pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..data.captures.bop import bop_model, bop_scene, scene_name
from ..data.captures.middlebury import middlebury_scenes, open_middlebury
from ..data.captures.onepose import onepose_scenes
from ..errors import bad_input
from ..formats.bop_detections import CroppedImage, cropped_scene, read_detections
from ..formats.bop_results import write_results
from ..formats.rerun_file import write_poses
from ..io import read_jsonl, write_json
from ..matching.pose import LocateConfig, Template
from ..metrics.pose import symmetry_transforms
from ..models.extractor import MapSource
from ..records import LocatedPicture, PoseRow, PoseSummary, ProtocolRecord
from ..tasks.pose import ObjectModel, PoseConfig, protocol_of, samples, seeded, summarize
from ..types import PosedImage, PoseScene
from .engine import LOCAL, Engine
from .run_folder import Progress, claim_folder
from .scoring import UNITS_LOG, Rows, WorkItem, finish_items, resumed_rows, rows_path, write_rows

Layout = Literal["middlebury", "onepose", "bop"]
Box = Float[np.ndarray, "2 3"]


def open_scenes(folder: Path, layout: Layout, object_id: int = 1) -> tuple[list[PoseScene], Box | None]:
    """Read the scenes of a folder, and the object's box where it is known.

    Args:
        folder: References and queries.
        layout: How they lie, see `captures`.
        object_id: BOP's number of the object.

    Raises:
        EquiviewError: Another layout, or a broken file.
    """
    if layout == "middlebury":
        return middlebury_scenes(folder), open_middlebury(folder).box
    if layout == "onepose":
        return onepose_scenes(folder), None
    if layout == "bop":
        return [bop_scene(folder, object_id)], bop_model(folder, object_id).box
    raise bad_input("layout", "middlebury, onepose or bop", repr(layout), "Check the spelling.")


def all_references(folder: Path, layout: Layout, object_id: int = 1) -> tuple[PoseScene, Box | None]:
    """Read a folder as one template: where its scenes take turns as references (Middlebury), all pictures are."""
    scenes, box = open_scenes(folder, layout, object_id)
    first = scenes[0]
    if layout == "middlebury":
        others = [query for query in first.queries if isinstance(query, PosedImage)]
        return replace(first, references=[*first.references, *others]), box
    return first, box


def pose_config(box: Box | None, *, any_roll: bool = True, seed: int = 0) -> PoseConfig:
    """Return the corrected protocol.

    Args:
        box: Of the object.
        any_roll: Try queries at four turns.
        seed: Of all samples that are drawn.
    """
    corners: Any = None if box is None else tuple(tuple(float(x) for x in corner) for corner in box)
    rolls = (0, 1, 2, 3) if any_roll else (0,)
    return seeded(PoseConfig(locate=LocateConfig(rolls=rolls), box=corners), seed)


def open_models(folder: Path, layout: Layout, object_id: int = 1) -> dict[str, ObjectModel]:
    """Return what the errors of BOP need to know of the object, by the name of its scene; nothing for other layouts."""
    if layout != "bop":
        return {}
    about = bop_model(folder, object_id)
    return {scene_name(folder, object_id): ObjectModel(about.diameter, symmetry_transforms(about.info))}


def score_poses(
    source: MapSource,
    scenes: Sequence[PoseScene],
    config: PoseConfig,
    out: Path,
    progress: Progress | None = None,
    engine: Engine = LOCAL,
    models: Mapping[str, ObjectModel] | None = None,
) -> PoseSummary:
    """Locate the queries of all scenes and write rows.jsonl and summary.json.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        scenes: The objects.
        config: The protocol.
        out: The run folder; an interrupted run goes on behind the last query of a scene that was located.
        progress: Called with (scene, queries done, queries in all).
        engine: Where scenes are worked on.
        models: By scene, for the errors of BOP.

    Returns:
        The content of summary.json.

    Raises:
        EquiviewError: Broken references, or a folder that holds another run.
    """
    protocol = protocol_of(source, config)
    about = [{"scene": scene.name, "references": _names(scene.references)} for scene in scenes]
    queries = [_names(scene.queries) for scene in scenes]
    crops = {name: list(image.box) for scene in scenes for name, image in _cropped(scene).items()}
    # Scenes of one object, which take turns as references, share its name.
    names = [f"{number:04d}-{scene.name}" for number, scene in enumerate(scenes)]
    mine = engine.share(names, "scenes")
    what = {"command": "pose", "scenes": about, "queries": queries, **({"crops": crops} if crops else {})}
    claim_folder(out, what | protocol | engine.record("pose", names))
    work = partial(_scene_rows, source, config, out, models or {}, progress if engine.inside else None)
    items = [
        WorkItem(rows_path(out, name), partial(work, name, scene)) for name, scene in zip(names, scenes, strict=True)
    ]
    report = None if engine.inside or progress is None else partial(progress, "pose")
    finish_items(engine.share(items), report, engine, log=out / UNITS_LOG)
    return end_poses(out, mine, protocol_of(source, config, **engine.words))


def end_poses(out: Path, names: Sequence[str], protocol: ProtocolRecord) -> PoseSummary:
    """Write rows.jsonl and summary.json of finished scenes."""
    rows = [row for name in names for row in read_jsonl(rows_path(out, name))]
    summary = summarize(rows, protocol)
    write_rows(out / "rows.jsonl", rows)
    write_json(out / "summary.json", summary)
    return summary


def _scene_rows(
    source: MapSource,
    config: PoseConfig,
    out: Path,
    models: Mapping[str, ObjectModel],
    progress: Progress | None,
    name: str,
    scene: PoseScene,
) -> Rows:
    """Locate the queries of a scene, each on disk as soon as it is located."""
    cropped, kept = _cropped(scene), rows_path(out, f"{name}.partial")

    def located(start: int) -> Iterator[list[PoseRow]]:
        for (row,) in samples(source, [scene], config, progress, start, models=models):
            if "image_width" in row and row["query"] in cropped:
                # BOP measures pixels against the width of the whole picture.
                row["image_width"] = cropped[row["query"]].full_hw[1]
            yield [row]

    rows = resumed_rows(kept, located)
    write_rows(rows_path(out, name), rows)
    kept.unlink()
    return rows


def _cropped(scene: PoseScene) -> dict[str, CroppedImage]:
    """Return the queries that are cut to a detection, by name."""
    posed = [query for query in scene.queries if isinstance(query, PosedImage)]
    return {query.name: query.image for query in posed if isinstance(query.image, CroppedImage)}


def cut_to_detections(scenes: Sequence[PoseScene], path: Path, object_id: int) -> list[PoseScene]:
    """Return BOP scenes whose queries are cut to the detections of a file.

    Raises:
        EquiviewError: The file is missing or broken, or says nothing of the object or of any query.
    """
    found = read_detections(path, object_id)
    cut = [cropped_scene(scene, found, object_id) for scene in scenes]
    if not any(isinstance(query, PosedImage) for scene in cut for query in scene.queries):
        fix = "Check scene_id and image_id, and that the file is of this data set."
        raise bad_input(str(path), "detections in the queries' images", "none of them", fix)
    return cut


def write_bop_results(out: Path, folder: Path, object_id: int) -> Path:
    """Write a finished run's poses as BOP's results, and return the file."""
    path = Path(out) / f"equiview_{Path(folder).resolve().name}-test.csv"
    write_results(path, read_jsonl(Path(out) / "rows.jsonl"), object_id)  # type: ignore[arg-type]
    return path


def write_recording(out: Path, scenes: Sequence[PoseScene]) -> Path:
    """Write a finished run as OUT/pose.rrd for rerun, and return the file.

    Raises:
        EquiviewError: rerun is not installed, or a picture cannot be read.
    """
    path = Path(out) / "pose.rrd"
    write_poses(path, scenes, read_jsonl(Path(out) / "rows.jsonl"))  # type: ignore[arg-type]
    return path


def _names(pictures: Sequence[Any]) -> list[str]:
    return [picture.name for picture in pictures]


def locate_pictures(
    source: MapSource,
    scene: PoseScene,
    queries: Sequence[Path],
    intrinsics: Float[np.ndarray, "3 3"] | None,
    config: PoseConfig,
) -> list[LocatedPicture]:
    """Locate picture files.

    Args:
        source: An `Extractor` (or the oracle, or noise).
        scene: Whose references the template is made from.
        queries: The files.
        intrinsics: Of the queries; the first reference's when None.
        config: The protocol.

    Returns:
        What is known of each as JSON: query, n_matches, and `failed` with the reason, or cam_from_world, n_inliers,
        rotation_sd_deg and covariance.

    Raises:
        EquiviewError: A picture cannot be read, or no template can be made.
    """
    matrix = scene.references[0].camera.intrinsics if intrinsics is None else intrinsics
    box = None if config.box is None else np.asarray(config.box)
    template = Template.from_views(source, scene.references, box=box, config=config.template)
    located: list[LocatedPicture] = []
    for path in queries:
        attempt = template.attempt(path, matrix, config=config.locate)
        picture: LocatedPicture = {"query": str(path), "n_matches": attempt.n_matches}
        estimate = attempt.estimate
        if estimate is None:
            picture["failed"] = attempt.reason
        else:
            picture["cam_from_world"] = estimate.cam_from_world.tolist()
            picture["n_inliers"] = estimate.n_inliers
            picture["rotation_sd_deg"] = estimate.rotation_sd_deg
            picture["covariance"] = estimate.covariance.tolist()
        located.append(picture)
    return located
