"""`equiview pose`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import bad_input
from ..records import LocatedPicture, PoseSummary
from . import options
from .app import app
from .common import command, examples, finish
from .feature_options import FeatureOptions, with_features
from .progress import StageProgress

if TYPE_CHECKING:
    import numpy as np

    from ..jobs.engine import Engine
    from ..models.extractor import Extractor
    from ..tasks.pose import ObjectModel, PoseConfig
    from ..types import PoseScene


@app.command(
    short_help="Find an object's pose from a few posed references.",
    epilog=examples(
        "equiview pose -b equiview/tiny --blocks 4,6,8,10 --references dinoSparseRing --query photo.png",
        "equiview pose -b facebook/dinov2-base --references ycbv --layout bop --object 5 --out runs/pose",
        "equiview pose -b facebook/dinov2-base --references ycbv --layout bop --object 5 --detections found.json "
        "--to bop --out runs/pose",
    ),
)
@command
@with_features("average", without=("random_weights", "dtype"), average=True)
def pose(
    features: FeatureOptions,
    references: Annotated[Path, typer.Option("--references", help="Folder of posed pictures.")],
    layout: Annotated[
        Literal["middlebury", "onepose", "bop"], typer.Option("--layout", help="How it is laid out.")
    ] = "middlebury",
    query: Annotated[
        list[Path] | None, typer.Option("--query", help="Picture to locate; repeat it. Without one, --out is scored.")
    ] = None,
    intrinsics: Annotated[
        str | None, typer.Option(help="fx,fy,cx,cy of the queries in pixels; the first reference's if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for rows and summary of the folder's own queries.")
    ] = None,
    object_id: Annotated[int, typer.Option("--object", min=0, help="BOP's number of the object.")] = 1,
    detections: Annotated[
        Path | None, typer.Option(help="BOP detections (boxes or masks, COCO's form) that queries are cut to.")
    ] = None,
    to: Annotated[
        Literal["bop"] | None, typer.Option("--to", help="Write the poses as BOP's results (csv) too.")
    ] = None,
    rerun: options.Rerun = False,
    any_roll: Annotated[bool, typer.Option(help="Try the query at four turns.")] = True,
    fine: options.Fine = True,
    engine: options.Engine = "local",
    shard: options.Shard = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Find an object's pose from a few posed references, or score the queries of a data set."""
    if bool(query) == (out is not None):
        raise bad_input("pose", "either --query or --out", "both" if query else "neither", "Give one of the two.")
    if (detections or to) and (layout != "bop" or out is None):
        found, fix = f"--layout {layout}" if layout != "bop" else "--query", "Score the queries of a BOP folder."
        raise bad_input("--detections, --to", "--layout bop and --out", found, fix)
    if rerun:
        _check_rerun(out)
    from ..jobs import pose as jobs
    from ..jobs.engine import parse_engine
    from ..jobs.feature_options import open_features

    where = (references, layout, object_id)
    scenes, box = jobs.open_scenes(*where) if out is not None else _as_list(jobs.all_references(*where))
    if detections is not None:
        scenes = jobs.cut_to_detections(scenes, detections, object_id)
    spread = parse_engine(engine, shard, many=out is not None)
    source = open_features(features, "fine" if fine else "own")
    config = jobs.pose_config(box, any_roll=any_roll, seed=seed)
    if out is None:
        _locate(source, scenes[0], query or [], intrinsics, config, json)
    else:
        summary = _score(source, scenes, config, out, spread, jobs.open_models(*where))
        wrote = [out / "summary.json", out / "rows.jsonl"]
        if to is not None:
            wrote.append(jobs.write_bop_results(out, references, object_id))
        if rerun:
            wrote.append(jobs.write_recording(out, scenes))
        lines = [f"{name:28s} {value['value']}" for name, value in summary["metrics"].items()]
        finish({"command": "pose", "summary": summary}, wrote, json, "\n".join(lines))


def _check_rerun(out: Path | None) -> None:
    from ..formats.rerun_file import import_rerun

    if out is None:
        raise bad_input("--rerun", "--out beside it", "--query", "Score the queries of a data set.")
    import_rerun()


def _as_list(posed: "tuple[PoseScene, np.ndarray | None]") -> "tuple[list[PoseScene], np.ndarray | None]":
    return [posed[0]], posed[1]


def _locate(
    source: "Extractor",
    scene: "PoseScene",
    queries: list[Path],
    intrinsics: str | None,
    config: "PoseConfig",
    json: bool,
) -> None:
    from ..jobs.pose import locate_pictures

    matrix = None if intrinsics is None else parse_intrinsics(intrinsics)
    located = locate_pictures(source, scene, queries, matrix, config)
    finish({"command": "pose", "queries": located}, [], json, "\n".join(map(sentence, located)))


def parse_intrinsics(text: str) -> "np.ndarray":
    """Read fx,fy,cx,cy.

    Raises:
        EquiviewError: It is not four numbers.
    """
    import numpy as np

    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError as error:
        raise bad_input("--intrinsics", "fx,fy,cx,cy", repr(text), "Four numbers with commas.") from error
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def sentence(row: "LocatedPicture") -> str:
    """Return a line for a person."""
    if "failed" in row:
        return f"{row['query']}: not found ({row['failed']})"
    rows = "\n".join("  " + " ".join(f"{value: .6f}" for value in line) for line in row["cam_from_world"])
    found = f"{row['n_inliers']} of {row['n_matches']} matches agree, rotation +-{row['rotation_sd_deg']:.2f} deg"
    return f"{row['query']}: {found}\n{rows}"


def _score(
    source: "Extractor",
    scenes: "list[PoseScene]",
    config: "PoseConfig",
    out: Path,
    engine: "Engine",
    models: "dict[str, ObjectModel]",
) -> PoseSummary:
    """Locate a data set's own queries; the same command goes on with an interrupted run."""
    from ..jobs.pose import score_poses

    with StageProgress() as progress:
        return score_poses(source, scenes, config, out, progress, engine, models)
