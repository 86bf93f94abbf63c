"""Figures of a retention report: what is gained against what is lost, and every score along the strengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import INK, STYLE, Chart, to_svg

LINE, CHOSEN, LIMIT = "#0a84d0", "#ee7733", "#cc3311"
DRIFT = {
    "cosine": ("cosine of the same token", "#0a84d0", "o"),
    "cka": ("CKA", "#009988", "s"),
    "neighbours": ("nearest neighbours that stay", "#ee7733", "^"),
}
Entries = Sequence[Mapping[str, Any]]


def trade_off_figure(entries: Entries, reading: Mapping[str, Any]) -> Chart | None:
    """Draw the change of PCDP@0.05 against the change of PCK@0.10, a point a strength with its intervals.

    Returns:
        The drawing; None where fewer than two strengths have both.
    """
    marks = [mark for entry in entries if (mark := _mark(entry)) is not None]
    if len(marks) < 2:
        return None
    tolerance, best = reading["tolerance"], reading["recommended"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 4.4), layout="constrained")
        axes = figure.subplots()
        for place in (axes.axvline, axes.axhline):
            place(0, color=INK, lw=1, alpha=0.4)
        axes.axvline(-tolerance, color=LIMIT, lw=1.3, ls="--", label=f"{reading['allowed']} of transfer lost")
        axes.plot([x["value"] for _, x, _ in marks], [y["value"] for _, _, y in marks], color=LINE, lw=1.4, alpha=0.5)
        for strength, x, y in marks:
            _point(axes, x, y, strength, CHOSEN if strength == best else LINE)
        if best is not None:
            axes.plot([], [], ls="", marker="D", color=CHOSEN, label=f"recommended: {best:g}")
        axes.set_xlabel("semantic transfer, change of PCK@0.10 (points)", fontsize=10)
        axes.set_ylabel("equivariance, change of PCDP@0.05 (points)", fontsize=10)
        axes.margins(0.12)
        figure.legend(loc="outside upper center", ncols=2, fontsize=9.5)
        return to_svg(figure, f"Change of equivariance against change of semantic transfer. {_words(marks)}")


def _mark(entry: Mapping[str, Any]) -> tuple[float, Mapping[str, Any], Mapping[str, Any]] | None:
    x = entry["difference"]["transfer"].get("pck@0.10", {"value": None})
    y = entry["difference"]["equivariance"]["pcdp@0.05"]
    return None if x["value"] is None or y["value"] is None else (entry["strength"], x, y)


def _point(axes: Axes, x: Mapping[str, Any], y: Mapping[str, Any], strength: float, colour: str) -> None:
    style: dict[str, Any] = {"color": colour, "lw": 1.3, "alpha": 0.6, "solid_capstyle": "butt"}
    if x["ci95"]:
        axes.plot(x["ci95"], [y["value"]] * 2, **style)
    if y["ci95"]:
        axes.plot([x["value"]] * 2, y["ci95"], **style)
    axes.plot(x["value"], y["value"], ls="", marker="D" if colour == CHOSEN else "o", color=colour, ms=8)
    place: dict[str, Any] = {"xytext": (7, 6), "textcoords": "offset points", "fontsize": 10.5}
    axes.annotate(f"{strength:g}", (x["value"], y["value"]), **place)


def _words(marks: Sequence[tuple[float, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    parts = (f"strength {strength:g}: {x['value']:+.1f} and {y['value']:+.1f}" for strength, x, y in marks)
    return f"Points of transfer and of equivariance: {'; '.join(parts)}."


def drift_figure(entries: Entries) -> Chart:
    """Draw cosine, CKA and neighbour agreement along the strengths, with chance for the last."""
    strengths = [entry["strength"] for entry in entries]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 4.4), layout="constrained")
        axes = figure.subplots()
        for name, (label, colour, marker) in DRIFT.items():
            known = [(s, e["drift"][name]) for s, e in zip(strengths, entries, strict=True)]
            known = [(s, part) for s, part in known if part["value"] is not None]
            x, y = [s for s, _ in known], [part["value"] for _, part in known]
            axes.plot(x, y, color=colour, marker=marker, lw=2, ms=6, label=label)
            for s, part in known:
                if part["ci95"]:
                    axes.plot([s, s], part["ci95"], color=colour, lw=1.3, alpha=0.7)
        chance = entries[0]["drift"]["chance"]["value"]
        axes.axhline(chance, color=DRIFT["neighbours"][1], lw=1.2, ls=":", label="their chance")
        axes.set_ylim(min(0.0, *axes.get_ylim()), 1.04)
        axes.set_xticks(strengths, [f"{one:g}" for one in strengths])
        axes.set_xlabel("strength", fontsize=10)
        axes.set_ylabel("the same as at strength 0 (1 = unchanged)", fontsize=10)
        figure.legend(loc="outside upper center", ncols=2, fontsize=9.5)
        return to_svg(figure, "Drift on unlabeled images along the strengths; the numbers are in the table.")
