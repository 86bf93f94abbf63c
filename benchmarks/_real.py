"""Real photographs as things to score on: captures, pairs of birds, PF-WILLOW, and BADJA's clips.

Each set gives its pictures, rows of what maps of these pictures find, and one value for each unit that the bootstrap
draws: source views of a capture, source pictures of pairs, query points of clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _method import Fixed
from _protocol import MEASURE, shared
from _willow import WILLOW_SIDE, Willow

from equiview.data.clips.badja import open_badja
from equiview.data.keypoints.own_json import load_keypoint_json
from equiview.data.open import open_source
from equiview.io import read_image
from equiview.metrics.equivariance import view_values
from equiview.metrics.rows import scores
from equiview.tasks import tracking, transfer
from equiview.tasks.equivariance import plan_object, score_object
from equiview.tasks.tracking import TrackingConfig, part_of
from equiview.tasks.transfer import TransferConfig
from equiview.types import FeatureMap

CAPTURES = {
    **{"fox": "ngp_fox", "milk": "milk"},
    **{"apple": "co3d_apple", "skull": "dtu_scan65", "fountain": "strecha_fountain-P11"},
}
CAPTURE_VIEWS = 12
# The first three species are for choices, the last two are reported; PF-WILLOW is parted by its pictures.
BIRDS_CHOSEN = 3
CLIPS = {"horsejump-high": 854, "cows": 854}
CHOSEN_ON = ("fox", "milk", "willow chosen", "birds chosen", "birds across chosen", "horsejump-high")
REPORTED = ("apple", "skull", "fountain", "willow unseen", "birds", "birds across", "cows")


class RealSet(ABC):
    """A set of pictures and what is known of them.

    Attributes:
        name: Short.
        kind: `captures`, `transfer` or `tracking`: what it is pooled with.
        long_side: Its pictures are seen at this size, pixels.
    """

    def __init__(self, name: str, kind: str, long_side: int) -> None:
        self.name, self.kind, self.long_side = name, kind, long_side

    @property
    def maps_name(self) -> str:
        """Under which its pictures' maps are kept."""
        return self.name

    @abstractmethod
    def pictures(self) -> Sequence[Any]: ...

    @abstractmethod
    def score(self, maps: list[FeatureMap]) -> list[dict[str, Any]]: ...

    @abstractmethod
    def values(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the percent of each unit; of rows of several repetitions their mean."""


class CaptureSet(RealSet):
    """PCDP@0.05 on posed photographs with points by COLMAP."""

    def __init__(self, name: str, work: Path) -> None:
        super().__init__(name, "captures", 640)
        source = shared() / "data" / "captures" / CAPTURES[name]
        views = open_source(source, n_views=CAPTURE_VIEWS, cache_dir=work / "captures")
        self.plan = plan_object(name, views, MEASURE)

    def pictures(self) -> Sequence[Any]:
        return list(self.plan.views)

    def score(self, maps: list[FeatureMap]) -> list[dict[str, Any]]:
        return score_object(self.plan, maps, MEASURE)

    def values(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        return {str(view): value for view, value in view_values(rows, "pcdp@0.05").items()}


class PairSet(RealSet):
    """PCK@0.10 of key points of pairs, by source picture."""

    def __init__(self, name: str, pairs: Sequence[Any], threshold: str, maps_name: str) -> None:
        super().__init__(name, "transfer", WILLOW_SIDE)
        self.pairs, self.threshold, self._maps_name = pairs, threshold, maps_name

    @property
    def maps_name(self) -> str:
        return self._maps_name

    def pictures(self) -> Sequence[Any]:
        return [read_image(path) for path in sorted({path for p in self.pairs for path in (p.image0, p.image1)})]

    def score(self, maps: list[FeatureMap]) -> list[dict[str, Any]]:
        return list(transfer.run(Fixed(self.pictures(), maps, {}), self.pairs, TransferConfig()))

    def values(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for row in rows:
            found.setdefault(row["image0"], []).append(scores(row, {"threshold": self.threshold})["pck@0.10"])
        return {name: float(np.mean(own)) for name, own in found.items()}


class WillowSet(PairSet):
    """PF-WILLOW, its distinct pairs of one selection."""

    def __init__(self, which: str) -> None:
        willow = Willow()
        pairs = [pair for pair in willow.pairs if pair.name in willow.counted[which]]
        super().__init__(f"willow {which}", pairs, "extent", f"willow-{which}")
        self.willow, self.which = willow, which

    def values(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        return self.willow.pck(rows, self.which)


class ClipSet(RealSet):
    """The share of a clip's annotated joints under 8 px at 256 high, by query point."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "tracking", CLIPS[name])
        clip = next(one for one in open_badja(shared() / "data" / "tracking") if one.name == name)
        self.clip = part_of(clip, np.flatnonzero(clip.known.any(0)))

    def pictures(self) -> Sequence[Any]:
        return list(self.clip.frames)

    def score(self, maps: list[FeatureMap]) -> list[dict[str, Any]]:
        source = Fixed(self.pictures(), maps, {})
        return list(tracking.run(source, [self.clip], TrackingConfig("first_annotated")))

    def values(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        hits: dict[str, np.ndarray] = {}
        for row in rows:
            if row["kind"] == "point" and row["n"]:
                hits[str(row["point"])] = hits.get(str(row["point"]), np.zeros(2)) + (row["n_hits"], row["n"])
        return {point: float(100 * one[0] / one[1]) for point, one in hits.items()}


def open_sets(names: Sequence[str], work: Path) -> Iterator[RealSet]:
    """Yield the named sets, one after the other."""
    for name in names:
        if name in CAPTURES:
            yield CaptureSet(name, work)
        elif name in CLIPS:
            yield ClipSet(name)
        elif name.startswith("willow "):
            yield WillowSet(name.removeprefix("willow "))
        else:
            yield _birds(name)


def _birds(name: str) -> PairSet:
    """Return pairs whose two birds are both of the species chosen on, or both of the others."""
    folder = shared() / "data" / "semantic" / "cub"
    same = load_keypoint_json(folder / "pairs_same_species.json")
    pairs = load_keypoint_json(folder / "pairs_cross_species.json") if "across" in name else same
    chosen = set(sorted({pair.category for pair in same})[:BIRDS_CHOSEN])
    wanted = name.endswith("chosen")
    picked = [pair for pair in pairs if all((one in chosen) == wanted for one in _species(pair))]
    return PairSet(name, picked, "box", name.replace(" ", "-"))


def _species(pair: Any) -> tuple[str, str]:
    """Return the species of both pictures: the folders they lie in."""
    return Path(pair.image0).parent.name, Path(pair.image1).parent.name
