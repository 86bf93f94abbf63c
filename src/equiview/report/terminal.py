"""What commands print of their results."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from rich.table import Table
from rich.text import Text

from ..records import CaptureRecord, EpipolarSummary, Summary
from .numbers import ceiling_words, interval, number

if TYPE_CHECKING:
    from ..jobs.doctor import Finding

COLORS = {"ok": "green", "missing": "yellow", "broken": "bold red"}


def findings_table(findings: Sequence["Finding"]) -> Table:
    """Return the findings as a table: what is there, and below it what it would take."""
    rows = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for one in findings:
        words = Text(one.found)
        if one.advice:
            words.append(f"\n{one.advice}", style="dim")
        rows.add_row(Text(one.status, style=COLORS[one.status]), one.part, words)
    return rows


def capture_table(about: CaptureRecord) -> Table:
    """Return what is known of a capture, the verdict last."""
    statistics = about["statistics"]
    table = Table(box=None, show_header=False, pad_edge=False)
    registered = f"{statistics['images_registered']} of {statistics['images_given']}"
    rows = [("images with a camera" if about["poses"] == "recovered" else "images (poses given)", registered)]
    rows += [("points", str(statistics["points"])), ("observations", str(statistics["observations"]))]
    if statistics["points"]:
        rows.append(("images that see a point", f"{statistics['mean_track_length']:.2f} on average"))
        rows.append(("median reprojection error", f"{statistics['median_error_px']:.3f} px"))
        rows.append(("median ray angle of a point", f"{statistics['median_angle_deg']:.1f} degrees"))
        rows.append(("circle around it seen", f"{100 * statistics['circle_seen']:.0f} %"))
    if statistics["matches_fitting"] is not None:
        rows.append(("matches that fit the poses", f"{100 * statistics['matches_fitting']:.0f} %"))
    compared = about.get("compared_with_given")
    if compared:
        rotation = (compared["rotation_error_deg_median"], compared["rotation_error_deg_max"])
        position = (compared["position_error_percent_median"], compared["position_error_percent_max"])
        rows.append(("rotation against given poses", "median {:.3f}, largest {:.3f} degrees".format(*rotation)))
        rows.append(("position against given poses", "median {:.3f}, largest {:.3f} % of the scene".format(*position)))
    rows.append(("verdict", about["verdict"]["grade"]))
    for name, value in rows:
        table.add_row(name, value)
    return table


def capture_words(about: CaptureRecord) -> str | None:
    """Return why a capture got its verdict, and what to do better."""
    verdict = about["verdict"]
    lines = [*verdict["reasons"], *(f"Next time: {advice}" for advice in verdict["advice"])]
    return "\n".join([*about.get("notes", []), *lines]) or None


def epipolar_table(summary: EpipolarSummary) -> Table:
    """Return the shares within each distance, with chance beside them."""
    table = Table(title="Mutual matches near their epipolar line, percent", title_justify="left")
    for title in ("within", "share", "chance", "above chance", "95 % over pairs", "pairs"):
        table.add_column(title, justify="right")
    for key, entry in summary["metrics"].items():
        name, _, within = key.partition("@")
        if name == "epipolar_inliers":
            chance, above = (summary["metrics"][f"epipolar_{kind}@{within}"] for kind in ("chance", "above_chance"))
            values = (number(one["value"], 1) for one in (entry, chance, above))
            table.add_row(within, *values, interval(above["ci95"], 1), str(entry["n"]))
    return table


def scores_words(summary: Summary) -> str:
    """Return the scores as lines of text."""
    lines = []
    for name, metric in summary["metrics"].items():
        if metric["value"] is not None:
            low_high = "" if metric["ci95"] is None else " (95 %: {:.3f} to {:.3f})".format(*metric["ci95"])
            most = f"  ({words})" if (words := ceiling_words(metric, 3)) else ""
            lines.append(f"{name:20s} {metric['value']:8.3f}{low_high}  n = {metric['n']}{most}")
    return "\n".join(lines)


def tracks_words(visible: Bool[np.ndarray, "n t"], hw: tuple[int, int]) -> str:
    """Return what was tracked, and how much of it is seen."""
    points, frames = visible.shape
    seen = f"{100 * float(visible.mean()):.0f} % of {visible.size} positions are believed visible."
    return f"{points} points through {frames} frames of {hw[1]}x{hw[0]} pixels. {seen}"


def data_table(sets: Sequence[Mapping[str, Any]]) -> Table:
    """Return data sets with what each is, its terms or, where it was looked for, where it lies."""
    table = Table(title="Data sets", title_justify="left")
    columns = ("name", "use", "what", "found" if "found" in sets[0] else "terms")
    for name in columns:
        table.add_column(name, no_wrap=name == "name")
    for one in sets:
        table.add_row(*(Text(str(one[name])) for name in columns))
    return table


def data_words(about: Mapping[str, Any]) -> Table:
    """Return what is known of one data set, a line a fact."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in about.items():
        words = ", ".join(value) if isinstance(value, list) else "read one after the other" if value is None else value
        table.add_row(name, Text(str(words)))
    return table


def protocols_words(listed: Sequence[Mapping[str, Any]]) -> str:
    """Return every protocol and data set with its settings."""
    lines = []
    for one in listed:
        of_backbones = f"; published for {', '.join(one['published'])}" if one["published"] else ""
        lines.append(f"{one['protocol']}  {one['data_set']}{of_backbones}\n    {one['settings']}")
    return "\n".join(lines)


def protocol_table(one: Mapping[str, Any]) -> Table:
    """Return the published scores of a protocol on a data set, a row a backbone."""
    title = f"{one['protocol']}, {one['data_set']}: {one['source']}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    metrics = list(dict.fromkeys(name for scores in one["published"].values() for name in scores))
    table.add_column("backbone", no_wrap=True)
    for name in metrics:
        table.add_column(name.replace("@", " @"), justify="right")
    for backbone, scores in one["published"].items():
        table.add_row(backbone, *(number(scores.get(name), 2) for name in metrics))
    return table
