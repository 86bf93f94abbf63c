"""`equiview pose`."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import bad_input
from . import options
from .app import app
from .common import command, examples, finish, parse_blocks, quiet_transformers, resolve_device
from .measure import open_features

if TYPE_CHECKING:
    import numpy as np

    from ..features import Extractor
    from ..tasks.pose import PoseConfig
    from ..types import PoseScene


class Layout(StrEnum):
    """How a folder of references is laid out."""

    MIDDLEBURY = "middlebury"
    ONEPOSE = "onepose"
    BOP = "bop"


@app.command(
    short_help="Find an object's pose from a few posed references.",
    epilog=examples(
        "equiview pose -b equiview/tiny --blocks 4,6,8,10 --references dinoSparseRing --query photo.png",
        "equiview pose -b facebook/dinov2-base --references ycbv --layout bop --object 5 --out runs/pose",
    ),
)
@command
def pose(
    backbone: options.Backbone,
    references: Annotated[Path, typer.Option("--references", help="Folder of posed pictures.")],
    layout: Annotated[Layout, typer.Option("--layout", help="How it is laid out.")] = Layout.MIDDLEBURY,
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
    adapter: options.Adapter = None,
    blocks: options.Blocks = None,
    average: Annotated[bool, typer.Option(help="Without an adapter: mean of 3x3 tokens.")] = True,
    long_side: options.LongSide = None,
    any_roll: Annotated[bool, typer.Option(help="Try the query at four turns.")] = True,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Find an object's pose from a few posed references, or score the queries of a data set."""
    if bool(query) == (out is not None):
        raise bad_input("pose", "either --query or --out", "both" if query else "neither", "Give one of the two.")
    scenes, box = read_scenes(references, layout, object_id, split=not query)
    quiet_transformers()
    features: dict[str, Any] = {"blocks": parse_blocks(blocks), "long_side": long_side}
    source = open_features(backbone, adapter, features, None, device=resolve_device(device), dtype="float32")
    if adapter is None and average:
        from ..heads import AverageHead

        source.head = AverageHead()
    config = settings(box, any_roll, seed)
    if query:
        found = locate_all(source, scenes[0], query, intrinsics, config)
        finish({"command": "pose", "queries": found}, [], json, "\n".join(map(sentence, found)))
        return
    assert out is not None
    score(source, scenes, config, out, json)


def read_scenes(
    folder: Path, layout: Layout, object_id: int, *, split: bool
) -> "tuple[list[PoseScene], np.ndarray | None]":
    """Read what lies in a folder; without `split` all images of the first scene are references."""
    from dataclasses import replace

    if layout is Layout.MIDDLEBURY:
        from ..captures.middlebury import middlebury_scenes, open_middlebury

        scenes, box = middlebury_scenes(folder), open_middlebury(folder).box
        if not split:
            scenes = [replace(scenes[0], references=[*scenes[0].references, *scenes[0].queries])]
        return scenes, box
    if layout is Layout.ONEPOSE:
        from ..captures.onepose import onepose_scenes

        return onepose_scenes(folder), None
    from ..captures.bop import bop_model, bop_scene

    return [bop_scene(folder, object_id)], bop_model(folder, object_id).box


def settings(box: "np.ndarray | None", any_roll: bool, seed: int) -> "PoseConfig":
    """Return the protocol the options ask for."""
    from ..pose import LocateConfig
    from ..tasks.pose import PoseConfig, seeded

    corners = None if box is None else tuple(tuple(float(x) for x in corner) for corner in box)
    rolls = (0, 1, 2, 3) if any_roll else (0,)
    return seeded(PoseConfig(locate=LocateConfig(rolls=rolls), box=corners), seed)  # type: ignore[arg-type]


def locate_all(
    source: "Extractor", scene: "PoseScene", queries: Sequence[Path], intrinsics: str | None, config: "PoseConfig"
) -> list[dict[str, Any]]:
    """Locate pictures and return what is known of each as JSON."""
    from ..pose import Template

    matrix = scene.references[0].camera.intrinsics if intrinsics is None else parse_intrinsics(intrinsics)
    template = Template.from_views(source, scene.references, box=config.box, config=config.template)  # type: ignore[arg-type]
    found = []
    for path in queries:
        attempt = template.attempt(path, matrix, config=config.locate)
        row: dict[str, Any] = {"query": str(path), "n_matches": attempt.n_matches}
        estimate = attempt.estimate
        if estimate is None:
            found.append(row | {"failed": attempt.reason})
            continue
        row |= {"cam_from_world": estimate.cam_from_world.tolist(), "n_inliers": estimate.n_inliers}
        found.append(row | {"rotation_sd_deg": estimate.rotation_sd_deg, "covariance": estimate.covariance.tolist()})
    return found


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


def sentence(row: dict[str, Any]) -> str:
    """Return a line for a person."""
    if "failed" in row:
        return f"{row['query']}: not found ({row['failed']})"
    rows = "\n".join("  " + " ".join(f"{value: .6f}" for value in line) for line in row["cam_from_world"])
    found = f"{row['n_inliers']} of {row['n_matches']} matches agree, rotation +-{row['rotation_sd_deg']:.2f} deg"
    return f"{row['query']}: {found}\n{rows}"


def score(source: "Extractor", scenes: "list[PoseScene]", config: "PoseConfig", out: Path, json: bool) -> None:
    """Locate a data set's own queries and write rows.jsonl and summary.json."""
    from ..io import write_json
    from ..runs import claim_folder, write_rows
    from ..tasks.pose import protocol_of, run, summarize

    protocol = protocol_of(source, config)
    claim_folder(out, {"command": "pose", "scenes": [scene.name for scene in scenes]} | protocol)
    rows = run(source, scenes, config)
    write_rows(out / "rows.jsonl", rows)
    summary = summarize(rows, protocol)
    write_json(out / "summary.json", summary)
    lines = [f"{name:28s} {value['value']}" for name, value in summary["metrics"].items()]
    result = {"command": "pose", "summary": summary}
    finish(result, [out / "summary.json", out / "rows.jsonl"], json, "\n".join(lines))
