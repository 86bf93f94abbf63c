"""The page of a run of `measure` or `improve`: one file; a script only where there is a live part."""

from collections.abc import Sequence
from pathlib import Path

from ..draw.live.pack import Pack, read_pack
from . import sections
from .boxes import Lead
from .drawing import Scale
from .live import MAX_PAGE_BYTES, live_part, script_policy
from .run import Run, read_run
from .shell import backbone_title, counted, render_page, write_page
from .words import summarize_run

MAX_BYTES = 8_000_000
SCALES = (Scale(), Scale(320, 80), Scale(220, 70), Scale(140, 60))
SECTIONS = {
    "scores": "Scores",
    "by_angle": "By angle",
    "by_object": "By object",
    "live": "Live",
    "pictures": "Pictures",
    "training": "Training",
    "protocol": "Protocol",
}


def write_report(run_dir: Path, out: Path | None = None) -> Path:
    """Write the page of a run from the files that lie in its folder.

    Args:
        run_dir: What `measure` or `improve` wrote.
        out: The page; `report.html` in the run folder when None.

    Returns:
        The page.

    Raises:
        EquiviewError: A file is missing or broken, or the page cannot be written.
    """
    run = read_run(run_dir)
    return write_page(Path(run_dir) / "report.html" if out is None else out, _small_enough(run))


def _small_enough(run: Run) -> str:
    """Return the page with the largest pictures that keep it small, and as many live objects as still fit."""
    content = _content(run)
    for scale in SCALES:
        pictures = sections.pictures(run, scale)
        page = _page(run, content | {"pictures": pictures})
        if len(page) <= MAX_BYTES:
            break
    packs = [read_pack(path) for path in run.live]
    while packs:
        whole = _page(run, content | {"pictures": pictures}, packs)
        if len(whole.encode()) <= MAX_PAGE_BYTES:
            return whole
        packs.pop()
    return page


def _content(run: Run) -> dict[str, object]:
    """Return what all sections but the pictures and the live part show."""
    summary = summarize_run(run)
    return {
        "lead": Lead(summary.verdict, summary.label, summary.sentences, run.notes),
        "scores": sections.scores(run),
        "angles": sections.angles(run),
        "objects": sections.objects(run),
        "training": sections.training(run),
        "protocol": sections.protocol(run),
    }


def _page(run: Run, content: dict[str, object], packs: Sequence[Pack] = ()) -> str:
    improved = run.kind == "improve"
    left_out = set() if packs else {"live"}
    left_out |= set() if improved else {"training"}
    left_out |= set() if improved or run.pictures else {"pictures"}
    what = "What finetuning changed" if improved else "Multiview equivariance"
    return render_page(
        "run.html.j2",
        {block: name for block, name in SECTIONS.items() if block not in left_out},
        script_policy=script_policy() if packs else "",
        title=f"equiview: {run.folder.resolve().name}",
        headline=what if run.backbone is None else f"{what}: {backbone_title(run.backbone)}",
        subtitle=_subtitle(run),
        live=live_part(packs) if packs else None,
        **content,
    )


def _subtitle(run: Run) -> str:
    pairs = sum(len(rows) for rows in run.rows.values()) // max(len(run.rows), 1)
    found = [
        f"run {run.folder.resolve().name}",
        counted(len(run.objects()), "object"),
        counted(pairs, "ordered pair of views", "ordered pairs of views"),
    ]
    return " \u00b7 ".join([*found, f"recipe {run.recipe}"] if run.recipe else found)
