"""The page and the terminal's table of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from .. import __version__
from ..io import atomic_path
from ..jobs.study import PointSet
from ..jobs.study.words import LABELS
from . import numbers
from .boxes import broken, fold, pretty, result_box, scroll_table
from .html import Html, h, join, typeset
from .page import page_head
from .study_figures import family_styles, legend_figure, overview_figure, scatter_figure

CLASSES = {
    **{"together": "good", "opposed": "bad", "reversed": "bad", "between families": "unclear", "fragile": "unclear"},
    **{"not shown": "plain", "too few": "unclear", "undefined": "plain"},
}
COLUMNS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "partial_spearman": "Spearman|within",
    "partial_pearson": "Pearson|within",
}


def write_study_page(result: Mapping[str, Any], points: PointSet, path: Path) -> Path:
    """Write the page of a study: one file, nothing fetched from anywhere.

    Returns:
        The page.

    Raises:
        EquiviewError: It cannot be written.
    """
    text = render_study(result, points)
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def render_study(result: Mapping[str, Any], points: PointSet) -> str:
    """Return the page's text."""
    relations = result["relations"]
    parts: dict[str, Html] = {"All relations": _overview(result)}
    for name in dict.fromkeys(relation["x"] for relation in relations):
        parts[name] = _relations(result, points, name)
    parts |= {"Points": _points(result, points), "Protocol": pretty(result["protocol"])}
    ids = {name: f"part-{number}" for number, name in enumerate(parts)}
    links = h("ul", *(h("li", h("a", name, href=f"#{ids[name]}")) for name in parts))
    subtitle = f"{result['points']} points of {len(result['families'])} families \u00b7 {len(relations)} relations"
    header = h(
        "header",
        h("a", "Skip to the result", href="#main", class_="skip"),
        h("h1", "How equivariance and the tasks relate"),
        h("p", subtitle, class_="sub"),
        h("nav", links, aria_label="Sections"),
    )
    sections = [h("section", h("h2", name), content, id=ids[name]) for name, content in parts.items()]
    main = h("main", _lead(result), *sections, id="main")
    footer = h("footer", f"Written by equiview {__version__}; no model was run to make it.")
    document = h("html", page_head("equiview: study"), h("body", header, main, footer), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _lead(result: Mapping[str, Any]) -> Html:
    notes = [*result["notes"], *(f"Not related, too few points in common: {line}." for line in result["skipped"])]
    return result_box("plain", "Result", result["lead"], notes)


def _overview(result: Mapping[str, Any]) -> Html:
    relations = result["relations"]
    names = ("With", "Reading", "n", *COLUMNS.values(), "One family|out")
    beside = {"Reading": "words"}
    header = h("tr", *(h("th", broken(name), scope="col", class_=beside.get(name)) for name in names))
    body: list[Html] = []
    for name in dict.fromkeys(one["x"] for one in relations):
        body.append(h("tr", h("th", h("b", name), colspan=len(names), scope="rowgroup"), class_="ours"))
        # The other cells have several lines too.
        body += [
            h("tr", h("th", broken(one["y"].replace("/", "/|")), scope="row"), *_cells(one))
            for one in relations
            if one["x"] == name
        ]
    hint = (
        "Within: given the family. Small below a value: the 95 % interval with families drawn whole; in brackets, with "
        "points drawn as if independent, which is about these very families only."
    )
    return join(
        h("figure", overview_figure(relations)),
        scroll_table("All relations", [header], body),
        h("p", hint, class_="hint"),
    )


def _cells(relation: Mapping[str, Any]) -> list[Html]:
    left = relation["leave_one_family_out"]["spearman"]
    ends = [numbers.DASH] if left is None else [typeset(numbers.signed(left[key])) for key in ("low", "high")]
    return [
        h("td", LABELS[relation["verdict"]], class_="words"),
        h("td", relation["n"], h("small", f"{relation['n_families']} families")),
        *(_value(relation[name]) for name in COLUMNS),
        h("td", *[part for end in ends for part in (h("br"), end)][1:]),
    ]


def _value(entry: Mapping[str, Any]) -> Html:
    own, alone = (typeset(numbers.interval(entry[key], sign=True)) for key in ("ci95", "ci95_points"))
    return h(
        "td",
        typeset(numbers.signed(entry["value"])),
        h("small", own) if own else None,
        h("small", f"({alone})") if alone else None,
    )


def _relations(result: Mapping[str, Any], points: PointSet, name: str) -> Html:
    """Return the figures of one score against all others, each with its reading."""
    cluster = result["protocol"]["cluster"]
    styles = family_styles(points.groups(cluster))
    figures = [
        h(
            "figure",
            h("h4", f"{one['x']} | {one['y']}"),
            scatter_figure(points, one, styles, cluster),
            h("figcaption", h("b", f"{LABELS[one['verdict']]}. ", class_=_text_class(one)), _caption(one)),
        )
        for one in result["relations"]
        if one["x"] == name
    ]
    hint = h("p", "Thin lines: the fit within each family of several points.", class_="hint")
    return join(h("figure", legend_figure(styles)), hint, h("div", *figures, class_="two"))


def _text_class(relation: Mapping[str, Any]) -> str | None:
    return {"good": "up", "bad": "down"}.get(CLASSES[relation["verdict"]])


def _caption(relation: Mapping[str, Any]) -> str:
    return typeset(" ".join(relation["words"]))


def _points(result: Mapping[str, Any], points: PointSet) -> Html:
    counts = ", ".join(f"{name} ({count})" for name, count in result["families"].items())
    names = list(dict.fromkeys(one[key] for one in result["relations"] for key in ("x", "y")))
    header = h("tr", *(h("th", name, scope="col") for name in ("Point", "Family", *names)))
    body = [
        h(
            "tr",
            h("th", point.name, scope="row"),
            h("td", point.family),
            *(h("td", numbers.number(point.scores.get(name))) for name in names),
        )
        for point in points.points
    ]
    sources = h("ul", *(h("li", source) for source in result["sources"]))
    table = scroll_table("Points", [header], body)
    return join(h("p", "Sources:"), sources, h("p", f"Families: {counts}."), fold("All points", table))


def study_table(result: Mapping[str, Any]) -> Table:
    """Return the terminal's table: a row for each relation, below the score they share."""
    table = Table(title="Spearman's correlation, better with better", title_justify="left", title_style="bold")
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
