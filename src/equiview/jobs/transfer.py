"""The jobs behind `equiview transfer`: score a data set into a resumable folder, or find points of one picture."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..data.keypoints.loaders import open_pairs
from ..draw.matches import pair_picture
from ..errors import bad_input
from ..io import read_image, read_jsonl, write_image, write_json
from ..matching.localise import Localise
from ..metrics.pck import SCORINGS, Scoring
from ..models.adapters.folder import versions
from ..models.extractor import Extractor, MapSource
from ..records import ProtocolRecord, RunRecord, TransferredPoints, TransferRow, TransferSummary
from ..tasks.transfer import (
    PictureFeatures,
    TransferConfig,
    paper_config,
    predict,
    protocol_of,
    recorded,
    score_pair,
    summarize,
)
from ..types import KeypointPair
from .engine import LOCAL, Engine
from .run_folder import Progress, claim_folder, device_name
from .scoring import UNITS_LOG, WorkItem, finish_items, rows_path, write_rows

# An interrupted run goes on at a multiple of this many pairs.
BLOCK_PAIRS = 300


@dataclass(frozen=True)
class TransferRun:
    """What is scored, apart from the features.

    Attributes:
        pairs: NAME:PATH, see `data.keypoints.loaders`.
        config: The protocol.
        scoring: Threshold and average; None is the data set's usual one.
    """

    pairs: str
    config: TransferConfig = TransferConfig()
    scoring: Scoring | None = None


def score_transfer(
    source: MapSource, run: TransferRun, out: Path, progress: Progress | None = None, engine: Engine = LOCAL
) -> TransferSummary:
    """Score a data set and write summary.json and rows.jsonl.

    Args:
        source: An `Extractor` (or noise).
        run: The pairs and the protocol.
        out: The run folder; an interrupted run goes on where it stopped.
        progress: Called with ("transfer", done, total).
        engine: Where blocks of pairs are scored.

    Returns:
        The content of summary.json. Where pairs of a picture with itself are among them, "without_self_pairs" holds the
        metrics of the others.

    Raises:
        EquiviewError: Bad input, or a folder that holds another run.
    """
    out = Path(out)
    name, pairs = open_pairs(run.pairs)
    scoring = run.scoring or SCORINGS[name]
    config = asdict(run.config) | {"localise": recorded(run.config.localise)}
    starts = range(0, len(pairs), BLOCK_PAIRS)
    names = [f"{start:06d}" for start in starts]
    mine = engine.share(names, f"blocks of {BLOCK_PAIRS} pairs")
    what = {"config": config, "scoring": asdict(scoring), "features": source.describe()}
    claim_folder(out, asdict(run) | what | engine.record("transfer", names))
    work = partial(_block, PictureFeatures(source, run.config), pairs, run.config, progress if engine.inside else None)
    items = [WorkItem(rows_path(out, name), partial(work, start)) for name, start in zip(names, starts, strict=True)]
    report = None if engine.inside or progress is None else partial(progress, "transfer")
    finish_items(engine.share(items), report, engine, log=out / UNITS_LOG)
    device = device_name(str(source.device)) if isinstance(source, Extractor) else "cpu"
    more: RunRecord = {"pairs": name, "versions": versions(), "device": device, **engine.words}
    return end_transfer(out, mine, protocol_of(source, run.config, scoring, **more))


def end_transfer(out: Path, names: Sequence[str], protocol: ProtocolRecord) -> TransferSummary:
    """Write rows.jsonl and summary.json of finished blocks."""
    rows = [row for name in names for row in read_jsonl(rows_path(out, name))]
    write_rows(out / "rows.jsonl", rows)
    scoring = Scoring(**(protocol["scoring"] or {}))
    summary = summarize(rows, protocol, scoring)
    others = [row for row in rows if not row["self_pair"]]
    if len(others) < len(rows):
        summary["without_self_pairs"] = summarize(others, {}, scoring)["metrics"]
    write_json(out / "summary.json", summary)
    return summary


def _block(
    features: PictureFeatures,
    pairs: Sequence[KeypointPair],
    config: TransferConfig,
    progress: Progress | None,
    start: int,
) -> list[TransferRow]:
    rows = []
    for number in range(start, min(start + BLOCK_PAIRS, len(pairs))):
        rows.append(score_pair(pairs[number], features, config))
        if progress is not None:
            progress("transfer", number + 1, len(pairs))
    return rows


def published(source: Extractor) -> tuple[Extractor, TransferConfig]:
    """Return the features and the protocol of the paper: 60 x 60 tokens on a square, arg-max of the dot product.

    Raises:
        EquiviewError: The features have another stride than the patch.
    """
    patch = source.backbone.info.patch
    if source.config.stride not in (None, patch):
        fix = "Leave the stride out, or take another localisation."
        raise bad_input("paper localisation", "the stride of the patch", str(source.config.stride), fix)
    config = paper_config(patch)
    assert config.square_px is not None
    changed = copy.copy(source)
    changed.config = replace(source.config, long_side=config.square_px)
    return changed, config


def protocol_for(source: Extractor, localise: Localise, flips: bool) -> tuple[Extractor, TransferConfig]:
    """Return features and protocol of a localisation; `paper` brings its own picture size."""
    if localise.method != "paper":
        return source, TransferConfig(localise, flips)
    source, config = published(source)
    return source, replace(config, flips=flips)


def transfer_points(
    source: MapSource,
    images: tuple[Path, Path],
    xy0: Float[np.ndarray, "n 2"],
    config: TransferConfig,
    out: Path,
) -> TransferredPoints:
    """Transfer points between two picture files and write points.json and points.png.

    Returns:
        The content of points.json: image0, image1, xy0, xy1, similarity, mirrored, protocol.

    Raises:
        EquiviewError: A picture cannot be read, or a point is outside it.
    """
    pair = KeypointPair("points", "", *images, xy0, xy0, np.ones(len(xy0), bool))
    features = PictureFeatures(source, config)
    matches, mirrored = predict(pair, features, config)
    xy1 = features.unplaced(images[1], matches.xy1.cpu().double().numpy())
    result: TransferredPoints = {
        "image0": str(images[0]),
        "image1": str(images[1]),
        "xy0": xy0.tolist(),
        "xy1": xy1.round(3).tolist(),
        "similarity": [round(value, 4) for value in matches.score.tolist()],
        "mirrored": mirrored,
        "protocol": protocol_of(source, config, None, versions=versions()),
    }
    write_json(out / "points.json", result)
    write_image(out / "points.png", pair_picture(read_image(images[0]), xy0, read_image(images[1]), xy1))
    return result
