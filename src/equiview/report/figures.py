"""Line and dot figures, as SVG that takes its text colour from the page (so dark mode works)."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..metrics.paired import lower_is_better
from .numbers import TITLES
from .run import LABELS

# Paul Tol's "vibrant" scheme, distinguishable with the common colour deficiencies and on white as on black;
# the markers say the same again. Source: P. Tol, "Colour Schemes", SRON technical note, 2021.
COLOURS = {
    "pretrained": "#888888",
    "last_block": "#009988",
    "fixed_average": "#ee7733",
    "without_object": "#33bbee",
    "random_head": "#ee3377",
    "adapted": "#0a84d0",
    "measured": "#0a84d0",
}
MARKERS = {
    "pretrained": "o",
    "last_block": "v",
    "fixed_average": "s",
    "without_object": "X",
    "random_head": "^",
    "adapted": "D",
    "measured": "D",
}
DASHES: dict[str, Any] = {
    "pretrained": "-",
    "last_block": "-.",
    "fixed_average": "--",
    "without_object": (0, (5, 1)),
    "random_head": ":",
    "adapted": "-",
    "measured": "-",
}
OTHER_COLOUR, OTHER_MARKER = "#997700", "P"
LEGEND_COLUMNS = 3  # More do not fit beside one another.
INK = "#010203"  # Replaced by currentColor; no other element uses it.
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "equiview",
    "font.size": 11,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Chart:
    """A figure as SVG.

    Attributes:
        view_box: Its own coordinates.
        max_width_px: It is not drawn larger.
        alt: Words for those who cannot see it.
        body: What is inside; its text was escaped by matplotlib.
    """

    view_box: str
    max_width_px: int
    alt: str
    body: Markup


def angle_figure(metric: str, curves: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> Chart:
    """Draw one metric against the angle between the views.

    Args:
        metric: Its key.
        curves: {"value", "ci95", "n"} by variant, then by bin name ("0-45").
        title: What the bins are.
    """
    with mpl.rc_context(STYLE):
        axes = _fixed(figure := Figure(figsize=(5.4, 3.5)))
        bins = list(next(iter(curves.values())))
        for index, (variant, by_bin) in enumerate(curves.items()):
            _curve(axes, variant, [by_bin[b] for b in bins], (index - (len(curves) - 1) / 2) * 0.07)
        axes.set_xticks(range(len(bins)), [b.replace("-", "\u2013") for b in bins])
        axes.set_xlim(-0.4, len(bins) - 0.6)
        axes.set_xlabel("angle between the views, degrees")
        axes.set_ylabel(f"{TITLES[metric]} (%), {'lower' if lower_is_better(metric) else 'higher'} is better")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=9.5)
        alt = f"{TITLES[metric]} against the angle between the views, {title}. " + _curve_words(curves)
        return to_svg(figure, alt)


def _fixed(figure: Figure) -> Axes:
    """Return axes with room for labels of one line: to measure them, matplotlib would draw everything twice more."""
    w, h = figure.get_size_inches()
    return figure.subplots(gridspec_kw={"left": 0.85 / w, "right": 1 - 0.12 / w, "bottom": 0.6 / h, "top": 1 - 0.1 / h})


def _curve(axes: Axes, variant: str, entries: Sequence[Mapping[str, Any]], shift: float) -> None:
    colour, marker = COLOURS.get(variant, OTHER_COLOUR), MARKERS.get(variant, OTHER_MARKER)
    values = np.array([np.nan if e["value"] is None else e["value"] for e in entries], float)
    x = np.arange(len(values)) + shift
    style = DASHES.get(variant, "-")
    axes.plot(x, values, color=colour, marker=marker, ls=style, lw=2, ms=6, label=LABELS.get(variant, variant))
    for at, entry in zip(x, entries, strict=True):
        if entry.get("ci95") is not None:
            axes.plot([at, at], entry["ci95"], color=colour, lw=1.3, alpha=0.75, solid_capstyle="butt")


def _curve_words(curves: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    parts = []
    for variant, by_bin in curves.items():
        points = (f"{b}: {e['value']:.1f}" for b, e in by_bin.items() if e["value"] is not None)
        parts.append(f"{LABELS.get(variant, variant)} {', '.join(points) or 'empty'}")
    return "; ".join(parts) + "."


def objects_figure(metric: str, table: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw every object's score under every variant, one line an object."""
    variants = list(table[0]["values"])
    with mpl.rc_context(STYLE):
        lines = -(-len(variants) // LEGEND_COLUMNS)
        figure = Figure(figsize=(7.2, 0.7 + 0.2 * lines + 0.36 * len(table)), layout="constrained")
        axes = figure.subplots()
        for y, row in enumerate(reversed(table)):
            _object_line(axes, y, row["values"])
        axes.set_yticks(range(len(table)), [_short(row["object"]) for row in reversed(table)])
        axes.set_ylim(-0.6, len(table) - 0.4)
        axes.set_xlabel(f"{TITLES[metric]} (%), {'lower' if lower_is_better(metric) else 'higher'} is better")
        for v in variants:
            style: dict[str, Any] = {"color": COLOURS.get(v, OTHER_COLOUR), "marker": MARKERS.get(v, OTHER_MARKER)}
            axes.plot([], [], ls="", label=LABELS.get(v, v), **style)
        if len(variants) > 1:
            figure.legend(loc="outside upper center", ncols=min(len(variants), LEGEND_COLUMNS), fontsize=9.5)
        return to_svg(figure, f"{TITLES[metric]} of every object; the numbers are in the table.")


def _object_line(axes: Axes, y: int, values: Mapping[str, float | None]) -> None:
    before, after = values.get("pretrained"), values.get("adapted")
    if before is not None and after is not None:
        axes.plot([before, after], [y, y], color=COLOURS["adapted"], lw=3, alpha=0.35)
    for variant, value in values.items():
        if value is not None:
            colour, marker = COLOURS.get(variant, OTHER_COLOUR), MARKERS.get(variant, OTHER_MARKER)
            axes.plot(value, y, color=colour, marker=marker, ls="", ms=7)


def _short(name: str, limit: int = 24) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}\u2026"


def training_figure(stage: str, log: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Draw the loss of the steps that a stage logged; None when there are fewer than two."""
    points = [(e["step"], e["loss"]) for e in log if _is_step(e)]
    if len(points) < 2:
        return None
    steps, losses = np.array(points, float).T
    with mpl.rc_context(STYLE):
        axes = _fixed(figure := Figure(figsize=(7.2, 2.9)))
        axes.plot(steps, losses, color=COLOURS["pretrained"], lw=1, alpha=0.7, label="each step")
        width = max(1, len(losses) // 15)
        if width > 1:
            smooth = np.convolve(losses, np.ones(width) / width, "valid")
            late = steps[width - 1 :]
            axes.plot(late, smooth, color=COLOURS["adapted"], lw=2, label=f"mean of the last {width} steps")
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.legend(fontsize=9.5)
        of_stage = f" of stage {stage}" if stage else ""
        alt = f"Training loss{of_stage} over {len(steps)} logged steps, from {losses[0]:.3g} to {losses[-1]:.3g}."
        return to_svg(figure, alt)


def _is_step(event: Mapping[str, Any]) -> bool:
    return all(isinstance(event.get(key), int | float) and np.isfinite(event[key]) for key in ("step", "loss"))


def to_svg(figure: Figure, alt: str) -> Chart:
    """Turn a figure into SVG: no ids but those referred to, no namespace addresses, page's own font."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    size = re.search(r'viewBox="([^"]+)"', text)
    body = re.search(r"<svg[^>]*>(.*)</svg>", text, re.DOTALL)
    if size is None or body is None:
        raise RuntimeError("matplotlib wrote an SVG without a viewBox")
    inner = re.sub(r"<metadata>.*?</metadata>", "", body[1], flags=re.DOTALL)
    inner = _own_ids(inner.replace("xlink:href", "href").replace(INK, "currentColor"))
    inner = re.sub(r"(font: [\d.]+px) [^;\"]*", r"\1 sans-serif", inner)
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    width_px = round(1.45 * float(size[1].split()[2]))
    return Chart(size[1], width_px, alt, Markup(inner))


def _own_ids(svg: str) -> str:
    """Drop the ids nobody refers to, and make the others this figure's own: several figures share a page."""
    prefix = f"f{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)
