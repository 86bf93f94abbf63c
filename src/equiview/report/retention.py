"""The page and the terminal's table of a retention report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from .. import __version__
from ..io import atomic_path
from . import numbers
from .boxes import broken, fold, pretty, result_box, scroll_table
from .html import Html, h, join, typeset
from .page import backbone_title, page_head
from .retention_figures import drift_figure, trade_off_figure
from .words import Verdict

# Task, metric, column, digits, and what a share is multiplied by.
SCORES = (
    ("equivariance", "pcdp@0.05", "PCDP@0.05", 1),
    ("equivariance", "ape", "APE", 2),
    ("transfer", "pck@0.05", "PCK@0.05", 1),
    ("transfer", "pck@0.10", "PCK@0.10", 1),
    ("tracking", "average_jaccard", "Average|Jaccard", 1),
    ("tracking", "delta_avg", "delta_avg", 1),
)
DRIFT = (("cosine", "Cosine"), ("cka", "CKA"), ("neighbours", "Neighbours|that stay"), ("chance", "Chance"))
VERDICTS: dict[str, Verdict] = {"keeps": "good", "loses": "bad", "unclear": "unclear", "not measured": "plain"}
WORDS = {
    "keeps": "Keeps transfer",
    "loses": "Loses transfer",
    "unclear": "Not shown either way",
    "not measured": "Not measured",
}
READING = {
    "Strength": "0 is the same features without what was learned (averaging and centring stay), 1 the adapter as it "
    "was made, between them a part of the way.",
    "Change": "paired with strength 0: the same objects, source pictures and clips; small, the 95 % interval over them "
    "(none for fewer than 5).",
    "Equivariance": "PCDP@0.05, the share of surface points found again within 5 % of the image edge in another view "
    "(higher is better), and APE, the mean error in % of that edge (lower is better).",
    "Transfer": "PCK@a, the share of key points found within a share a of the data set's usual length in another "
    "picture of the same kind of thing.",
    "Tracking": "TAP-Vid's scores, percent.",
    "Cosine": "of the same token at strength 0 and at this one, mean over tokens and pictures.",
    "CKA": "linear centred kernel alignment over all tokens, 1 when the features differ by a rotation and a scale.",
    "Neighbours that stay": "share of tokens whose nearest token in the next picture is the same, or one beside it, "
    "as at strength 0.",
}


def write_retention_page(result: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a retention report: one file, nothing fetched from anywhere.

    Returns:
        The page.

    Raises:
        EquiviewError: It cannot be written.
    """
    text = render_retention(result)
    with atomic_path(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def render_retention(result: Mapping[str, Any]) -> str:
    """Return the page's text."""
    parts = {"Trade-off": _figures(result), "Scores": _scores(result), "Drift": _drift(result)}
    parts["How to read this"] = h("dl", *(join(h("dt", k), h("dd", v)) for k, v in READING.items()))
    parts["Protocol"] = _protocol(result["protocol"])
    ids = {name: name.lower().replace(" ", "-") for name in parts}
    links = h("ul", *(h("li", h("a", name, href=f"#{ids[name]}")) for name in parts))
    backbone = str(result["protocol"]["features"]["backbone"])
    header = h(
        "header",
        h("a", "Skip to the result", href="#main", class_="skip"),
        h("h1", f"What the adapter costs elsewhere: {backbone_title(backbone)}"),
        h("p", _subtitle(result), class_="sub"),
        h("nav", links, aria_label="Sections"),
    )
    sections = [h("section", h("h2", name), content, id=ids[name]) for name, content in parts.items()]
    main = h("main", _lead(result), *sections, id="main")
    footer = h("footer", f"Written by equiview {__version__}; no model was run to make it.")
    document = h("html", page_head("equiview: retention"), h("body", header, main, footer), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _subtitle(result: Mapping[str, Any]) -> str:
    data = result["protocol"]["data"]
    return (
        f"{len(result['strengths'])} strengths \u00b7 {len(data['photos'])} ordinary pictures \u00b7 "
        f"{len(data['objects'])} objects \u00b7 {data['pairs']} \u00b7 {data['clips']}"
    )


def _lead(result: Mapping[str, Any]) -> Html:
    reading = result["reading"]
    best = reading["recommended"]
    own = "not measured" if best is None else "loses" if best == 0 else reading["verdicts"][f"{best:g}"]
    label = "No recommendation" if best is None else f"Recommended strength {best:g}"
    return result_box(VERDICTS[own], label, reading["lead"], _notes(result))


def _notes(result: Mapping[str, Any]) -> list[str]:
    seen = result["protocol"]["trained_on"]
    found = [f"The adapter was trained on {', '.join(seen)}: its equivariance there is no proof."] if seen else []
    for task, reasons in result["strengths"][-1]["failed"].items():
        found += [f"{task}: {count} not scored, {reason}." for reason, count in reasons.items()]
    return found


def _figures(result: Mapping[str, Any]) -> Html:
    entries, reading = result["strengths"], result["reading"]
    drawing = trade_off_figure(entries, reading)
    missing = h("p", "Fewer than two strengths have both scores, so there is nothing to draw.", class_="hint")
    caption = (
        "Each point is a strength, with the 95 % intervals of both changes. Up is better across views, left of the "
        "dashed line more of semantic transfer is lost than was to be lost."
    )
    left = missing if drawing is None else h("figure", drawing, h("figcaption", caption))
    right = h("figure", drift_figure(entries), h("figcaption", "How far the features move on ordinary pictures."))
    return h("div", left, right, class_="two")


def _scores(result: Mapping[str, Any]) -> Html:
    titles = ["Strength", "Transfer", *(title for _, _, title, _ in SCORES)]
    header = h("tr", *(h("th", broken(title), scope="col") for title in titles))
    verdicts, best = result["reading"]["verdicts"], result["reading"]["recommended"]
    notes = [("recommended", best), ("as saved", result["protocol"].get("saved_strength"))]
    body = []
    for entry in result["strengths"]:
        name = f"{entry['strength']:g}"
        own = "not measured" if entry["strength"] == 0 else verdicts[name]
        words = "the reference" if entry["strength"] == 0 else WORDS[own]
        colour = {"keeps": "up", "loses": "down"}.get(own)
        mark = [part for note, at in notes if entry["strength"] == at for part in (h("br"), h("small", note))]
        first = h("th", name, *mark, scope="row")
        cells = [_cell(entry, *score) for score in SCORES]
        chosen = "ours" if entry["strength"] == best else None
        body.append(h("tr", first, h("td", words, class_=f"words {colour or ''}".strip()), *cells, class_=chosen))
    hint = "Below each score: the change from strength 0, and its 95 % interval."
    return join(scroll_table("Scores by strength", [header], body), h("p", hint, class_="hint"))


def _cell(entry: Mapping[str, Any], task: str, metric: str, title: str, digits: int) -> Html:
    value = h("b", typeset(numbers.number(entry[task][metric]["value"], digits)))
    change = entry["difference"][task].get(metric)
    if entry["strength"] == 0 or change is None or change["value"] is None:
        return h("td", value)
    interval = numbers.interval(change["ci95"], digits, sign=True)
    return h(
        "td",
        value,
        h("small", typeset(numbers.signed(change["value"], digits))),
        h("small", typeset(interval)) if interval else None,
    )


def _drift(result: Mapping[str, Any]) -> Html:
    header = h("tr", *(h("th", broken(title), scope="col") for title in ("Strength", *(t for _, t in DRIFT))))
    body = []
    for entry in result["strengths"]:
        cells = []
        for name, _ in DRIFT:
            own = entry["drift"][name]
            interval = "" if name == "chance" else numbers.interval(own["ci95"], 3)
            small = h("small", typeset(interval)) if interval else None
            cells.append(h("td", typeset(numbers.number(own["value"], 3)), small))
        body.append(h("tr", h("th", f"{entry['strength']:g}", scope="row"), *cells))
    photos = result["protocol"]["retention"]["photos"]
    what = "pictures drawn for this" if photos is None else f"photos of {Path(photos).name}"
    return join(
        scroll_table("Drift on ordinary pictures", [header], body),
        h("p", f"On {what}; 1 means unchanged. Small: the 95 % interval over pictures.", class_="hint"),
    )


def _protocol(protocol: Mapping[str, Any]) -> Html:
    data = protocol["data"]
    facts = {
        "Backbone": protocol["features"]["backbone"],
        "Objects": ", ".join(data["objects"]),
        "Transfer": data["pairs"],
        "Tracking": data["clips"],
        "Long side, px": protocol["features"]["long_side"],
        "Device": protocol["device"],
    }
    short = h("dl", *(join(h("dt", k), h("dd", str(v))) for k, v in facts.items()))
    return join(short, fold("The whole protocol", pretty(protocol)))


def retention_table(result: Mapping[str, Any]) -> Table:
    """Return the terminal's table: a row for each strength, changes from strength 0 behind the scores."""
    table = Table(title="Scores by strength", title_justify="left", title_style="bold")
    table.add_column("strength", justify="right")
    for name in ("cosine", "CKA", "neighbours", "PCDP@0.05", "PCK@0.10", "avg. Jaccard"):
        table.add_column(name, justify="right", no_wrap=True)
    best = result["reading"]["recommended"]
    for entry in result["strengths"]:
        mark = " *" if entry["strength"] == best else ""
        drift = [numbers.number(entry["drift"][name]["value"]) for name in ("cosine", "cka", "neighbours")]
        scores = [
            _score(entry, task, metric)
            for task, metric in (
                ("equivariance", "pcdp@0.05"),
                ("transfer", "pck@0.10"),
                ("tracking", "average_jaccard"),
            )
        ]
        table.add_row(f"{entry['strength']:g}{mark}", *drift, *scores)
    return table


def _score(entry: Mapping[str, Any], task: str, metric: str) -> str:
    value = numbers.number(entry[task][metric]["value"], 1)
    change = entry["difference"][task].get(metric, {"value": None})["value"]
    return value if entry["strength"] == 0 or change is None else f"{value} ({numbers.signed(change, 1)})"
