"""The same numbers for the terminal."""

from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ..records import BenchComparison, Comparison, Difference, ImproveSummary, Metric, Summary
from ..stats import MIN_SAMPLING_UNITS
from . import numbers
from .numbers import TITLES
from .run import LABELS, parse_summary, read_run

BINS_METRIC = "pcdp@0.05"


def run_tables(run_dir: Path) -> list[Table]:
    """Return the tables of a run folder.

    Raises:
        EquiviewError: It holds no readable summary.json.
    """
    run = read_run(run_dir)
    return _tables(run.variants)


def summary_tables(summary: Summary | ImproveSummary, where: str = "summary") -> list[Table]:
    """Return the tables of a summary in memory, of either form.

    Args:
        summary: What summary.json holds.
        where: Its name, for messages.
    """
    variants, _ = parse_summary(summary, where)
    return _tables(variants)


def _tables(variants: dict[str, Summary]) -> list[Table]:
    shown = numbers.shown_metrics(variants.values())
    overall = {TITLES[m]: (m, {v: s["metrics"][m] for v, s in variants.items()}) for m in shown}
    by_angle = {v: s["metrics"][BINS_METRIC].get("by_angle", {}) for v, s in variants.items()}
    bins = list(dict.fromkeys(b for found in by_angle.values() for b in found))
    empty: Metric = {"value": None, "ci95": None, "n": 0}
    angles = {f"{b} deg": (BINS_METRIC, {v: f.get(b, empty) for v, f in by_angle.items()}) for b in bins}
    title = "Scores, percent (APE: lower is better)"
    if any(entry.get("ceiling") is not None for _, entries in overall.values() for entry in entries.values()):
        title += "; grid: the most that token centres allow"
    tables = [_table(title, variants, overall)]
    return tables + ([_table(f"{TITLES[BINS_METRIC]} by angle", variants, angles)] if bins else [])


def _table(title: str, variants: Iterable[str], columns: dict[str, tuple[str, dict[str, Metric]]]) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("features")
    best = {}
    for name, (metric, entries) in columns.items():
        table.add_column(name, justify="right", no_wrap=True)
        best[name] = numbers.best_of({v: e["value"] for v, e in entries.items()}, metric)
    for variant in variants:
        cells = [_cell(entries[variant], variant in best[name]) for name, (_, entries) in columns.items()]
        table.add_row(escape(LABELS.get(variant, variant)), *cells)
    return table


def _cell(entry: Metric, is_best: bool) -> str:
    if entry["value"] is None:
        return "-"
    value = f"[bold]{entry['value']:.2f}[/bold]" if is_best else f"{entry['value']:.2f}"
    ci95 = entry.get("ci95")
    below = [] if ci95 is None else [escape(f"[{ci95[0]:.1f}, {ci95[1]:.1f}]")]
    below += [f"grid {entry['ceiling']:.1f}"] if entry.get("ceiling") is not None else []
    return "\n".join([value, *(f"[dim]{line}[/dim]" for line in below)])


def comparison_table(comparison: Comparison | BenchComparison) -> Table:
    """Return the table of `compare.compare_runs`: a row for each score, those of other searches left out."""
    benches = "tasks" in comparison
    parts: list[tuple[str, Comparison]] = []
    if "tasks" in comparison:
        parts += [(f"{task} {name}", part) for task, sets in comparison["tasks"].items() for name, part in sets.items()]
    else:
        parts.append(("", comparison))
    paired = sum(part["n_rows"] for _, part in parts)
    table = Table(title=f"Second minus first, {paired} paired rows", title_justify="left", title_style="bold")
    for column in ["data set"] * benches + ["score"]:
        table.add_column(column)
    for column in ("first", "second", "difference", "95 % interval", "improved"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, part in parts:
        shown = {m: e for m, e in part["metrics"].items() if "/" not in m and e["value"] is not None}
        for number, (metric, entry) in enumerate(shown.items()):
            head = [escape("" if number else name)] * benches
            table.add_row(*head, *_comparison_cells(metric, entry))
    return table


def _comparison_cells(metric: str, entry: Difference) -> list[str]:
    digits = 3 if metric.startswith("share") else 2
    clear = entry["ci95"] is not None and (entry["ci95"][0] > 0 or entry["ci95"][1] < 0)
    change = numbers.signed(entry["value"], digits)
    return [
        escape(TITLES.get(metric, metric)),
        numbers.number(entry.get("before"), digits),
        numbers.number(entry.get("after"), digits),
        f"[bold]{change}[/bold]" if clear else change,
        numbers.interval(entry["ci95"], digits, sign=True) or numbers.DASH,
        f"{entry['n_improved']} of {entry['n']}",
    ]


def comparison_notes(comparison: Comparison | BenchComparison) -> list[str]:
    """Return what must be known beside the table."""
    if "tasks" in comparison:
        return _bench_notes(comparison)
    units = max((entry["n"] for entry in comparison["metrics"].values()), default=0)
    notes = [f"Intervals: bootstrap over {units} x {comparison['unit']}."]
    if units < MIN_SAMPLING_UNITS:
        notes = [f"No intervals: {units} x {comparison['unit']}, and fewer than {MIN_SAMPLING_UNITS} say nothing."]
    if any(comparison["only_in"]):
        first, second = comparison["only_in"]
        notes.append(f"Left out: {first} rows that only the first run has, {second} that only the second has.")
    if comparison["protocol_differs"]:
        notes.append(f"Note: the protocols differ in {', '.join(comparison['protocol_differs'])}.")
    return notes


def _bench_notes(comparison: BenchComparison) -> list[str]:
    notes = []
    for task, sets in comparison["tasks"].items():
        for name, part in sets.items():
            units = max((entry["n"] for entry in part["metrics"].values()), default=0)
            notes.append(
                f"{task} {name}: intervals over {part['unit']} "
                f"({units} at most; none for fewer than {MIN_SAMPLING_UNITS})."
            )
            if part["protocol_differs"]:
                notes.append(f"Note: its protocols differ in {', '.join(part['protocol_differs'])}.")
    for which, lonely in zip(("first", "second"), comparison["only_in"], strict=True):
        notes += [f"Left out, in the {which} run only: {', '.join(lonely)}."] if lonely else []
    return notes
