"""The job behind `equiview report`: a finished run's page, from its files alone."""

from pathlib import Path

from rich.console import RenderableType

from ..report import read_run, run_tables, summarize_run, write_report
from ..report.bench import bench_table, is_bench, missing_words, read_bench, write_bench_report


def write_page(run: Path, out: Path | None = None) -> tuple[Path, dict[str, object], list[RenderableType | None]]:
    """Write the page of a run.

    Args:
        run: Folder written by improve, demo, measure or bench.
        out: The page; RUN/report.html if None.

    Returns:
        The page, what it says as JSON, and the same for a terminal.

    Raises:
        EquiviewError: The folder holds no finished run.
    """
    if is_bench(run):
        measured = read_bench(run)
        shown: list[RenderableType | None] = [bench_table(measured), missing_words(measured) or None]
        return write_bench_report(run, out), {"summary": measured}, shown
    page = write_report(run, out)
    words = summarize_run(read_run(run))
    result: dict[str, object] = {"verdict": words.label, "sentences": words.sentences}
    return page, result, [" ".join(words.sentences), *run_tables(run)]
