"""The page and the terminal's table of a retention report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable

from . import numbers
from .boxes import Cell, Lead, Row, Table, number_cell
from .retention_figures import drift_figure, trade_off_figure
from .shell import backbone_title, counted, render_page, write_page
from .words import Verdict

# Task, metric, column, digits.
SCORES = (
    ("equivariance", "pcdp@0.05", "PCDP@0.05", 1),
    ("equivariance", "ape", "APE", 2),
    ("transfer", "pck@0.05", "PCK@0.05", 1),
    ("transfer", "pck@0.10", "PCK@0.10", 1),
    ("tracking", "average_jaccard", "Average\nJaccard", 1),
    ("tracking", "delta_avg", "delta_avg", 1),
)
DRIFT = (("cosine", "Cosine"), ("cka", "CKA"), ("neighbours", "Neighbours\nthat stay"), ("chance", "Chance"))
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
    "Transfer": "PCK@a, the share of key points found within a share a of the data set's usual length in a picture of "
    "another object of the category.",
    "Tracking": "TAP-Vid's scores, percent.",
    "Cosine": "of the same token at strength 0 and at this one, mean over tokens and images.",
    "CKA": "linear centred kernel alignment over all tokens, 1 when the features differ by a rotation and a scale.",
    "Neighbours that stay": "share of tokens whose nearest token in the next image is the same, or one beside it, "
    "as at strength 0.",
}


SECTIONS = {
    "trade_off": "Trade-off",
    "scores": "Scores",
    "drift": "Drift",
    "how_to_read_this": "How to read this",
    "protocol": "Protocol",
}


def write_retention_page(result: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a retention report: one file, nothing fetched from anywhere.

    Returns:
        The page.

    Raises:
        EquiviewError: It cannot be written.
    """
    return write_page(path, render_retention(result))


def render_retention(result: Mapping[str, Any]) -> str:
    """Return the page's text."""
    protocol, entries = result["protocol"], result["strengths"]
    photos = protocol["retention"]["photos"]
    return render_page(
        "retention.html.j2",
        SECTIONS,
        title="equiview: retention",
        headline=f"What the adapter costs elsewhere: {backbone_title(str(protocol['features']['backbone']))}",
        subtitle=_subtitle(result),
        lead=_lead(result),
        trade_off=trade_off_figure(entries, result["reading"]),
        drift_chart=drift_figure(entries),
        scores=_scores(result),
        drift=_drift(entries),
        images="images drawn for this" if photos is None else f"photos of {Path(photos).name}",
        reading=READING,
        facts=_facts(protocol),
        record=protocol,
    )


def _subtitle(result: Mapping[str, Any]) -> str:
    data = result["protocol"]["data"]
    counts = (
        (len(result["strengths"]), "strength"),
        (len(data["photos"]), "unlabeled image"),
        (len(data["objects"]), "object"),
    )
    return " \u00b7 ".join([*(counted(*one) for one in counts), data["pairs"], data["clips"]])


def _lead(result: Mapping[str, Any]) -> Lead:
    reading = result["reading"]
    best = reading["recommended"]
    verdict = "not measured" if best is None else "loses" if best == 0 else reading["verdicts"][f"{best:g}"]
    label = "No recommendation" if best is None else f"Recommended strength {best:g}"
    return Lead(VERDICTS[verdict], label, reading["lead"], _notes(result))


def _notes(result: Mapping[str, Any]) -> list[str]:
    seen = result["protocol"]["trained_on"]
    found = [f"The adapter was trained on {', '.join(seen)}: its equivariance there proves nothing."] if seen else []
    for task, reasons in result["strengths"][-1]["failed"].items():
        found += [f"{task}: {count} not scored, {reason}." for reason, count in reasons.items()]
    return found


def _scores(result: Mapping[str, Any]) -> Table:
    verdicts, best = result["reading"]["verdicts"], result["reading"]["recommended"]
    notes = [("recommended", best), ("as saved", result["protocol"].get("saved_strength"))]
    rows = []
    for entry in result["strengths"]:
        strength = entry["strength"]
        verdict = "not measured" if strength == 0 else verdicts[f"{strength:g}"]
        words = "the reference" if strength == 0 else WORDS[verdict]
        style = f"words { ({'keeps': 'up', 'loses': 'down'}.get(verdict, '')) }".strip()
        name = Cell(f"{strength:g}", [note for note, at in notes if strength == at])
        cells = [Cell(words, style=style), *(_cell(entry, *score) for score in SCORES)]
        rows.append(Row(name, cells, "ours" if strength == best else ""))
    return Table(
        "Scores by strength", ["Strength", "Verdict", *(title for _, _, title, _ in SCORES)], rows, ["Verdict"]
    )


def _cell(entry: Mapping[str, Any], task: str, metric: str, title: str, digits: int) -> Cell:
    value, change = entry[task][metric]["value"], entry["difference"][task].get(metric)
    if entry["strength"] == 0 or change is None or change["value"] is None:
        return number_cell(value, digits=digits, bold=True)
    small = [numbers.signed(change["value"], digits), numbers.interval(change["ci95"], digits, sign=True)]
    return number_cell(value, small, digits=digits, bold=True)


def _drift(entries: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for entry in entries:
        parts = [(name, entry["drift"][name]) for name, _ in DRIFT]
        cells = [
            number_cell(part["value"], ["" if name == "chance" else numbers.interval(part["ci95"], 3)], digits=3)
            for name, part in parts
        ]
        rows.append(Row(Cell(f"{entry['strength']:g}"), cells))
    return Table("Drift on unlabeled images", ["Strength", *(title for _, title in DRIFT)], rows)


def _facts(protocol: Mapping[str, Any]) -> dict[str, str]:
    data = protocol["data"]
    return {
        "Backbone": str(protocol["features"]["backbone"]),
        "Objects": ", ".join(data["objects"]),
        "Transfer": str(data["pairs"]),
        "Tracking": str(data["clips"]),
        "Long side, px": str(protocol["features"]["long_side"]),
        "Device": str(protocol["device"]),
    }


def retention_table(result: Mapping[str, Any]) -> TerminalTable:
    """Return the terminal's table: a row for each strength, changes from strength 0 behind the scores."""
    table = TerminalTable(title="Scores by strength", title_justify="left", title_style="bold")
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
