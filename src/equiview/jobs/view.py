"""The job behind `equiview view`: a run's page, or a page to click on of any pictures."""

from collections.abc import Sequence
from pathlib import Path

from ..draw.live.pictures import pack_pictures
from ..errors import bad_input
from ..io import picture_files
from ..models.extractor import Extractor
from ..report import loss_words, read_run, write_live_page, write_report
from ..report.bench import is_bench, write_bench_report
from ..report.shell import backbone_title
from .feature_options import FeatureOptions, open_features


def run_page(run: Path) -> tuple[Path, list[str]]:
    """Write the page of a finished run; return it with what there is to say.

    Raises:
        EquiviewError: The folder holds no run.
    """
    if not (run / "summary.json").exists() and picture_files(run):
        fix = f"Name them: equiview view {run}/*"
        raise bad_input(str(run), "the folder of a finished run", "pictures", fix)
    if is_bench(run):
        return write_bench_report(run, None), []
    page = write_report(run)
    return page, [] if read_run(run).live else ["This run has no live part: it was made without one."]


def pictures_page(paths: Sequence[Path], options: FeatureOptions, out: Path) -> tuple[Path, list[str]]:
    """Write a page of pictures with pretrained features, and with an adapter the adapted ones beside them.

    Returns:
        The page, and what packing the features lost, in words.
    """
    sources = _sources(options)
    pack = pack_pictures(list(paths), sources)
    return write_live_page(pack, out / "index.html", _about(options.adapter, sources)), loss_words(pack)


def _sources(options: FeatureOptions) -> dict[str, Extractor]:
    """Load the features; pretrained ones have the adapter's settings."""
    found = open_features(options)
    if options.adapter is None:
        return {"pretrained": found}
    own = open_features(FeatureOptions(options.backbone, dtype=options.dtype, device=options.device))
    return {"pretrained": Extractor(own.backbone, found.config).eval(), "adapted": found}


def _about(adapter: Path | None, sources: dict[str, Extractor]) -> str:
    """Name the features that the page compares, without the folders they came from."""
    named = backbone_title(sources["pretrained"].describe()["backbone"])
    if adapter is None:
        return named
    strength = sources["adapted"].describe()["adapter"]["strength"]
    at = "strengths of its own" if strength is None else f"strength {strength:g}"
    return f"{named}, adapter {adapter.resolve().name} at {at}"
