"""Semantic transfer scored: one row a pair of pictures with its errors in pixels; PCK comes from the rows."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ..cache import Cache
from ..data.letterbox import Square, on_square, square_of
from ..errors import bad_input
from ..io import pixels_of
from ..matching.localise import Localise
from ..matching.transfer import better, check_points, mirrored, outside, transfer_maps
from ..metrics.pck import (
    ALPHAS,
    FINE_ALPHAS,
    PairCount,
    Scoring,
    box_px,
    correct,
    extent_px,
    headline,
    image_px,
    summarize_counts,
)
from ..metrics.rows import failure_counts
from ..models.extractor import MapSource
from ..records import Metric, ProtocolRecord, RunRecord, Settings, TransferRow, TransferSummary
from ..sampling import grid_error_px
from ..types import FeatureMap, ImageSource, KeypointPair, Matches

Progress = Callable[[str, int, int], None]
Rgb = UInt8[np.ndarray, "h w 3"]
# Annotations may lie so far outside: tools that count from 1 put the last pixel beyond the border.
ANNOTATION_PX = 1.0
# Tokens a side of the published protocol: 840 px at patch 14.
PAPER_TOKENS = 60


@dataclass(frozen=True)
class TransferConfig:
    """The protocol of a measurement.

    Attributes:
        localise: How a place is chosen.
        flips: Try the mirrored source picture too; each pair keeps the better one by mean similarity.
        square_px: Pictures are centred on a black square of this side first and errors are its pixels; None leaves
            pictures as they are.
        cache_mb: Feature maps kept in memory; a picture is computed again when it was dropped.
    """

    localise: Localise = Localise()
    flips: bool = False
    square_px: int | None = None
    cache_mb: int = 512


def paper_config(patch: int) -> TransferConfig:
    """Return the published protocol: a square of 60 x 60 tokens (840 px at patch 14), arg-max of the dot product.

    The features must be read at that very size: `long_side` = 60 x patch.
    """
    return TransferConfig(Localise("paper"), square_px=PAPER_TOKENS * patch)


def run(
    source: MapSource,
    pairs: Sequence[KeypointPair],
    config: TransferConfig | None = None,
    progress: Progress | None = None,
) -> list[TransferRow]:
    """Transfer the key points of every pair.

    Args:
        source: Where features come from; every picture is computed once while the cache holds it.
        pairs: The truth. Neighbours that share pictures make the cache work.
        config: The protocol.
        progress: Called with ("transfer", done, total).

    Returns:
        One row a pair: pair, category, image0, n, errors_px, and the lengths that thresholds are shares of (image_px,
        extent_px, box_px or null), all in pixels of the target, and score (mean similarity). A pair that cannot be
        scored has "failed" with the reason in place of all these.

    Raises:
        EquiviewError: No pairs, a picture is missing or broken, points outside it, or features that are not finite.
    """
    return [row for (row,) in samples(source, pairs, config, progress)]


def samples(
    source: MapSource,
    pairs: Sequence[KeypointPair],
    config: TransferConfig | None = None,
    progress: Progress | None = None,
    start: int = 0,
) -> Iterator[list[TransferRow]]:
    """Yield what `run` returns pair by pair, without the first `start`."""
    if not len(pairs):
        raise bad_input("pairs", "at least one", "an empty list", "Check the data set's folder and split.")
    config = config or TransferConfig()
    features = PictureFeatures(source, config)
    for number in range(start, len(pairs)):
        yield [score_pair(pairs[number], features, config)]
        if progress is not None:
            progress("transfer", number + 1, len(pairs))


@torch.no_grad()
def score_pair(pair: KeypointPair, features: "PictureFeatures", config: TransferConfig) -> TransferRow:
    """Return the row of one pair."""
    row: TransferRow = {
        "pair": pair.name,
        "category": pair.category,
        "image0": image_name(pair.image0),
        "self_pair": _key(pair.image0) == _key(pair.image1),
    }
    if not pair.visible.any():
        return {**row, "failed": "no key point is visible in both pictures"}
    truth, size_px = features.placed(pair.image1, pair.xy1[pair.visible])
    if features.outside(pair.image0, pair.xy0[pair.visible]) or features.outside(pair.image1, pair.xy1[pair.visible]):
        return {**row, "failed": "a key point lies outside its picture"}
    matches, flipped = predict(pair, features, config)
    if not bool(torch.isfinite(matches.score).all()):
        fix = "Use fp32, or check the adapter."
        raise bad_input(f"features of {pair.name!r}", "finite numbers", "NaN or infinity", fix)
    errors = np.linalg.norm(matches.xy1.cpu().double().numpy() - truth, axis=1)
    scale = size_px / max(features.hw(pair.image1))
    return {
        **row,
        "n": len(errors),
        "errors_px": [round(float(error), 4) for error in errors],
        "grid_px": [round(float(error), 4) for error in grid_error_px(features.map(pair.image1), truth)],
        "image_px": size_px,
        "extent_px": round(extent_px(truth), 4),
        "box_px": None if pair.box1_wh is None else round(box_px(pair.box1_wh) * scale, 4),
        "score": round(float(matches.score.mean()), 6),
        "mirrored": flipped,
    }


@torch.no_grad()
def predict(pair: KeypointPair, features: "PictureFeatures", config: TransferConfig) -> tuple[Matches, bool]:
    """Return the places of a pair's visible key points in the target, and whether the mirrored source fitted better.

    Places are pixels of the square, when there is one.

    Raises:
        EquiviewError: A point is not finite or more than a pixel outside its picture.
    """
    hw = features.hw(pair.image0)
    target = features.map(pair.image1)
    xy0 = pair.xy0[pair.visible]
    check_points(xy0, hw, ANNOTATION_PX)

    def transferred(mirror: bool) -> Matches:
        xy = np.stack([hw[1] - xy0[:, 0], xy0[:, 1]], 1) if mirror else xy0
        placed, _ = features.placed(pair.image0, xy)
        source = features.map(pair.image0, mirror=mirror)
        return transfer_maps(source, torch.from_numpy(placed).float(), target, config.localise)

    plain = transferred(False)
    flipped = transferred(True) if config.flips else plain
    return (flipped, True) if better(plain, flipped) else (plain, False)


class PictureFeatures:
    """Feature maps by picture, computed once while the cache has room.

    Args:
        source: Where they come from.
        config: The square, and the room.
    """

    def __init__(self, source: MapSource, config: TransferConfig) -> None:
        self.source = source
        self.config = config
        self._maps: Cache[FeatureMap] = Cache(config.cache_mb * 2**20)
        self._sizes: dict[str, tuple[int, int]] = {}

    def map(self, image: ImageSource, *, mirror: bool = False) -> FeatureMap:
        """Return the picture's features, of the mirrored picture when asked."""
        return self._maps.get((_key(image), mirror), lambda: self._computed(image, mirror))

    def _computed(self, image: ImageSource, mirror: bool) -> FeatureMap:
        rgb = pixels_of(image)
        self._sizes[_key(image)] = rgb.shape[:2]
        rgb = mirrored(rgb) if mirror else rgb
        if self.config.square_px is not None:
            rgb = on_square(rgb, self._square(rgb.shape[:2]))
        (fmap,) = self.source.maps([rgb])
        return fmap

    def hw(self, image: ImageSource) -> tuple[int, int]:
        """Return the size of the picture itself."""
        key = _key(image)
        if key not in self._sizes:
            self.map(image)
        return self._sizes[key]

    def placed(self, image: ImageSource, xy: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "n 2"], float]:
        """Return points in pixels of what the features were computed on, and its longer side."""
        hw = self.hw(image)
        if self.config.square_px is None:
            return xy, image_px(hw)
        return self._square(hw).place(xy), float(self.config.square_px)

    def unplaced(self, image: ImageSource, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Return pixels of the picture itself, the inverse of `placed`."""
        return xy if self.config.square_px is None else self._square(self.hw(image)).unplace(xy)

    def outside(self, image: ImageSource, xy: Float[np.ndarray, "n 2"]) -> bool:
        """Say whether a point is not finite or more than a pixel outside the picture."""
        return bool(outside(xy, self.hw(image), ANNOTATION_PX).any())

    def _square(self, hw: tuple[int, int]) -> Square:
        assert self.config.square_px is not None
        return square_of(hw, self.config.square_px)


def image_name(image: ImageSource) -> str:
    """Return what a row calls a picture: the file and its folder, or a hash of what is in memory."""
    return "/".join(image.parts[-2:]) if isinstance(image, Path) else _key(image)[:16]


def _key(image: ImageSource) -> str:
    if isinstance(image, Path):
        return str(image)
    rgb = np.ascontiguousarray(pixels_of(image))
    return hashlib.sha256(rgb.data).hexdigest() + str(rgb.shape)


def recorded(localise: Localise) -> Settings:
    """Return a localisation as run folders and summaries of transfer hold it: `parabola` is called `argmax` there."""
    record = asdict(localise) | {"method": "argmax" if localise.method == "parabola" else localise.method}
    return {key: value for key, value in record.items() if (key, value) != ("border", "centre")}


def protocol_of(
    source: MapSource, config: TransferConfig, scoring: Scoring | None, **more: Unpack[RunRecord]
) -> ProtocolRecord:
    """Return what must be known to repeat a measurement."""
    # Window and temperature say something about the window alone; the size of the cache changes no number.
    about_window = () if config.localise.method == "window" else ("window", "temperature")
    localise = {key: value for key, value in recorded(config.localise).items() if key not in about_window}
    return {
        "features": source.describe(),
        "transfer": {"localise": localise, "flips": config.flips, "square_px": config.square_px},
        "scoring": None if scoring is None else asdict(scoring),
        "units": "percent; pck@a = share of key points with error < a x length (<= when inclusive)",
        "ci95": "percentile bootstrap, 10,000 draws of source pictures with all their pairs; null under 5 pictures",
        **more,
    }


def summarize(rows: Iterable[Mapping[str, Any]], protocol: ProtocolRecord, scoring: Scoring) -> TransferSummary:
    """Average rows into a summary.

    Args:
        rows: From `run`.
        protocol: Stored beside the numbers.
        scoring: Threshold and average, see `pck.SCORINGS`.

    Returns:
        {"metrics": {"pck@0.05": {"value", "ci95", "n", per_pair, per_point, class_mean, class_weighted,
        by_category}, ...}, "failed": {reason: pairs}, "protocol": ...}

    Raises:
        EquiviewError: The data set has no boxes and the scoring needs them.
    """
    rows = list(rows)
    scored = [row for row in rows if "failed" not in row]
    metrics = {f"pck@{alpha:.2f}": _metric(scored, alpha, scoring) for alpha in (*ALPHAS, *FINE_ALPHAS)}
    return {"metrics": metrics, "failed": failure_counts(rows), "protocol": protocol}


def _metric(rows: Sequence[Mapping[str, Any]], alpha: float, scoring: Scoring) -> Metric:
    metric = summarize_counts([_count(row, alpha, scoring) for row in rows], scoring.average)
    if rows and all("grid_px" in row for row in rows):
        metric["ceiling"] = headline([_count(row, alpha, scoring, "grid_px") for row in rows], scoring.average)
    return metric


def _count(row: Mapping[str, Any], alpha: float, scoring: Scoring, errors: str = "errors_px") -> PairCount:
    length = row[f"{scoring.threshold}_px"]
    if length is None:
        fix = "Score it by the image or by the extent of the key points."
        raise bad_input(f"pair {row['pair']!r}", "a bounding box", "none", fix)
    hits = correct(np.asarray(row[errors]), length, alpha, inclusive=scoring.inclusive)
    return PairCount(row["category"], row["image0"], int(hits.sum()), row["n"])
