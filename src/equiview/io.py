"""Files: nothing is half-written, and a broken one is named."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from safetensors import SafetensorError

from . import pictures
from .errors import EquiviewError, bad_input
from .schema import parse_json
from .types import ImageSource, PosedImage

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None  # type: ignore[assignment]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Endings of files that a folder of pictures may hold."""
MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply")
"""Endings of files that are read as a mesh."""


def peak_mb() -> float | None:
    """Return the peak memory of this process so far, MB, as the system counts it; None where it keeps no count."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


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
    except (OSError, SafetensorError) as error:
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


def require_space(path: Path, n_bytes: int) -> None:
    """Check that a file can be written, or grow, by so many bytes: for libraries that end the process where it fails.

    Raises:
        EquiviewError: The disk has less room, or the system's limit on the size of a file is smaller.
    """
    there, free_mib = free_space(path.parent)
    limit_mib = math.inf
    if resource is not None and (limit := resource.getrlimit(resource.RLIMIT_FSIZE)[0]) != resource.RLIM_INFINITY:
        limit_mib = (limit - (path.stat().st_size if path.is_file() else 0)) / 2**20
    needed_mib = n_bytes / 2**20
    if needed_mib > free_mib:
        fix = "Free some space and run again."
        raise bad_input(str(there), f"{needed_mib:.0f} MiB of free disk space", f"{free_mib:.0f} MiB", fix)
    if needed_mib > limit_mib:
        fix = "Raise the limit (ulimit -f) and run again."
        found = f"a limit on the size of a file that leaves {limit_mib:.0f} MiB"
        raise bad_input(str(path), f"room for {needed_mib:.0f} MiB", found, fix)


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
    # numpy counts what it could not write and has no error code.
    if code == errno.EFBIG or re.search(r"\d+ requested and \d+ written", str(error)):
        why = "the disk is full, or the limit on the size of a file is reached"
        return EquiviewError(f"{path}: {why}; nothing was left half-written. Make room and run again.")
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
    return parse_json(require_file(path, "a JSON file").read_bytes(), str(path), _DAMAGED)


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
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
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise bad_input(str(path), "rows of JSON", f"no text ({error.reason})", "Delete it and run again.") from error
    for number, line in enumerate(lines[:-1], 1):
        rows.append(parse_json(line, f"{path}:{number}", "Delete that line."))
    return rows


def require_file(path: Path, kind: str) -> Path:
    """Return `path` if it is a file.

    Raises:
        EquiviewError: It is missing or a folder.
    """
    path = Path(path)
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "nothing there"
            raise bad_input(str(path), kind, found, "Check the path.")
    except OSError as error:  # A name that is too long, a folder that may not be entered.
        raise bad_input(str(path)[:80], kind, f"a path that cannot be used ({error.strerror})", "Check it.") from error
    return path


def read_text(path: Path, kind: str = "a text file") -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where a byte order mark says so (Windows writes both).

    Raises:
        EquiviewError: It is missing, or in another encoding.
    """
    data = require_file(path, kind).read_bytes()
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_input(str(path), f"{kind} in UTF-8", f"other bytes ({error.reason})", "Save it as UTF-8.") from error


def require_folder(folder: Path, kind: str, fix: str = "Check the path.") -> Path:
    """Return `folder` if it is one.

    Raises:
        EquiviewError: It is missing or a file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise bad_input(str(folder), kind, "a file" if folder.exists() else "nothing there", fix)
    return folder


_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information")


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what a folder holds in its natural order, without hidden and system files (`._a.jpg`, `__MACOSX`)."""
    found = (path for path in Path(folder).glob(pattern) if not is_hidden(path.name))
    return natural_order(found)


def is_hidden(name: str) -> bool:
    """Return True for the name of a file that a system left there and no user means."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder, told by their endings, in its natural order; see `visible`."""
    return [path for path in visible(folder) if path.suffix.lower() in PICTURE_SUFFIXES]


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort files as people count: frame2 before frame10; by value where all are numbers with a point (seconds)."""
    paths = list(paths)
    if paths and all(_DECIMAL.fullmatch(path.stem) for path in paths):
        return sorted(paths, key=lambda path: (Decimal(path.stem), path.name))
    return sorted(paths, key=lambda path: (natural_key(path.stem), path.name))


_DECIMAL = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort frame2 before frame10: every run of digits counts as one number."""
    words = re.split(r"([0-9]+)", name)
    return [(0, len(word.lstrip("0")), word.lstrip("0")) if i % 2 else (1, 0, word) for i, word in enumerate(words)]


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
    h, w = posed.camera.hw
    rgb = read_image(posed.image, (h, w)) if isinstance(posed.image, Path) else pixels_of(posed.image)
    if rgb.shape[:2] != (h, w):
        found = f"{rgb.shape[1]}x{rgb.shape[0]}"
        fix = "Check that it belongs to this camera; intrinsics are scaled with their picture."
        raise bad_input(posed.name or "picture", f"{w}x{h} pixels as its camera says", found, fix)
    return rgb


def read_image(path: Path, camera_hw: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Read a picture as 8-bit RGB, see `pictures.rgb`.

    Args:
        path: The file.
        camera_hw: Height and width that the picture's camera says. With it the pixels come as the file stores them,
            for those are what cameras are computed from, unless only the turned picture has this size. None: as viewers
            show it, its EXIF orientation applied.

    Raises:
        EquiviewError: It is missing, or no picture that can be read.
    """
    with pictures.opened(require_file(path, "an image file"), str(path)) as image:
        stored = camera_hw is not None and (
            (image.height, image.width) == camera_hw or pictures.upright_hw(image) != camera_hw
        )
        return pictures.rgb(image if stored else pictures.upright(image), str(path))


def image_hw(path: Path) -> tuple[int, int]:
    """Return height and width of a picture as viewers show it (EXIF orientation applied), without decoding it.

    Raises:
        EquiviewError: It is missing, or no picture.
    """
    with pictures.opened(require_file(path, "an image file"), str(path)) as image:
        return pictures.upright_hw(image)


def stored_hw(path: Path) -> tuple[int, int]:
    """Return height and width of a picture as the file stores it, which its intrinsics are for.

    Raises:
        EquiviewError: As `image_hw`.
    """
    with pictures.opened(require_file(path, "an image file"), str(path)) as image:
        return image.height, image.width


def write_image(path: Path, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a picture atomically; the suffix chooses the format."""
    with atomic_path(path) as temporary:
        Image.fromarray(rgb).save(temporary)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return where equiview keeps what it may make again: in XDG_CACHE_HOME, or ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says that a relative path is to be ignored.
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "equiview"
