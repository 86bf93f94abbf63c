"""The page and the terminal's table of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table as TerminalTable

from ..jobs.study.points import PointSet
from ..jobs.study.words import LABELS
from . import numbers
from .boxes import Cell, Lead, Row, Table, number_cell
from .figures import Chart
from .shell import counted, render_page, write_page
from .study_figures import family_styles, legend_figure, overview_figure, scatter_figure

STYLES = {"together": "up", "opposed": "down", "reversed": "down"}
COLUMNS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "partial_spearman": "Spearman\nwithin",
    "partial_pearson": "Pearson\nwithin",
}


SECTIONS = {"overview": "All relations", "figures": "Figures", "points": "Points", "protocol": "Protocol"}


def write_study_page(result: Mapping[str, Any], points: PointSet, path: Path) -> Path:
    """Write the page of a study: one file, nothing fetched from anywhere.

    Returns:
        The page.

    Raises:
        EquiviewError: It cannot be written.
    """
    return write_page(path, render_study(result, points))


def render_study(result: Mapping[str, Any], points: PointSet) -> str:
    """Return the page's text."""
    relations, cluster = result["relations"], result["protocol"]["cluster"]
    styles = family_styles(points.groups(cluster))
    families = counted(len(result["families"]), "family", "families")
    notes = [*result["notes"], *(f"Not related, too few points in common: {line}." for line in result["skipped"])]
    return render_page(
        "study.html.j2",
        SECTIONS,
        title="equiview: study",
        headline="How equivariance and the tasks relate",
        subtitle=f"{counted(result['points'], 'point')} of {families} \u00b7 {counted(len(relations), 'relation')}",
        lead=Lead("plain", "Result", result["lead"], notes),
        overview=overview_figure(relations),
        table=_overview(relations),
        legend=legend_figure(styles),
        groups={
            name: [_figure(one, scatter_figure(points, one, styles, cluster)) for one in relations if one["x"] == name]
            for name in dict.fromkeys(one["x"] for one in relations)
        },
        sources=result["sources"],
        families=", ".join(f"{name} ({count})" for name, count in result["families"].items()),
        point_table=_points(relations, points),
        record=result["protocol"],
    )


def _overview(relations: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[Row] = []
    for name in dict.fromkeys(one["x"] for one in relations):
        rows.append(Row(Cell(name), style="ours"))
        # A long name is broken after its slashes; the other cells have several lines too.
        own = [one for one in relations if one["x"] == name]
        rows += [Row(Cell(one["y"].replace("/", "/\n")), _cells(one)) for one in own]
    columns = ["With", "Reading", "n", *COLUMNS.values(), "One family\nout"]
    return Table("All relations", columns, rows, ["Reading"])


def _cells(relation: Mapping[str, Any]) -> list[Cell]:
    left = relation["leave_one_family_out"]["spearman"]
    ends = [numbers.DASH] if left is None else [numbers.typeset(numbers.signed(left[key])) for key in ("low", "high")]
    return [
        Cell(LABELS[relation["verdict"]], style="words"),
        Cell(str(relation["n"]), [counted(relation["n_families"], "family", "families")]),
        *(_value(relation[name]) for name in COLUMNS),
        Cell("\n".join(ends)),
    ]


def _value(entry: Mapping[str, Any]) -> Cell:
    own, alone = (numbers.interval(entry[key], sign=True) for key in ("ci95", "ci95_points"))
    return number_cell(entry["value"], [own, f"({alone})" if alone else ""], sign=True)


def _figure(relation: Mapping[str, Any], chart: Chart) -> dict[str, object]:
    """Return a figure of one score against another with its reading."""
    verdict = relation["verdict"]
    return {
        "title": f"{relation['x']} | {relation['y']}",
        "chart": chart,
        "verdict": LABELS[verdict],
        "style": STYLES.get(verdict, ""),
        "words": " ".join(relation["words"]),
    }


def _points(relations: Sequence[Mapping[str, Any]], points: PointSet) -> Table:
    names = list(dict.fromkeys(one[key] for one in relations for key in ("x", "y")))
    rows = [
        Row(Cell(one.name), [Cell(one.family), *(Cell(numbers.number(one.scores.get(name))) for name in names)])
        for one in points.points
    ]
    return Table("Points", ["Point", "Family", *names], rows)


def study_table(result: Mapping[str, Any]) -> TerminalTable:
    """Return the terminal's table: a row for each relation, below the score they share."""
    table = TerminalTable(title="Spearman's correlation, better with better", title_justify="left", title_style="bold")
    table.add_column("scores", overflow="fold")
    for name in ("n", "all points", "within", "one family out"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reading")
    last = None
    for one in result["relations"]:
        if one["x"] != last:
            table.add_row(f"[bold]{escape(one['x'])}[/bold]", end_section=False)
        left = one["leave_one_family_out"]["spearman"]
        span = numbers.DASH if left is None else numbers.interval((left["low"], left["high"]), sign=True)
        cells = (_terminal_cell(one[name]) for name in ("spearman", "partial_spearman"))
        table.add_row(
            f"  {escape(one['y'])}", f"{one['n']} in {one['n_families']}", *cells, span, LABELS[one["verdict"]]
        )
        last = one["x"]
    return table


def _terminal_cell(entry: Mapping[str, Any]) -> str:
    value = numbers.signed(entry["value"])
    own = numbers.interval(entry["ci95"], sign=True)
    return f"{value}\n[dim]{own}[/dim]" if own else value
