"""The page of a bench, from its files alone: scores with intervals, best and worst samples, what was missing."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from rich.markup import escape
from rich.table import Table as TerminalTable

from ..errors import bad_input
from ..io import file_name, read_json
from ..metrics.rows import check_summary, is_bench
from ..records import BenchSummary, Metric
from . import numbers
from .boxes import Cell, Lead, Row, Table, number_cell
from .drawing import data_uri
from .shell import backbone_title, counted, render_page, write_page

TASK_WORDS = {
    "pose": ("One-shot pose", "Queries located against posed references of the same object."),
    "track": ("Point tracking", "Points followed through clips whose true tracks are known."),
    "transfer": (
        "Semantic transfer",
        "Key points of one picture found in a picture of another object of the category.",
    ),
    "recall": ("Viewpoint recall", "Surface points of one posed view matched with those of another."),
}
UNITS = {
    "pose": "Recalls are percent of all queries, failures included; medians are over queries, a failure is infinite.",
    "track": "average_jaccard, delta_avg and occlusion_accuracy in percent at 256 x 256 px; share_under_8px from 0 to "
    "1 at 256 px height, visible positions only.",
    "transfer": "pck@a is the percentage of key points within a share a of the length the data set's usual score has.",
    "recall": "recall@T is the percentage of the kept matches that end within T of their point, in space (cm) or in "
    "the second picture (px); @A-Bdeg: of pairs whose cameras are rotated by so much.",
}
HEADLINE = {
    "pose": ("pose_recall@5deg", "{} % of queries located within 5\u00b0"),
    "track": ("share_under_8px", "{} of the visible positions (1 is all) found within 8 px"),
    "transfer": ("pck@0.10", "{} % of key points found (PCK@0.10)"),
    "recall": ("recall@2cm", "{} % of matches within 2 cm"),
}
MARKS = {
    "pose": "Left the nearest reference, right the query with the object's points (or its box) at the true and at the "
    "found pose.",
    "track": "Left the point in its own frame, right the frame where it was furthest off.",
    "transfer": "A line leads from a wrong point to its true place.",
    "recall": "Lines join matches.",
}
COLOURS = "Blue is the truth, green a right prediction, red a wrong one."
# Scores a terminal has room for; the page has all.
HEADLINES = {
    "pose": ("located", "pose_recall@5deg", "pose_recall@10deg", "pose_recall@5cm5deg", "rotation_error_deg_median"),
    "track": ("average_jaccard", "delta_avg", "occlusion_accuracy", "share_under_8px", "delta@1px", "delta@2px"),
    "transfer": ("pck@0.05", "pck@0.10", "pck@0.15", "pck@0.01", "pck@0.03"),
    "recall": ("recall@1cm", "recall@2cm", "recall@5cm", "recall@10px"),
}
Entries = Iterator[tuple[str, str, str, Metric]]


def read_bench(folder: str | Path) -> BenchSummary:
    """Return the summary of a bench.

    Raises:
        EquiviewError: There is none, or a metric is broken.
    """
    path = Path(folder) / "summary.json"
    if not is_bench(folder):
        fix = "Let the bench finish: the same command resumes it."
        raise bad_input(str(path), 'the summary of a bench ("tasks")', "none", fix)
    summary = read_json(path)
    check_summary(summary, str(path))
    for task, dataset, name, entry in entries(summary):
        if not isinstance(entry, dict) or not {"value", "ci95", "n"} <= entry.keys():
            where = f"{path}: {task} {dataset} {name}"
            raise bad_input(where, "value, ci95 and n", repr(entry)[:60], "Run the same command again.")
    return cast(BenchSummary, summary)


def entries(summary: BenchSummary) -> Entries:
    """Yield task, data set, metric and its entry."""
    for task, datasets in summary["tasks"].items():
        for dataset, metrics in datasets.items():
            for name, entry in metrics.items():
                yield task, dataset, name, entry


def digits_of(metric: str) -> int:
    """Return how many digits are written: shares from 0 to 1 need more."""
    return 3 if metric.startswith("share") else 1


def score_text(metric: str, entry: Metric) -> tuple[str, str]:
    """Return value and interval as text."""
    digits = digits_of(metric)
    return numbers.number(entry["value"], digits), numbers.interval(entry["ci95"], digits)


def published_value(summary: BenchSummary, task: str, dataset: str, metric: str) -> float | None:
    """Return what the authors of the bench's protocol report for a score; None where they report none."""
    found = summary.get("published")
    return None if found is None else found["scores"].get(task, {}).get(dataset, {}).get(metric)


def against_published(value: float | None, published: float | None, digits: int) -> str:
    """Return "(published value, difference)"; "" where either is missing."""
    if value is None or published is None:
        return ""
    return f"({numbers.number(published, digits)}, {value - published:+.{digits}f})"


def published_words(summary: BenchSummary) -> str:
    """Return whose numbers stand beside the scores; "" for a bench that follows no published protocol."""
    found = summary.get("published")
    if found is None:
        return ""
    if not found["scores"]:
        return f"Protocol {found['protocol']}: its authors report nothing for this backbone on these data sets."
    return f"In brackets: {found['backbone']} in {found['source']}, and the difference from it."


def bench_table(summary: BenchSummary) -> TerminalTable:
    """Return the terminal's table: the main scores of every data set."""
    table = TerminalTable(title="Scores", title_justify="left", title_style="bold")
    for name in ("task", "data set", "metric"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "95 % interval", "n", "token grid"):
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for task, dataset, metric, entry in entries(summary):
        if metric in HEADLINES[task] or metric.endswith("deg") and task == "recall":
            value, interval = score_text(metric, entry)
            grid = numbers.number(entry.get("ceiling"), digits_of(metric))
            beside = published_value(summary, task, dataset, metric)
            value = f"{value} {against_published(entry['value'], beside, digits_of(metric))}".rstrip()
            named = ("", "") if (task, dataset) == last else (task, dataset)
            table.add_row(*map(escape, named), metric, value, interval or numbers.DASH, str(entry["n"]), grid)
            last = (task, dataset)
    return table


def missing_words(summary: BenchSummary) -> str:
    """Return what was not measured, why, and how to get it; "" when nothing is missing."""
    lines = []
    for one in summary["missing"]:
        lines.append(f"not measured: {one['dataset']} ({one['task']}): {one['problem']}")
        lines.append(f"    get it from {one['where']}; it must lie as {one['layout']}")
    return "\n".join(lines)


def write_bench_report(folder: str | Path, out: Path | None = None) -> Path:
    """Write the page of a bench from the files in its folder.

    Returns:
        The page, report.html in the folder by default.

    Raises:
        EquiviewError: A file is missing or broken.
    """
    folder = Path(folder)
    text = render_bench(read_bench(folder), folder)
    return write_page(folder / "report.html" if out is None else out, text)


def render_bench(summary: BenchSummary, folder: Path) -> str:
    """Return the page's text."""
    backbone = str(summary["protocol"]["features"].get("backbone"))
    tasks = [task for task, datasets in summary["tasks"].items() if datasets]
    sections = {task: TASK_WORDS[task][0] for task in tasks}
    sections |= {"missing": "Not measured"} if summary["missing"] else {}
    count = counted(sum(len(summary["tasks"][task]) for task in tasks), "data set")
    suite = summary["protocol"]["bench"]["suite"]
    return render_page(
        "bench.html.j2",
        sections | {"protocol": "Protocol"},
        title=f"equiview: {folder.resolve().name}",
        headline=f"Bench: {backbone_title(backbone)}",
        subtitle=f"run {folder.resolve().name} \u00b7 {suite} suite \u00b7 {count}",
        lead=_lead(summary),
        tasks={task: _task(summary, task, folder) for task in tasks},
        not_measured=_missing(summary),
        record=summary["protocol"],
    )


def _lead(summary: BenchSummary) -> Lead:
    """The first score of every task in a sentence, and how many samples could not be scored."""
    lines = []
    for task, dataset, metric, entry in entries(summary):
        headline, words = HEADLINE[task]
        if metric == headline:
            value, interval = score_text(metric, entry)
            within = f", 95 % interval {interval}" if interval else ""
            lines.append(f"{TASK_WORDS[task][0]}, {dataset}: {words.format(value)}{within}.")
    bad = [
        f"{task} {dataset}: {count} not scored, {reason}"
        for task, datasets in summary["failed"].items()
        for dataset, reasons in datasets.items()
        for reason, count in reasons.items()
    ]
    failed = [f"Failures are counted: {'; '.join(bad)}."] if bad else []
    beside = [words] if (words := published_words(summary)) else []
    return Lead("plain", "Measured", [*lines, *failed, *beside], large=len(lines))


def _task(summary: BenchSummary, task: str, folder: Path) -> dict[str, object]:
    datasets = summary["tasks"][task]
    metrics = list(dict.fromkeys(name for found in datasets.values() for name in found))
    rows = [
        Row(
            Cell(name),
            [_cell(name, own.get(name), published_value(summary, task, one, name)) for one, own in datasets.items()],
        )
        for name in metrics
    ]
    title, words = TASK_WORDS[task]
    return {
        "words": f"{words} {UNITS[task]}",
        "table": Table(title, ["Score", *datasets], rows),
        "marks": f"{COLOURS} {MARKS[task]}",
        "examples": {name: _examples(folder / "pictures" / task / file_name(name)) for name in datasets},
    }


def _cell(metric: str, entry: Metric | None, published: float | None) -> Cell:
    if entry is None:
        return Cell(numbers.DASH)
    beside = against_published(entry["value"], published, digits_of(metric))
    lines = [score_text(metric, entry)[1], f"n = {entry['n']}", *([f"published {beside}"] if beside else [])]
    lines.append(numbers.ceiling_words(entry, digits_of(metric)))
    return number_cell(entry["value"], lines, digits=digits_of(metric))


def _examples(folder: Path) -> dict[str, list[tuple[str, str]]] | None:
    """Return the best and the worst samples of a data set with their captions; None where none were saved."""
    path = folder / "index.json"
    if not path.is_file():
        return None
    index = read_json(path)
    return {
        kind.capitalize(): [
            (data_uri((folder / one["file"]).read_bytes(), "jpeg"), one["caption"])
            for one in index
            if one["kind"] == kind
        ]
        for kind in ("best", "worst")
    }


def _missing(summary: BenchSummary) -> Table:
    rows = []
    for data_set in summary["missing"]:
        texts = (data_set["task"], data_set["problem"], data_set["where"], data_set["layout"])
        rows.append(Row(Cell(data_set["dataset"]), [Cell(text, style="words") for text in texts]))
    columns = ["Data set", "Task", "Why", "Where to get it", "Layout"]
    return Table("Data sets that were not measured", columns, rows)
