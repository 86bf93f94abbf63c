"""The job behind `equiview push`: an adapter or an export with its model card, to a repository of the hub."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..draw.before_after import before_after_picture
from ..draw.canvas import image_bytes
from ..errors import bad_input
from ..hub import check_repo, push
from ..io import atomic_folder, file_sha256, read_json, require_folder
from ..model_card import CARD_FILE, PICTURE_FILE, Card, Library, card_text
from ..models.adapters import adapter_folder
from ..models.adapters.record import FILES, RECORD_FILE, read_adapter
from ..models.export import export_files, is_for_timm, read_protocol
from ..records import FeaturesRecord
from ..report import read_run
from ..report.card import NOT_MEASURED, held_out_scores, median_picture, run_sections, test_set
from ..report.pictures import picture_gain
from ..report.run import Run, read_picture

# What of the features must be the same for scores to be those of an export.
SETTINGS = ("weights_sha256", "blocks", "norm", "long_side", "stride", "position", "sizes", "mirrored", "head")


@dataclass(frozen=True)
class PushConfig:
    """How something is pushed.

    Attributes:
        run: Run of `improve` whose scores the card shows; None is the pushed run folder itself.
        license: See `Card`.
        base_model: See `Card`.
        private: A new repository is private.
        message: Of the commit.
    """

    run: Path | None = None
    license: str | None = None
    base_model: str | None = None
    private: bool = False
    message: str = "Push from equiview"


@dataclass(frozen=True)
class _Source:
    """What is pushed: its files, the names its repository may lose, and what made it."""

    files: list[Path]
    replaces: list[str]
    backbone: str
    library: Library = "equiview"
    protocol: FeaturesRecord | None = None


def push_folder(
    source: str | Path, repo: str, config: PushConfig = PushConfig(), to: str | Path | None = None
) -> list[str]:
    """Push an adapter or an export, with a card made from its run, as one commit.

    Args:
        source: Run folder of `improve` or `finetune`, adapter folder, or folder of `export`.
        repo: OWNER/NAME.
        config: Everything else.
        to: Write what would be pushed to this folder instead; no network is used.

    Returns:
        The address of the commit, or the files that were written.

    Raises:
        EquiviewError: Not such a folder, a damaged file, scores of another adapter, or the hub does not take it.
    """
    check_repo(repo)
    what = _source(require_folder(Path(source), "a run folder, an adapter folder or an export"))
    run = _scores_of(Path(source), what, config.run)
    if to is not None:
        if Path(to).exists():
            raise bad_input(str(to), "a new folder", "something of that name", "Choose another --to.")
        return [str(path) for path in _write(Path(to), repo, what, run, config)]
    with tempfile.TemporaryDirectory(prefix="equiview-") as temporary:
        folder = Path(temporary) / "push"
        _write(folder, repo, what, run, config)
        replaces = [*what.replaces, PICTURE_FILE]
        return [push(folder, repo, private=config.private, message=config.message, replaces=replaces)]


def _source(folder: Path) -> _Source:
    own = adapter_folder(folder)
    if (own / RECORD_FILE).is_file():
        adapter = read_adapter(own)
        files = [own / name for name in FILES if name == RECORD_FILE or name in adapter.record["files"]]
        return _Source(files, list(FILES), adapter.record["backbone"]["id"])
    if not (folder / "config.json").is_file():
        fix = "Give the --out of improve, finetune or export."
        raise bad_input(str(folder), "an adapter (equiview.json) or an export (config.json)", "neither", fix)
    protocol = read_protocol(folder)
    files = export_files(folder)
    library: Library = "timm" if is_for_timm(folder) else "transformers"
    return _Source(files, [path.name for path in files], str(protocol["backbone"]), library, protocol)


def _scores_of(source: Path, what: _Source, run: Path | None) -> Run | None:
    """Return the run whose scores are those of what is pushed; None where nothing was measured."""
    if run is None and not (source / "summary.json").is_file():
        return None
    read = read_run(source if run is None else run)
    if "adapted" not in read.variants:
        fix = "Give the run folder of improve that made it."
        raise bad_input(str(read.folder), "a run of improve", f"one of {read.kind}", fix)
    if run is not None:
        _check_same(read, what)
    return read


def _check_same(run: Run, what: _Source) -> None:
    """Refuse scores of another adapter, or of the same one used otherwise."""
    record = run.folder / "adapter" / RECORD_FILE
    made = file_sha256(record) if record.is_file() else None
    fix = "Give the run that made what is pushed."
    if what.protocol is None:
        if made != file_sha256(next(path for path in what.files if path.name == RECORD_FILE)):
            raise bad_input(f"--run {run.folder}", "the run that made this adapter", "another adapter in it", fix)
        return
    used: Mapping[str, Any] = what.protocol.get("adapter") or {}
    if made is None or made != used.get("sha256"):
        raise bad_input(f"--run {run.folder}", "the run whose adapter was exported", "another adapter in it", fix)
    lora = read_json(record).get("lora")
    other = [key for key in SETTINGS if run.protocol.get("features", {}).get(key) != what.protocol.get(key)]
    if lora is not None and (used.get("lora") or {}).get("strength") != lora.get("strength", 1.0):
        other.append("strength")
    if other:
        found = f"an export with another {', '.join(other)}"
        raise bad_input(f"--run {run.folder}", "scores of the exported features", found, "Leave --run out.")


def _write(folder: Path, repo: str, what: _Source, run: Run | None, config: PushConfig) -> list[Path]:
    with atomic_folder(folder) as temporary:
        for path in what.files:
            shutil.copyfile(path, temporary / path.name)
        picture_of = None if run is None else _draw(run, temporary / PICTURE_FILE)
        card = Card(
            repo,
            what.backbone,
            config.base_model,
            config.license,
            library=what.library,
            own_code=any(path.suffix == ".py" for path in what.files),
            test_set="" if run is None else test_set(run),
            scores=() if run is None else held_out_scores(run),
            sections=[NOT_MEASURED] if run is None else run_sections(run, picture_of),
        )
        (temporary / CARD_FILE).write_text(card_text(card), encoding="utf-8")
    return sorted(folder.iterdir())


def _draw(run: Run, path: Path) -> str | None:
    """Draw the object of the median gain; return its name, or None where the run kept no pictures."""
    pictures = {name: read_picture(file) for name, file in run.pictures.items()}
    name = median_picture({name: picture_gain(arrays) for name, arrays in pictures.items()})
    if name is not None:
        path.write_bytes(image_bytes(before_after_picture(pictures[name]), "JPEG", 1280))
    return name
