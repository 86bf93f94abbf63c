"""Matches of two posed views, drawn as lines between the pictures: green within the threshold, red beyond."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...draw.canvas import RIGHT, WRONG
from ...tasks.recall import PairMatches, RecallConfig, feature_maps, match_pair
from ...types import ViewPairs
from .pose_examples import example_canvas

LINES = 60
Row = Mapping[str, Any]
Drawn = tuple[np.ndarray, str]


def recall_order(config: RecallConfig) -> Callable[[Row], float]:
    """Return what pairs are ordered by: the share of wrong matches."""
    return lambda row: 100.0 - float(row[f"recall@{config.binned}"])


def recall_examples(source: Any, items: Iterable[ViewPairs], config: RecallConfig, rows: Sequence[Row]) -> list[Drawn]:
    """Draw the pairs of these rows, in their order; each is matched once more."""
    drawn: dict[int, Drawn] = {}
    for one in items:
        wanted = [number for number, row in enumerate(rows) if row["object"] == one.name]
        if not wanted:
            continue
        place = {view.name or str(index): index for index, view in enumerate(one.views)}
        maps = feature_maps(source, one.views, config)
        for number in wanted:
            first, second = (place[name] for name in rows[number]["pair"])
            found = match_pair(one, (first, second), maps, config)
            assert found is not None  # Its row has scores.
            drawn[number] = _example(one, (first, second), found, config, rows[number])
    return [drawn[number] for number in range(len(rows))]


def _example(one: ViewPairs, pair: tuple[int, int], found: PairMatches, config: RecallConfig, row: Row) -> Drawn:
    limit = float(config.binned.rstrip("cmpx"))
    errors = found.error_cm if config.binned.endswith("cm") else found.error_px
    canvas = example_canvas(*(one.views[index].rgb for index in pair))
    # The kept matches are sorted by certainty; some of all of them are shown.
    for number in np.unique(np.linspace(0, len(errors) - 1, LINES).astype(int)):
        colour = RIGHT if errors[number] < limit else WRONG
        canvas.line([(canvas.left, found.xy0[number]), (canvas.right, found.xy1[number])], (*colour, 140), 1)
        for side, xy in ((canvas.left, found.xy0[number]), (canvas.right, found.xy1[number])):
            canvas.dot(side, xy, colour, 2.0, rim=0)
    words = f"{one.name}, {row['pair'][0]} to {row['pair'][1]}, cameras rotated by {row['angle_deg']:.0f}\u00b0: "
    return canvas.rgb(), words + f"{row[f'recall@{config.binned}']:.0f} % of {row['n']} matches within {config.binned}"
