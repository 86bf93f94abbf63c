"""A quick look at captures with poses and no points: do matches lie near their epipolar lines, more than by chance?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack, cast

import numpy as np
import torch
from jaxtyping import Bool

from ..data.captures.views import object_frame
from ..errors import EquiviewError, bad_input
from ..geometry import angle_between_deg, fundamental_matrix, view_angle_deg
from ..matching.match import mutual_matches
from ..matching.nearest import token_mask
from ..matching.pose.references import ReferenceMaps
from ..matching.pose.triangulated import object_centre
from ..metrics.epipolar import epipolar_shares
from ..metrics.rows import failure_counts
from ..models.extractor import MapSource
from ..records import EpipolarRow, EpipolarSummary, Metric, ProtocolRecord, RunRecord
from ..stats import mean_with_ci
from ..types import Capture, FeatureMap, PosedImage

Progress = Callable[[str, int, int], None]
ANGLE_BINS_DEG = ((0, 15), (15, 30), (30, 60), (60, 90), (90, 180))


@dataclass(frozen=True)
class EpipolarConfig:
    """The protocol of the epipolar score.

    Attributes:
        thresholds_px: A match within so many pixels of its line, in both pictures, is an inlier.
        long_side_px: Distances are pixels of pictures whose longer side is this long, whatever size they have.
        max_angle_deg: Pairs whose viewing directions differ by more are left out.
        max_pairs: Of the pairs that are left so many are drawn.
        min_matches: A pair with fewer mutual matches is counted as failed.
        masks: Tokens off the object take no part, in pictures that have a mask.
        seed: Which pairs are drawn.
        cache_mb: Room for feature maps; it changes no number.
    """

    thresholds_px: tuple[float, ...] = (4, 8, 16)
    long_side_px: int = 1024
    max_angle_deg: float = 60.0
    max_pairs: int = 500
    min_matches: int = 10
    masks: bool = True
    seed: int = 0
    cache_mb: int = 512

    def __post_init__(self) -> None:
        if not self.thresholds_px or min(self.thresholds_px) <= 0:
            raise bad_input(
                "thresholds_px", "positive numbers", str(self.thresholds_px), "4, 8 and 16 are the default."
            )
        for name, least in (("max_pairs", 1), ("min_matches", 2), ("long_side_px", 1)):
            if getattr(self, name) < least:
                raise bad_input(name, f"{least} or more", str(getattr(self, name)), "Leave it out for the default.")


def score_epipolar(
    source: MapSource, capture: Capture, config: EpipolarConfig | None = None, progress: Progress | None = None
) -> tuple[list[EpipolarRow], EpipolarSummary]:
    """Score one capture.

    Args:
        source: Where features come from.
        capture: Pictures with cameras; points and depth are not looked at (but say where its middle is).
        config: The protocol.
        progress: Called with ("epipolar", pairs done, pairs).

    Returns:
        The rows of `run`, and their summary, see `summarize`.

    Raises:
        EquiviewError: See `run`.
    """
    config = config or EpipolarConfig()
    rows = run(source, capture, config, progress)
    return rows, summarize(rows, protocol_of(source, config))


def run(
    source: MapSource, capture: Capture, config: EpipolarConfig | None = None, progress: Progress | None = None
) -> list[EpipolarRow]:
    """Match every pair of pictures within the angle limit, each once, the earlier picture first.

    Returns:
        One row a pair: dataset (the capture), pair (two names), angle_deg, n (mutual matches) and the shares of
        `epipolar.epipolar_shares`; "failed" with the reason in place of the shares where there are none.

    Raises:
        EquiviewError: No pair within the angle limit, a picture that is missing or broken, or features that are not
            finite.
    """
    config = config or EpipolarConfig()
    pairs = _pairs(capture, config)
    maps = ReferenceMaps(source, capture.images, config.cache_mb * 2**20)
    rows = []
    for number, (i, j, angle_deg) in enumerate(pairs):
        images = capture.images[i], capture.images[j]
        row: EpipolarRow = {
            "dataset": capture.name,
            "pair": [_name(capture, i), _name(capture, j)],
            "angle_deg": round(angle_deg, 4),
        }
        # The shares are keys too; the distances of the protocol name them.
        rows.append(cast(EpipolarRow, {**row, **_score_pair(images, (maps(i), maps(j)), config)}))
        if progress is not None:
            progress("epipolar", number + 1, len(pairs))
    return rows


def _name(capture: Capture, index: int) -> str:
    return capture.images[index].name or str(index)


def _pairs(capture: Capture, config: EpipolarConfig) -> list[tuple[int, int, float]]:
    """Return the pairs that are scored with the angles between their viewing directions."""
    count = len(capture.images)
    if count < 2:
        raise bad_input(f"capture {capture.name!r}", "two pictures or more", str(count), "Take more pictures.")
    angle_deg = _angles(capture)
    pairs = [(i, j, angle_deg(i, j)) for i in range(count) for j in range(i + 1, count)]
    close = [pair for pair in pairs if pair[2] <= config.max_angle_deg]
    if not close:
        found = f"the closest at {min(pair[2] for pair in pairs):.0f} degrees"
        fix = "Raise the limit, or take pictures closer together."
        raise bad_input(f"capture {capture.name!r}", f"a pair within {config.max_angle_deg:g} degrees", found, fix)
    drawn = np.random.default_rng(config.seed).permutation(len(close))[: config.max_pairs]
    return [close[k] for k in np.sort(drawn)]


def _angles(capture: Capture) -> Callable[[int, int], float]:
    """Return the angle of two pictures' viewing directions: towards the middle of the capture, where it has one."""
    cameras = [image.camera for image in capture.images]
    axes = np.stack([camera.cam_from_world[2, :3] for camera in cameras])
    if capture.box is not None or capture.tracks is not None or all(i.depth is not None for i in capture.images):
        center = object_frame(capture)[0]
    elif angle_between_deg(axes[:1], axes[1:]).max() < 1e-3:
        # A stereo bench looks along one direction; there is no place that all cameras look at.
        return lambda i, j: float(angle_between_deg(axes[i], axes[j]))
    else:
        center = object_centre(list(capture.images))
    return lambda i, j: view_angle_deg(cameras[i], cameras[j], center)


def _score_pair(
    images: tuple[PosedImage, PosedImage], maps: tuple[FeatureMap, FeatureMap], config: EpipolarConfig
) -> Mapping[str, float | str]:
    found = mutual_matches(*maps, *(_allowed(image, fmap, config) for image, fmap in zip(images, maps, strict=True)))
    if len(found) < config.min_matches:
        return {"n": len(found), "failed": f"fewer than {config.min_matches} mutual matches"}
    try:
        fundamental = fundamental_matrix(images[0].camera, images[1].camera)
    except EquiviewError:
        return {"n": len(found), "failed": "both pictures were taken from one place"}
    scale = (config.long_side_px / max(maps[0].image_hw), config.long_side_px / max(maps[1].image_hw))
    xy0, xy1 = (xy.double().cpu().numpy() for xy in (found.xy0, found.xy1))
    shares = epipolar_shares(fundamental, xy0, xy1, config.thresholds_px, scale)
    return {"n": len(found)} | {name: round(value, 4) for name, value in shares.items()}


def _allowed(image: PosedImage, fmap: FeatureMap, config: EpipolarConfig) -> Bool[torch.Tensor, "hw"] | None:
    return None if image.mask is None or not config.masks else token_mask(fmap, torch.from_numpy(image.mask))


def protocol_of(source: MapSource, config: EpipolarConfig, **more: Unpack[RunRecord]) -> ProtocolRecord:
    """Return what must be known to repeat a measurement."""
    settings = {name: value for name, value in asdict(config).items() if name != "cache_mb"}
    return {
        "features": source.describe(),
        "epipolar": settings | {"matches": "mutual nearest tokens, parabola in the second picture"},
        "units": "percent of a pair's mutual matches; larger of the two distances; px of long_side_px",
        "chance": "mean over all matches given the target of another match of the pair",
        "averages": "value = mean over pairs",
        "ci95": "percentile bootstrap over pairs, 10,000 draws; null under 5 pairs; pairs that share a picture count "
        "as independent, so intervals are too narrow rather than too wide",
        **more,
    }


def summarize(rows: Iterable[Mapping[str, Any]], protocol: ProtocolRecord) -> EpipolarSummary:
    """Average rows into a summary.

    Returns:
        {"metrics": {name: {"value", "ci95", "n", "by_angle": {"0-15": {...}, ...}}}, "failed": {reason: pairs},
        "protocol": ...}
    """
    rows = list(rows)
    scored = [row for row in rows if "failed" not in row]
    names = [
        f"epipolar_{kind}@{k:g}px" for k in _thresholds(protocol) for kind in ("inliers", "chance", "above_chance")
    ]
    return {
        "metrics": {name: _metric(scored, name) for name in names},
        "failed": failure_counts(rows),
        "protocol": protocol,
    }


def _thresholds(protocol: ProtocolRecord) -> Sequence[float]:
    return protocol["epipolar"]["thresholds_px"]  # type: ignore[no-any-return]


def _metric(rows: Sequence[Mapping[str, Any]], name: str) -> Metric:
    by_angle = {
        f"{low}-{high}": mean_with_ci(
            [row[name] for row in rows if low <= row["angle_deg"] < high or row["angle_deg"] == high == 180]
        )
        for low, high in ANGLE_BINS_DEG
    }
    return {**mean_with_ci([row[name] for row in rows]), "by_angle": by_angle}
