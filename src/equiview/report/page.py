"""One self-contained page for a run: nothing fetched from anywhere; a script only where there is a live part."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from .. import __version__
from ..draw.live.pack import Pack, read_pack
from ..io import atomic_path
from . import sections
from .drawing import Scale
from .html import Html, h, join
from .live import MAX_PAGE_BYTES, live_section, policy
from .live import style as live_style
from .run import Run, read_run
from .words import summarize_run

MAX_BYTES = 8_000_000
SCALES = (Scale(), Scale(320, 80), Scale(220, 70), Scale(140, 60))
# The browser itself then refuses anything that is not in the file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    page = _small_enough(run)
    path = Path(run_dir) / "report.html" if out is None else Path(out)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _small_enough(run: Run) -> str:
    """Return the page with the largest pictures that keep it small, and as many live objects as still fit."""
    page = next((text for scale in SCALES if len(text := render_page(run, scale)) <= MAX_BYTES), None)
    page = page or render_page(run, SCALES[-1])
    scale = next((s for s in SCALES if len(render_page(run, s)) == len(page)), SCALES[-1])
    packs = [read_pack(path) for path in run.live]
    while packs:
        whole = render_page(run, scale, packs)
        if len(whole.encode()) <= MAX_PAGE_BYTES:
            return whole
        packs.pop()
    return page


def render_page(run: Run, scale: Scale = SCALES[0], packs: Sequence[Pack] = ()) -> str:
    """Return the page's text, with a live part when there are packs."""
    summary = summarize_run(run)
    title = f"equiview: {run.folder.resolve().name}"
    parts = {
        "Scores": sections.scores(run),
        "By angle": sections.angles(run),
        "By object": sections.objects(run),
        **({"Live": live_section(packs)} if packs else {}),
        **({"Pictures": sections.pictures(run, scale)} if run.kind == "improve" or run.pictures else {}),
        **({"Training": sections.training(run)} if run.kind == "improve" else {}),
        "Protocol": sections.protocol(run),
    }
    links = [h("li", h("a", name, href=f"#{_anchor(name)}")) for name in parts]
    header = h(
        "header",
        h("a", "Skip to the result", href="#main", class_="skip"),
        h("h1", f"{_headline(run)}"),
        h("p", _subtitle(run), class_="sub"),
        h("nav", h("ul", *links), aria_label="Sections"),
    )
    body = [h("section", h("h2", name), content, id=_anchor(name)) for name, content in parts.items()]
    main = h("main", sections.head(run, summary), *body, id="main")
    footer = h("footer", f"Written by equiview {__version__} from the files of this run; no model was run to make it.")
    document = h("html", page_head(title, live=bool(packs)), h("body", header, main, footer), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def page_head(title: str, *, live: bool = False) -> Html:
    """Return the head of a page: style inside, nothing fetched from anywhere, only the live part's script may run."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8") + (live_style() if live else "")
    allowed = policy(POLICY) if live else POLICY
    return h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        join(Html(f'<meta http-equiv="Content-Security-Policy" content="{allowed}">')),
        h("title", title),
        Html(f"<style>\n{style}</style>"),
    )


def backbone_title(name: str) -> str:
    """Return what a headline calls a backbone: of a local path only the end, a hub's name as it is."""
    return Path(name).name if name.count("/") > 1 or Path(name).is_absolute() else name


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _headline(run: Run) -> str:
    what = "What finetuning changed" if run.kind == "improve" else "Multiview equivariance"
    return what if run.backbone is None else f"{what}: {backbone_title(run.backbone)}"


def _subtitle(run: Run) -> str:
    pairs = sum(len(rows) for rows in run.rows.values()) // max(len(run.rows), 1)
    found = [
        f"run {run.folder.resolve().name}",
        _count(len(run.objects()), "object"),
        _count(pairs, "ordered pair of views", "ordered pairs of views"),
    ]
    found += [f"recipe {run.recipe}"] if run.recipe else []
    return " \u00b7 ".join(found)


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
