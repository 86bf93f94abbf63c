"""The page of a bench, from its files alone: scores with intervals, best and worst samples, what was missing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from .. import __version__
from ..errors import bad_input
from ..io import atomic_path, file_name, read_json
from ..jobs.compare import is_bench
from . import numbers
from .boxes import fold, pretty, result_box, scroll_table
from .drawing import data_uri
from .html import Html, h, join, typeset
from .page import backbone_title, page_head

TASK_WORDS = {
    "pose": ("One-shot pose", "Queries located against posed references of the same object."),
    "track": ("Point tracking", "Points followed through clips whose true tracks are known."),
    "transfer": ("Semantic transfer", "Key points of one picture found in another picture of the same kind of thing."),
}
UNITS = {
    "pose": "Recalls are percent of all queries, failures included; medians are over queries, a failure is infinite.",
    "track": "average_jaccard, delta_avg and occlusion_accuracy in percent at 256 x 256 px; share_under_8px from 0 to "
    "1 at 256 px height, visible positions only.",
    "transfer": "pck@a is the percentage of key points within a share a of the length the data set's usual score has.",
}
MARKS = (
    "Blue is the truth, green a right prediction, red a wrong one. Transfer: a line leads from a wrong point to its "
    "true place. Tracking: left the point in its own frame, right the frame where it was furthest off. Pose: left the "
    "nearest reference, right the query with the object's points (or its box) at the true and at the found pose."
)
# Scores a terminal has room for; the page has all.
HEADLINES = {
    "pose": ("located", "pose_recall@5deg", "pose_recall@10deg", "pose_recall@5cm5deg", "rotation_error_deg_median"),
    "track": ("average_jaccard", "delta_avg", "occlusion_accuracy", "share_under_8px"),
    "transfer": ("pck@0.05", "pck@0.10", "pck@0.15"),
}
Entries = Iterator[tuple[str, str, str, Mapping[str, Any]]]


def read_bench(folder: str | Path) -> dict[str, Any]:
    """Return the summary of a bench.

    Raises:
        EquiviewError: There is none, or a metric is broken.
    """
    path = Path(folder) / "summary.json"
    if not is_bench(folder):
        fix = "Let the bench finish: the same command resumes it."
        raise bad_input(str(path), 'the summary of a bench ("tasks")', "none", fix)
    summary = read_json(path)
    for task, dataset, name, entry in entries(summary):
        if not isinstance(entry, dict) or not {"value", "ci95", "n"} <= entry.keys():
            where = f"{path}: {task} {dataset} {name}"
            raise bad_input(where, "value, ci95 and n", repr(entry)[:60], "Run the same command again.")
    return summary


def entries(summary: Mapping[str, Any]) -> Entries:
    """Yield task, data set, metric and its entry."""
    for task, datasets in summary["tasks"].items():
        for dataset, metrics in datasets.items():
            for name, entry in metrics.items():
                yield task, dataset, name, entry


def digits_of(metric: str) -> int:
    """Return how many digits are written: shares from 0 to 1 need more."""
    return 3 if metric.startswith("share") else 1


def score_text(metric: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return value and interval as text."""
    digits = digits_of(metric)
    return numbers.number(entry["value"], digits), numbers.interval(entry["ci95"], digits)


def bench_table(summary: Mapping[str, Any]) -> Table:
    """Return the terminal's table: the main scores of every data set."""
    table = Table(title="Scores", title_justify="left", title_style="bold")
    for name in ("task", "data set", "metric"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "95 % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for task, dataset, metric, entry in entries(summary):
        if metric in HEADLINES[task]:
            value, interval = score_text(metric, entry)
            named = ("", "") if (task, dataset) == last else (task, dataset)
            table.add_row(*map(escape, named), metric, value, interval or numbers.DASH, str(entry["n"]))
            last = (task, dataset)
    return table


def missing_words(summary: Mapping[str, Any]) -> str:
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
    path = folder / "report.html" if out is None else Path(out)
    text = render_bench(read_bench(folder), folder)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render_bench(summary: Mapping[str, Any], folder: Path) -> str:
    """Return the page's text."""
    backbone = str(summary["protocol"]["features"].get("backbone"))
    tasks = [task for task, datasets in summary["tasks"].items() if datasets]
    parts = {TASK_WORDS[task][0]: _task(summary, task, folder) for task in tasks}
    parts |= {"Not measured": _missing(summary)} if summary["missing"] else {}
    parts["Protocol"] = pretty(summary["protocol"])
    ids = {name: name.lower().replace(" ", "-") for name in parts}
    links = h("ul", *(h("li", h("a", name, href=f"#{ids[name]}")) for name in parts))
    count = sum(len(summary["tasks"][task]) for task in tasks)
    subtitle = (
        f"run {folder.resolve().name} \u00b7 {summary['protocol']['bench']['suite']} suite \u00b7 {count} data sets"
    )
    header = h(
        "header",
        h("a", "Skip to the result", href="#main", class_="skip"),
        h("h1", f"Bench: {backbone_title(backbone)}"),
        h("p", subtitle, class_="sub"),
        h("nav", links, aria_label="Sections"),
    )
    sections = [h("section", h("h2", name), content, id=ids[name]) for name, content in parts.items()]
    main = h("main", _lead(summary), *sections, id="main")
    footer = h("footer", f"Written by equiview {__version__} from the files of this run; no model was run to make it.")
    document = h("html", page_head(f"equiview: {folder.resolve().name}"), h("body", header, main, footer), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _lead(summary: Mapping[str, Any]) -> Html:
    """The first score of every task in a sentence, and how many samples could not be scored."""
    lines = []
    for task, dataset, metric, entry in entries(summary):
        if metric == {"pose": "pose_recall@5deg", "track": "share_under_8px", "transfer": "pck@0.10"}[task]:
            value, interval = score_text(metric, entry)
            within = f" (95 % interval {interval})" if interval else ""
            lines.append(f"{dataset}: {metric} {value}{within}.")
    bad = [
        f"{task} {dataset}: {count} not scored, {reason}"
        for task, datasets in summary["failed"].items()
        for dataset, reasons in datasets.items()
        for reason, count in reasons.items()
    ]
    failed = [f"Failures are counted: {'; '.join(bad)}."] if bad else []
    return result_box("plain", "Measured", [*lines, *failed], leads=len(lines))


def _task(summary: Mapping[str, Any], task: str, folder: Path) -> Html:
    datasets = summary["tasks"][task]
    metrics = list(dict.fromkeys(name for found in datasets.values() for name in found))
    header = h("tr", h("th", "Data set", scope="col"), *(h("th", name, scope="col") for name in metrics))
    body = [
        h("tr", h("th", name, scope="row"), *(_cell(metric, found.get(metric)) for metric in metrics))
        for name, found in datasets.items()
    ]
    words = h("p", TASK_WORDS[task][1], " ", UNITS[task], class_="hint")
    pictures = [_examples(folder / "pictures" / task / file_name(name), name) for name in datasets]
    return join(words, scroll_table(TASK_WORDS[task][0], [header], body), h("p", MARKS, class_="hint"), *pictures)


def _cell(metric: str, entry: Mapping[str, Any] | None) -> Html:
    if entry is None:
        return h("td", numbers.DASH)
    value, interval = score_text(metric, entry)
    count = f"n = {entry['n']}"
    return h("td", typeset(value), h("small", typeset(interval)) if interval else None, h("small", count))


def _examples(folder: Path, name: str) -> Html:
    """The best and the worst samples of a data set, the worst open as well."""
    path = folder / "index.json"
    if not path.is_file():
        return h("p", f"{name}: this run saved no pictures.", class_="hint")
    index = read_json(path)
    parts = []
    for kind, title in (("best", "Best"), ("worst", "Worst")):
        figures = [_figure(folder / one["file"], one["caption"]) for one in index if one["kind"] == kind]
        if figures:
            parts += [h("h4", f"{title} of {name}"), h("div", *figures, class_="two")]
    return fold(name, *parts, is_open=True)


def _figure(path: Path, caption: str) -> Html:
    picture = Html(h("img", src=data_uri(path.read_bytes(), "jpeg"), alt=caption, class_="shot"))
    return h("figure", picture, h("figcaption", typeset(caption)))


def _missing(summary: Mapping[str, Any]) -> Html:
    header = h("tr", *(h("th", name, scope="col") for name in ("Data set", "Task", "Why", "Where to get it", "Layout")))
    body = [
        h("tr", h("th", one["dataset"], scope="row"), *(h("td", one[key], class_="words") for key in _MISSING_KEYS))
        for one in summary["missing"]
    ]
    return scroll_table("Data sets that were not measured", [header], body)


_MISSING_KEYS = ("task", "problem", "where", "layout")
