"""Pictures of the best samples and the worst failures of a data set, drawn while the features are at hand.

Rows say which samples these are; their predictions are made once more. The report only shows the files.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ...draw.canvas import RIGHT, TRUE, WRONG
from ...io import pixels_of, write_image, write_json
from ...matching.tracking import Queries
from ...metrics.pck import correct
from ...tasks.pose import PoseConfig
from ...tasks.recall import RecallConfig
from ...tasks.tracking import TrackingConfig, follow, part_of
from ...tasks.transfer import PictureFeatures, TransferConfig, predict
from ...types import Clip, KeypointPair, PoseScene
from .pose_examples import example_canvas, pose_example, pose_order
from .recall_examples import recall_examples, recall_order
from .settings import Opened

SHOWN = 3
# A hit in the pictures of transfer: within this share of the length that counts.
HIT_ALPHA, HIT_PX = 0.10, 8.0
LENGTHS = {"image": "longer side of the picture", "box": "longer side of the box", "extent": "key points' extent"}
Row = Mapping[str, Any]
Drawn = tuple[UInt8[np.ndarray, "h w 3"], str]


@dataclass(frozen=True)
class Order:
    """How samples of a task are put in order.

    Attributes:
        error: Of a row, lower is better.
        group: Of a row: at most one of a group is shown, as long as there are others.
        shown: Whether a row can be drawn at all.
    """

    error: Callable[[Row], float]
    group: Callable[[Row], str]
    shown: Callable[[Row], bool]


def save_examples(folder: Path, source: Any, opened: Opened, rows: Sequence[Row]) -> None:
    """Write best-N.jpg, worst-N.jpg and index.json (what each shows, in words).

    Args:
        folder: Emptied first.
        source: The features the rows were made with.
        opened: The data set.
        rows: From its task.
    """
    shutil.rmtree(folder, ignore_errors=True)
    order, draw = _of_task(opened)
    best, worst = ends(rows, order, SHOWN)
    index = []
    for kind, chosen in (("best", best), ("worst", worst)):
        for number, drawn in enumerate(draw(source, opened, chosen)):
            name = f"{kind}-{number + 1}.jpg"
            write_image(folder / name, drawn[0])
            index.append({"kind": kind, "file": name, "caption": drawn[1]})
    write_json(folder / "index.json", index)


def ends(rows: Sequence[Row], order: Order, count: int) -> tuple[list[Row], list[Row]]:
    """Return the best and the worst rows, none of them twice; rows of one group make room for others."""
    able = [row for row in rows if order.shown(row)]
    ranked = sorted(able, key=order.error)
    count = min(count, (len(ranked) + 1) // 2)
    best = _spread(ranked, order, count)
    rest = [row for row in reversed(ranked) if not any(row is one for one in best)]
    return best, _spread(rest, order, min(count, len(rest)))


def _spread(ranked: Sequence[Row], order: Order, count: int) -> list[Row]:
    seen: set[str] = set()
    first: list[Row] = []
    later: list[Row] = []
    for row in ranked:
        (later if order.group(row) in seen else first).append(row)
        seen.add(order.group(row))
    return (first + later)[:count]


def _of_task(opened: Opened) -> tuple[Order, Callable[[Any, Opened, Sequence[Row]], list[Drawn]]]:
    if isinstance(opened.config, PoseConfig):
        return Order(pose_order, lambda row: f"{row['object']}/{row.get('failed', '')}", lambda row: True), _pose
    if isinstance(opened.config, TrackingConfig):
        able = lambda row: row["kind"] == "point" and bool(row["errors_px"])  # noqa: E731
        return Order(lambda row: float(np.mean(row["errors_px"])), lambda row: row["clip"], able), _track
    if isinstance(opened.config, RecallConfig):
        order = recall_order(opened.config)
        return Order(order, lambda row: row["object"], lambda row: "failed" not in row), _recall
    assert opened.scoring is not None
    length = f"{opened.scoring.threshold}_px"
    error = lambda row: float(np.minimum(np.array(row["errors_px"]) / max(row[length], 1e-9), 1).mean())  # noqa: E731
    return Order(error, lambda row: row["category"], lambda row: "failed" not in row), _transfer


def _recall(source: Any, opened: Opened, rows: Sequence[Row]) -> list[Drawn]:
    assert isinstance(opened.config, RecallConfig)
    return recall_examples(source, opened.items, opened.config, rows)


def _transfer(source: Any, opened: Opened, rows: Sequence[Row]) -> list[Drawn]:
    assert isinstance(opened.config, TransferConfig)
    features = PictureFeatures(source, opened.config)
    pairs: dict[str, KeypointPair] = {pair.name: pair for pair in opened.items}
    return [_pair_example(features, opened, pairs[row["pair"]], row) for row in rows]


def _pair_example(features: PictureFeatures, opened: Opened, pair: KeypointPair, row: Row) -> Drawn:
    assert isinstance(opened.config, TransferConfig) and opened.scoring is not None
    found, _ = predict(pair, features, opened.config)
    xy1 = features.unplaced(pair.image1, found.xy1.cpu().double().numpy())
    length = row[f"{opened.scoring.threshold}_px"]
    hits = correct(np.array(row["errors_px"]), length, HIT_ALPHA, inclusive=opened.scoring.inclusive)
    canvas = example_canvas(pixels_of(pair.image0), pixels_of(pair.image1))
    for start, end, true, hit in zip(pair.xy0[pair.visible], xy1, pair.xy1[pair.visible], hits, strict=True):
        colour = RIGHT if hit else WRONG
        canvas.dot(canvas.left, start, colour)
        if not hit:
            canvas.line([(canvas.right, end), (canvas.right, true)], colour)
            canvas.ring(canvas.right, true, TRUE, 4.0)
        canvas.dot(canvas.right, end, colour)
    words = f"{pair.name}: {int(hits.sum())} of {len(hits)} points within {HIT_ALPHA:.2f} of the "
    return canvas.rgb(), words + LENGTHS[opened.scoring.threshold]


def _track(source: Any, opened: Opened, rows: Sequence[Row]) -> list[Drawn]:
    assert isinstance(opened.config, TrackingConfig)
    drawn: dict[int, Drawn] = {}
    for clip in opened.items:
        for number, row in enumerate(rows):
            if row["clip"] == clip.name:
                drawn[number] = _point_example(source, clip, opened.config, row)
    return [drawn[number] for number in range(len(rows))]


def _point_example(source: Any, clip: Clip, config: TrackingConfig, row: Row) -> Drawn:
    """Draw the point in its own frame, and in the frame where it went furthest astray."""
    errors = np.array(row["errors_px"])
    frame, start = row["frames"][int(errors.argmax())], row["query_frame"]
    at = clip.xy[row["point"], start]
    part = part_of(clip, np.array([start, frame]))
    # Without a search radius or smoothing every frame is searched alone: two frames give what the whole clip gave.
    found = follow(source, part, Queries(at[None], np.array([0])), config).xy[0, 1]
    true, hit = clip.xy[row["point"], frame], errors.max() < HIT_PX
    canvas = example_canvas(part.frames[0], part.frames[1])
    canvas.ring(canvas.left, at, TRUE)
    canvas.line([(canvas.right, found), (canvas.right, true)], RIGHT if hit else WRONG)
    canvas.ring(canvas.right, true, TRUE)
    canvas.dot(canvas.right, found, RIGHT if hit else WRONG)
    words = f"{clip.name}, point {row['point']}, frame {start} to {frame}, its worst: {errors.max():.1f} px off; "
    return canvas.rgb(), words + f"{row['n_hits']} of {row['n']} frames within {HIT_PX:g} px (256 px high)"


def _pose(source: Any, opened: Opened, rows: Sequence[Row]) -> list[Drawn]:
    assert isinstance(opened.config, PoseConfig)
    drawn: dict[int, Drawn] = {}
    scene: PoseScene
    for scene in opened.items:
        queries = {query.name: query for query in scene.queries}
        for number, row in enumerate(rows):
            if row["object"] == scene.name and row["query"] in queries:
                drawn[number] = pose_example(scene, queries[row["query"]], opened.config.box, row)
    return [drawn[number] for number in range(len(rows))]
