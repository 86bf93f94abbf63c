"""`equiview view`."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import bad_input
from . import options
from .app import app
from .common import command, examples, finish, parse_blocks
from .feature_options import open_features

if TYPE_CHECKING:
    from ..models.extractor import Extractor


@app.command(
    short_help="Open a run's page, or make a page to click on of any pictures.",
    epilog=examples(
        "equiview view runs/mug",
        "equiview view a.jpg b.jpg c.jpg --out runs/look",
        "equiview view a.jpg b.jpg --backbone facebook/dinov2-base --adapter runs/mug --out runs/look",
    ),
)
@command
def view(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN or A B ...", help="A run folder, or 1 to 12 pictures.")],
    backbone: options.Backbone = "equiview/tiny",
    adapter: options.Adapter = None,
    strength: options.Strength = None,
    blocks: options.Blocks = None,
    long_side: options.LongSide = None,
    thorough: options.Thorough = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page of pictures.")] = Path("equiview-view"),
    dtype: options.WeightsDtype = options.Dtype.FLOAT32,
    device: options.Device = "auto",
    no_open: Annotated[bool, typer.Option("--no-open", help="Write the page and say where, open nothing.")] = False,
    json: options.Json = False,
) -> None:
    """Open a run's page, or make one of any pictures: click a point and see where its features are found elsewhere."""
    if any(path.is_dir() for path in paths):
        if len(paths) > 1:
            fix = "Give the folder alone, or the pictures by name."
            raise bad_input("view", "one run folder, or pictures", f"{len(paths)} paths with a folder among them", fix)
        page, words = _run_page(paths[0])
    else:
        features: dict[str, Any] = {"blocks": parse_blocks(blocks), "long_side": long_side, "thorough": thorough}
        where: dict[str, Any] = {"device": device, "dtype": dtype.value}
        sources = _sources(backbone, adapter, strength, features, where)
        page, words = _pictures_page(paths, sources, _about(adapter, sources), out)
    opened = not no_open and webbrowser.open(page.resolve().as_uri())
    shown = words if opened or no_open else [*words, "No browser was found: open the page yourself."]
    finish({"command": "view", "opened": opened, "words": words}, [page], json, "\n".join(shown) or None)


def _run_page(run: Path) -> tuple[Path, list[str]]:
    from ..io import picture_files
    from ..report import read_run, write_report
    from ..report.bench import is_bench, write_bench_report

    if not (run / "summary.json").exists() and picture_files(run):
        fix = f"Name them: equiview view {run}/*"
        raise bad_input(str(run), "the folder of a finished run", "pictures", fix)
    if is_bench(run):
        return write_bench_report(run, None), []
    page = write_report(run)
    return page, [] if read_run(run).live else ["This run has no live part: it was made without one."]


def _sources(
    backbone: str, adapter: Path | None, strength: float | None, features: dict[str, Any], where: dict[str, Any]
) -> "dict[str, Extractor]":
    """Load the pretrained features and, with an adapter, the adapted ones; both have the adapter's settings."""
    from ..models.extractor import Extractor

    if adapter is None:
        return {"pretrained": open_features(backbone, None, strength, features, **where)}
    adapted = open_features(backbone, adapter, strength, features, **where)
    own = open_features(backbone, None, None, {}, **where)
    return {"pretrained": Extractor(own.backbone, adapted.config).eval(), "adapted": adapted}


def _about(adapter: Path | None, sources: "dict[str, Extractor]") -> str:
    """Name the features that the page compares, without the folders they came from."""
    from ..report.page import backbone_title

    named = backbone_title(sources["pretrained"].describe()["backbone"])
    if adapter is None:
        return named
    strength = sources["adapted"].describe()["adapter"]["strength"]
    at = "strengths of its own" if strength is None else f"strength {strength:g}"
    return f"{named}, adapter {adapter.resolve().name} at {at}"


def _pictures_page(paths: list[Path], sources: "dict[str, Extractor]", about: str, out: Path) -> tuple[Path, list[str]]:
    from ..draw.live import pack_pictures
    from ..report import loss_words, write_live_page

    pack = pack_pictures(paths, sources)
    return write_live_page(pack, out / "index.html", about), loss_words(pack)
