"""The job behind `equiview epipolar`: how many mutual matches of a capture lie near their epipolar lines."""

from collections.abc import Callable
from pathlib import Path

from ..data.captures.opening import open_capture
from ..io import write_json
from ..models.extractor import MapSource
from ..records import EpipolarSummary
from ..tasks.epipolar import EpipolarConfig, score_epipolar
from .run_folder import Progress
from .scoring import write_rows


def measure_epipolar(
    source: Callable[[], MapSource], capture: str, config: EpipolarConfig, out: Path, progress: Progress | None = None
) -> tuple[EpipolarSummary, list[str]]:
    """Score a capture and write rows.jsonl and summary.json.

    Args:
        source: Loads the features, after the capture was found to be good.
        capture: A folder with posed pictures.
        config: The protocol.
        out: The folder.
        progress: Called with ("epipolar", done, total).

    Returns:
        The content of summary.json, and what a user should know about the capture.

    Raises:
        EquiviewError: See `open_capture` and `score_epipolar`.
    """
    opened = open_capture(capture)
    rows, summary = score_epipolar(source(), opened, config, progress)
    write_rows(out / "rows.jsonl", rows)
    write_json(out / "summary.json", summary)
    return summary, list(opened.notes)
