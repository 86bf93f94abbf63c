"""Tables for the terminal hold the numbers of the summary."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from equiview.errors import EquiviewError
from equiview.report import run_tables, summary_tables
from report.make_run import write_run


def test_tables_hold_the_numbers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    summary["after"]["metrics"]["pcdp@0.05"]["by_angle"]["0-45"] = {"value": None, "ci95": None, "n": 0}
    (run / "summary.json").write_text(json.dumps(summary))
    console = Console(record=True, width=120, file=(tmp_path / "out").open("w"))
    for table in run_tables(run):
        console.print(table)
    text = console.export_text()
    for part in (summary["before"], summary["after"]):
        for metric in part["metrics"].values():
            assert f"{metric['value']:.2f}" in text
            assert f"[{metric['ci95'][0]:.1f}, {metric['ci95'][1]:.1f}]" in text
    assert "Adapted" in text and "None" not in text


def test_a_summary_of_no_known_form_is_refused() -> None:
    with pytest.raises(EquiviewError, match="before"):
        summary_tables({"scores": 1})
