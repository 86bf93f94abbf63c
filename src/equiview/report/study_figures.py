"""Figures of a study: points of two scores with their families, and all relations on one axis."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..jobs.study.points import PointSet
from .figures import INK, STYLE, Chart, to_svg

# Paul Tol's "bright" and "vibrant" schemes; markers say the same again. Source: see figures.py.
COLOURS = ("#0a84d0", "#ee7733", "#009988", "#cc3311", "#aa3377", "#997700", "#33a02c", "#6a5acd", "#ee3377", "#5f7f8f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
ALONE = "#8a949e"
MAX_LABELS, LABEL_PT = 30, 7.5
# Where a label may stand beside its point, best first: (right or left of it, up or down), in points.
PLACES = ((6, 0), (-6, 0), (0, 8), (0, -8), (6, 8), (-6, 8), (6, -8), (-6, -8))

Style = tuple[str, str]


def family_styles(groups: Sequence[str]) -> dict[str, Style]:
    """Return colour and marker of every family; those with a single point share one, as do the eleventh and later."""
    counts = Counter(groups)
    several = [name for name, count in counts.most_common() if count > 1][: len(COLOURS)]
    styles = {name: (COLOURS[i], MARKERS[i]) for i, name in enumerate(several)}
    return {name: styles.get(name, (ALONE, "o")) for name in counts}


def legend_figure(styles: Mapping[str, Style]) -> Chart:
    """Draw what the colours and markers mean, once for all figures."""
    shown = {name: style for name, style in styles.items() if style[0] != ALONE}
    rest = len(styles) - len(shown)
    entries = [
        *shown.items(),
        *([("families with one point" if shown else "all points", (ALONE, "o"))] if rest else []),
    ]
    columns = 5
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 0.15 + 0.28 * -(-len(entries) // columns)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        handles = [axes.plot([], [], ls="", color=c, marker=m, ms=7, label=name)[0] for name, (c, m) in entries]
        axes.legend(handles=handles, loc="center left", ncols=columns, fontsize=9.5, borderpad=0)
        return to_svg(figure, f"Families: {', '.join(name for name, _ in entries)}.")


def scatter_figure(points: PointSet, relation: Mapping[str, Any], styles: Mapping[str, Style], cluster: str) -> Chart:
    """Draw the points of a relation as they were published, an axis of a score of which less is better turned round.

    Lines run through the families with several points: what is left within families.
    """
    x, y = (points.sign(relation[key]) * points.values(relation[key]) for key in ("x", "y"))
    both = ~np.isnan(x) & ~np.isnan(y)
    groups = np.array(points.groups(cluster))[both]
    names = [point.name for point, kept in zip(points.points, both, strict=True) if kept]
    x, y = x[both], y[both]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for name in dict.fromkeys(groups):
            own = groups == name
            _family(axes, x[own], y[own], *styles[name])
        for axis, score, turn in ((axes.xaxis, relation["x"], "x"), (axes.yaxis, relation["y"], "y")):
            less = score in relation["turned"]
            # A long name is broken at its last part: the height of the figure holds about 32 letters.
            name = score if len(score) <= 32 else "/\n".join(score.rsplit("/", 1))
            axis.set_label_text(f"{name}{' (less is better, axis turned)' if less else ''}", fontsize=9.5)
            if less:
                (axes.invert_xaxis if turn == "x" else axes.invert_yaxis)()
        axes.margins(0.1)
        if len(x) <= MAX_LABELS:
            _labels(figure, axes, np.stack([x, y], 1), names)
        return to_svg(
            figure, f"{relation['y']} against {relation['x']}, {len(x)} points. {' '.join(relation['words'])}"
        )


def _family(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, marker: str) -> None:
    if len(x) > 1 and np.ptp(x) > 0 and colour != ALONE:
        slope, offset = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, slope * ends + offset, color=colour, lw=1.4, alpha=0.55)
    axes.plot(x, y, ls="", color=colour, marker=marker, ms=6, alpha=0.85)


def _labels(figure: Figure, axes: Axes, xy: np.ndarray, names: Sequence[str]) -> None:
    """Write names where they hide neither a point nor another name; a name without such a place is left out."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # Names are placed in this layout: it is kept, and not worked out once more.
    scale = 72 / figure.dpi
    at = axes.transData.transform(xy) * scale
    frame = np.asarray(axes.get_window_extent().extents) * scale
    taken = [(px - 3, py - 3, px + 3, py + 3) for px, py in at]
    for (px, py), name in zip(at, names, strict=True):
        size = (0.56 * LABEL_PT * len(name), LABEL_PT)
        for dx, dy in PLACES:
            left = px + dx - size[0] * (dx < 0) - size[0] / 2 * (dx == 0)
            box = (left, py + dy - size[1] / 2, left + size[0], py + dy + size[1] / 2)
            inside = box[0] > frame[0] and box[2] < frame[2] + 8 and box[1] > frame[1] and box[3] < frame[3]
            if inside and not any(_overlap(box, other) for other in taken):
                shift = (left - px, dy)
                own = xy[int(np.flatnonzero((at == (px, py)).all(1))[0])]
                axes.annotate(name, own, shift, textcoords="offset points", fontsize=LABEL_PT, va="center", alpha=0.85)
                taken.append(box)
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def overview_figure(relations: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw Spearman's correlation of every relation with its interval, over all points and within families."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.1 + 0.34 * len(relations)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, lw=1, alpha=0.5)
        for row, relation in enumerate(reversed(relations)):
            _mark(axes, row + 0.12, relation["spearman"], "#0a84d0", "o")
            _mark(axes, row - 0.16, relation["partial_spearman"], "#ee7733", "D")
        axes.set_yticks(range(len(relations)), [f"{r['x']}  |  {r['y']}" for r in reversed(relations)], fontsize=9)
        axes.set_ylim(-0.6, len(relations) - 0.4)
        axes.set_xlim(-1.04, 1.04)
        axes.set_xlabel("Spearman correlation, better with better")
        styles: list[dict[str, Any]] = [
            {"color": "#0a84d0", "marker": "o", "label": "all points"},
            {"color": "#ee7733", "marker": "D", "label": "within families"},
        ]
        for style in styles:
            axes.plot([], [], ls="", **style)
        axes.plot([], [], color=INK, lw=1.6, label="95 %, families drawn")
        axes.plot([], [], color=INK, lw=1.6, ls=":", label="95 %, points drawn alone")
        figure.legend(loc="outside upper center", ncols=4, fontsize=9)
        return to_svg(figure, "Spearman's correlation of every relation; the numbers are in the table.")


def _mark(axes: Axes, y: float, entry: Mapping[str, Any], colour: str, marker: str) -> None:
    if entry["value"] is None:
        return
    interval = entry["ci95"] or entry["ci95_points"]
    if interval:
        axes.plot(interval, [y, y], color=colour, lw=1.8, ls="-" if entry["ci95"] else ":", alpha=0.8)
    axes.plot(entry["value"], y, color=colour, marker=marker, ms=6, ls="")
