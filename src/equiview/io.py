"""Files: nothing is half-written, and a broken one is named."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError

from .errors import EquiviewError, bad_input
from .types import ImageSource, PosedImage

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Endings of files that a folder of pictures may hold."""
MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply")
"""Endings of files that are read as a mesh."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the final name, on failure it is removed.

    Raises:
        EquiviewError: The disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; on success it takes its place as a whole, on failure it is removed.

    Raises:
        EquiviewError: The disk is full or the place cannot be written.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            yield temporary
            _swap_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise write_error(folder, error) from error


def _swap_folder(temporary: Path, folder: Path) -> None:
    """Give a finished folder its final name; what was there is removed after the new one is in place."""
    temporary.chmod(0o755)
    for file in temporary.rglob("*"):  # safetensors writes for its owner alone, whatever the umask says.
        if file.is_file():
            file.chmod(0o666 & ~_umask())
    if not folder.exists():
        temporary.rename(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
    folder.rename(old)
    try:
        temporary.rename(folder)
    except BaseException:  # Ctrl-C too: the old folder comes back before anything else happens.
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def free_space(folder: Path) -> tuple[Path, float]:
    """Return the nearest folder that is there, at or above this one, and how many MiB are free on its disk."""
    whole = Path(folder).resolve()
    there = next(one for one in (whole, *whole.parents) if one.is_dir())
    return there, shutil.disk_usage(there).free / 2**20


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_error(path: Path, error: Exception) -> EquiviewError:
    """Say why `path` could not be written, in words a user can act on.

    Args:
        path: The file or folder.
        error: An `OSError`, or a library's own that quotes one (safetensors).
    """
    quoted = re.search(r"os error (\d+)", str(error))
    code = error.errno if isinstance(error, OSError) else int(quoted[1]) if quoted else None
    reason = error.strerror or error if isinstance(error, OSError) else error
    if code in (errno.ENOSPC, errno.EDQUOT):
        return EquiviewError(f"{path}: the disk is full; nothing was left half-written. Free some space and run again.")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EquiviewError(f"{path}: this folder cannot be written ({reason}). Choose another with --out.")
    if code in (errno.EEXIST, errno.ENOTDIR):
        taken = next((str(parent) for parent in path.parents if parent.is_file()), str(path.parent))
        return bad_input(taken, "a folder to write to, or nothing yet", "a file", "Choose another with --out.")
    return EquiviewError(f"{path}: could not be written ({reason}).")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, readable, NaN refused (JSON has none)."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


_DAMAGED = "The file is damaged; write it again or restore a copy."


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file is named."""
    require_file(path, "a JSON file")
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise bad_input(str(path), "JSON", f"text that does not parse ({error})", _DAMAGED) from error


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    """Append one row; it is on disk when this returns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read rows; an unfinished last line (an interrupted run) is dropped, a broken one before it is an error."""
    if not Path(path).exists():
        return []
    rows = []
    try:
        lines = Path(path).read_text().split("\n")
    except UnicodeDecodeError as error:
        raise bad_input(str(path), "rows of JSON", f"no text ({error.reason})", "Delete it and run again.") from error
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise bad_input(f"{path}:{number}", "one JSON row", repr(line[:60]), "Delete that line.") from error
    return rows


def require_file(path: Path, kind: str) -> Path:
    """Return `path` if it is a file.

    Raises:
        EquiviewError: It is missing or a folder.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing there"
        raise bad_input(str(path), kind, found, "Check the path.")
    return path


def require_folder(folder: Path, kind: str, fix: str = "Check the path.") -> Path:
    """Return `folder` if it is one.

    Raises:
        EquiviewError: It is missing or a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise bad_input(str(folder), kind, "a file" if folder.exists() else "nothing there", fix)
    return folder


# Long enough to stay readable; room is left for endings and for the temporary names of `atomic_path`.
_NAME_BYTES = 160
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029<>:\"/\\|?*]")
_CHANGED = re.compile(r"~[0-9a-f]{16}$")


def file_name(name: str) -> str:
    """Turn any name from outside (a clip, an object, a picture) into the name of one file, without its ending.

    A name that is fine on every system stays as it is. In any other one (separators, `..`, control characters, names
    that Windows reserves, longer than 160 bytes) what does not fit becomes `_`, and a hash of the whole name is added:
    two names never become one file.
    """
    raw = name.encode("utf-8", "surrogatepass")
    own = _NO_NAME.sub("_", name).strip(" ").strip(".")
    if own == name and name and len(raw) <= _NAME_BYTES and not _RESERVED.fullmatch(name) and not _CHANGED.search(name):
        return name
    short = own.encode()[: _NAME_BYTES // 2].decode(errors="ignore").strip(" .")
    return f"{short}~{hashlib.sha256(raw).hexdigest()[:16]}"


def pixels_of(image: ImageSource) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture: as it is, read from its file, or made."""
    if isinstance(image, np.ndarray):
        return image
    return read_image(image) if isinstance(image, str | os.PathLike) else image.read()


def posed_pixels(posed: PosedImage) -> UInt8[np.ndarray, "h w 3"]:
    """Return the picture of a posed image.

    Raises:
        EquiviewError: It is missing or broken, or not as large as its camera says.
    """
    rgb, (h, w) = pixels_of(posed.image), posed.camera.hw
    if rgb.shape[:2] != (h, w):
        found = f"{rgb.shape[1]}x{rgb.shape[0]}"
        fix = "Check that it belongs to this camera; intrinsics are scaled with their picture."
        raise bad_input(posed.name or "picture", f"{w}x{h} pixels as its camera says", found, fix)
    return rgb


@contextmanager
def _opened_image(path: Path) -> Iterator[Image.Image]:
    """Open a picture file; one that is missing or broken is named."""
    require_file(path, "an image file")
    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise bad_input(str(path), "an image that opens", f"{error}", "Export it again as PNG or JPEG.") from error


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read a picture as 8-bit RGB; transparency is dropped, 16-bit grey keeps its upper half."""
    with _opened_image(path) as image:
        if image.mode.startswith("I;16"):
            # Pillow clips these to 255: almost every picture would be white.
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, -1)
        return np.asarray(image.convert("RGB"))


def image_hw(path: Path) -> tuple[int, int]:
    """Return height and width of a picture without decoding it.

    Raises:
        EquiviewError: It is missing, or no image.
    """
    with _opened_image(path) as image:
        return image.height, image.width


def write_image(path: Path, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a picture atomically; the suffix chooses the format."""
    with atomic_path(path) as temporary:
        Image.fromarray(rgb).save(temporary)
