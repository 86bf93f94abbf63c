"""Pages and tables made from the files of a run; nothing here runs a model."""

from .live import loss_words, write_live_page
from .page import write_report
from .run import Run, read_run
from .table import run_tables, summary_tables
from .words import summarize_run

__all__ = [
    "Run",
    "loss_words",
    "read_run",
    "run_tables",
    "summarize_run",
    "summary_tables",
    "write_live_page",
    "write_report",
]
