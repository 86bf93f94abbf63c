"""PF-WILLOW by its pictures. Its ten classes share some: car(M) holds pictures of car(G) and car(S), and so on.

So what choices were not made on is told by content, a pair that stands in two classes counts once, and the unit that
the bootstrap draws is a distinct source picture.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _protocol import shared

from equiview.data.keypoints.pfwillow import load_pf_willow
from equiview.io import read_image
from equiview.metrics.pck import SCORINGS
from equiview.metrics.rows import scores
from equiview.types import KeypointPair

CHOSEN_ON = slice(0, None, 2)
"""Classes that choices were made on: every second one by name. They have no picture in common."""
WILLOW_SIDE = 448
SCORING = SCORINGS["pf-willow"]


class Willow:
    """The pairs, and which of them count.

    Attributes:
        pairs: Of all ten classes, or of those that choices were made on.
        counted: Names of pairs, each pair of distinct pictures once: `chosen`, `unseen` (both pictures are in no class
            that choices were made on), `all`.
    """

    def __init__(self, chosen_only: bool = False) -> None:
        self.pairs: list[KeypointPair] = load_pf_willow(shared() / "data" / "semantic" / "PF-dataset-WILLOW")
        classes = sorted({pair.category for pair in self.pairs})
        self.files = sorted({path for pair in self.pairs for path in (pair.image0, pair.image1)})
        digest = {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in self.files}
        self.content = {p.name: (digest[p.image0], digest[p.image1]) for p in self.pairs}
        chosen = [p for p in self.pairs if p.category in classes[CHOSEN_ON]]
        seen = {one for p in chosen for one in self.content[p.name]}
        unseen = [p for p in self.pairs if not seen & set(self.content[p.name])]
        self.counted = {
            name: set({self.content[p.name]: p.name for p in own}.values())
            for name, own in (("chosen", chosen), ("unseen", unseen), ("all", self.pairs))
        }
        self.classes = {
            name: sorted({p.category for p in self.pairs if p.name in own}) for name, own in self.counted.items()
        }
        if chosen_only:
            self.pairs = chosen

    def pictures(self) -> list[np.ndarray]:
        return [read_image(path) for path in self.files]

    def about(self, which: str) -> dict[str, Any]:
        """Return what a protocol says of a selection."""
        sources = {self.content[name][0] for name in self.counted[which]}
        return {"classes": self.classes[which], "pairs": len(self.counted[which]), "source_pictures": len(sources)}

    def pck(self, rows: Sequence[dict[str, Any]], which: str) -> dict[str, float]:
        """Return PCK@0.10 by distinct source picture, repetitions averaged."""
        values: dict[str, list[float]] = {}
        scoring = {"threshold": SCORING.threshold, "inclusive": SCORING.inclusive}
        for row in rows:
            if row["pair"] in self.counted[which] and "failed" not in row:
                values.setdefault(self.content[row["pair"]][0], []).append(scores(row, scoring)["pck@0.10"])
        return {name: float(np.mean(own)) for name, own in values.items()}
