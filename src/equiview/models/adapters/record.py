"""The record of an adapter folder, `equiview.json`: read once, and right in every part behind this module."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from ...errors import bad_input, shown
from ...hub import HubCommit, download, hub_name
from ...io import file_sha256, read_json, require_file, require_folder
from ...records import Settings
from ...schema import check
from ..heads import check_head, check_strength

FORMAT_VERSION = 1
RECORD_FILE, HEAD_FILE = "equiview.json", "head.safetensors"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
FILES = (RECORD_FILE, HEAD_FILE, CONFIG_FILE, WEIGHTS_FILE)
SAVE_AGAIN = "Save the adapter again, or copy the whole folder again."


class BackboneRecord(TypedDict):
    """The part of a `BackboneInfo` that an adapter must find again."""

    id: str
    dim: int
    blocks: int
    patch: int
    weights_sha256: str


class LoraRecord(TypedDict):
    """What is said about a LoRA beside its weights; `strength` is younger than the format."""

    rank: int
    alpha: float
    targets: list[str]
    covers: str
    strength: NotRequired[float]


class Record(TypedDict):
    """What every adapter's record holds; whoever saved it may have added more (`recipe`, `data`, `seed`, ...)."""

    backbone: BackboneRecord
    features: Settings
    head: list[Settings]
    lora: LoraRecord | None
    files: dict[str, str]


@dataclass(frozen=True)
class Adapter:
    """A checked adapter folder.

    Attributes:
        folder: Where it is.
        record: The content of `equiview.json`.
        sha256: Of `equiview.json`. That holds the sha256 of every other file, so this one names the adapter.
        source: Where on the hub it came from; None for a local folder.
    """

    folder: Path
    record: Record
    sha256: str
    source: HubCommit | None = None


def adapter_folder(path: Path) -> Path:
    """Return the local adapter folder meant by `path`: itself, or `path/adapter` of a run folder."""
    path = Path(path)
    if not (path / RECORD_FILE).is_file() and (path / "adapter" / RECORD_FILE).is_file():
        return path / "adapter"
    return path


def find_adapter(name: Path | str) -> tuple[Path, HubCommit | None]:
    """Return the folder of an adapter, and where it came from: every adapter that is opened is found here.

    Args:
        name: An adapter folder, the run folder that contains `adapter/`, or a repository of the hub, OWNER/NAME or
            OWNER/NAME@REVISION. What is there as a path is never asked of the hub.

    Raises:
        EquiviewError: It is neither, or the hub does not give it.
    """
    on_hub = None if Path(name).exists() else hub_name(Path(name).as_posix())
    if on_hub is not None:
        return download(on_hub, FILES, RECORD_FILE)
    return require_folder(adapter_folder(Path(name)), "an adapter folder (as `equiview improve` writes)"), None


def read_adapter(name: Path | str) -> Adapter:
    """Read and check `equiview.json` and the checksums of the files it names.

    Args:
        name: As of `find_adapter`.

    Raises:
        EquiviewError: It cannot be found; a file is missing, changed or broken, the format is unknown, or a value is
            of another type.
    """
    folder, source = find_adapter(name)
    path = require_file(folder / RECORD_FILE, "the record of an adapter folder")
    record = _checked(read_json(path), str(path))
    for file, expected in record["files"].items():
        require_file(folder / file, "a file of the adapter")
        if file_sha256(folder / file) != expected:
            where = str(folder / file) if source is None else f"{source.repo}: {file}"
            fix = "Copy the whole folder again."
            if source is not None:
                fix = f"Do not use it: ask its owner. If the copy here was damaged, delete {folder} and load it again."
            raise bad_input(where, f"sha256 {expected[:12]}...", "a truncated or changed file", fix)
    return Adapter(folder, record, file_sha256(path), source)


def _checked(record: Any, path: str) -> Record:
    if not isinstance(record, dict) or record.get("format") != "equiview-adapter":
        found = shown(record.get("format")) if isinstance(record, dict) else type(record).__name__
        raise bad_input(f"{path}: format", "'equiview-adapter'", found, "Give an adapter folder.")
    if record.get("format_version") != FORMAT_VERSION:
        fix = "Update equiview, or save the adapter with this version."
        raise bad_input(f"{path}: format_version", str(FORMAT_VERSION), shown(record.get("format_version")), fix)
    check(record, Record, path, SAVE_AGAIN)
    check_head(record["head"], f"{path}: head", SAVE_AGAIN)
    if record["lora"] is not None:
        check_strength(record["lora"].get("strength", 1.0), f"{path}: LoRA strength")
    others = sorted(set(record["files"]) - set(FILES))
    if others:
        raise bad_input(f"{path}: files", f"names among {', '.join(FILES)}", shown(others[0]), SAVE_AGAIN)
    return cast(Record, record)


def read_record(name: Path | str) -> dict[str, Any]:
    """Return the content of a checked `equiview.json`; raises as `read_adapter`."""
    return cast(dict[str, Any], read_adapter(name).record)
