"""The one decoder of picture files: what is read, how large it may be, and how it becomes 8 bits.

Limits: `limits.MAX_PIXELS` pixels, looked up in the header, and the formats of `FORMATS`, found by content. Pillow
would hand an EPS file, whatever its name, to Ghostscript. Text and colour profiles of a PNG are passed over unread:
they can be far larger than the picture, and nothing of them is used here.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageOps

from .errors import EquiviewError, bad_input
from .limits import MAX_PIXELS

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "TGA", "PPM", "DDS")
PICTURE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AttributeError),
    *(AssertionError, RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""Whatever Pillow raises for a file that is broken; much of it is no OSError."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PASSED_OVER = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SWAPS_SIDES = (5, 6, 7, 8)
_ORIENTATION = 0x0112


@contextmanager
def opened(source: Path | bytes, name: str, fix: str = "Export it again as PNG or JPEG.") -> Iterator[Image.Image]:
    """Open a picture; whatever fails while it is open and decoded is one message.

    Args:
        source: A file, or its content.
        name: For messages.
        fix: What to do about a broken one.

    Raises:
        EquiviewError: It is missing, broken, of another format, or has more than `MAX_PIXELS` pixels.
    """
    try:
        # Pillow warns of sizes below the limit here, and of oddities in metadata that is not used.
        with warnings.catch_warnings(action="ignore"), Image.open(_readable(source), formats=FORMATS) as image:
            require_pixels(name, (image.height, image.width))
            yield image
    except EquiviewError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, f"{re.findall('[0-9]+', str(error))[0]} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise bad_input(name, "an image that opens", f"none of {', '.join(FORMATS)}", fix) from error
    except PICTURE_ERRORS as error:
        raise bad_input(name, "an image that opens", f"a broken one ({_words(error)})", fix) from error


def require_pixels(name: str, hw: tuple[int, int]) -> None:
    """Check a size before anything of it is decoded.

    Raises:
        EquiviewError: It has more than `MAX_PIXELS` pixels.
    """
    if hw[0] * hw[1] > MAX_PIXELS:
        raise _too_large(name, f"{hw[1]}x{hw[0]}")


def _too_large(name: str, found: str) -> EquiviewError:
    return bad_input(name, f"a picture of at most {MAX_PIXELS // 10**6} million pixels", found, "Reduce its size.")


def _words(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:80] or type(error).__name__


def _readable(source: Path | bytes) -> Path | io.BytesIO:
    """Return what Pillow opens: the source, or a PNG without the chunks that are not read."""
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        if file.read(8) != _PNG_MAGIC:
            return io.BytesIO(source) if isinstance(source, bytes) else source
        kept, whole, at = [_PNG_MAGIC], True, 8
        places = []
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            whole = whole and kind not in _PASSED_OVER
            places += [] if kind in _PASSED_OVER else [(at, size + 12)]
            at += size + 12
            file.seek(at)
        if whole:
            return io.BytesIO(source) if isinstance(source, bytes) else source
        for start, size in places:
            file.seek(start)
            kept.append(file.read(size))
    return io.BytesIO(b"".join(kept))


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8) of an open picture; 1 without."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode the pixels to look behind them.
        return 1
    found = image.getexif().get(_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def upright_hw(image: Image.Image) -> tuple[int, int]:
    """Return height and width of an open picture as viewers show it, its EXIF orientation applied."""
    stored = (image.height, image.width)
    return stored[::-1] if orientation(image) in _SWAPS_SIDES else stored


def upright(image: Image.Image) -> Image.Image:
    """Return an open picture as viewers show it."""
    return ImageOps.exif_transpose(image) if orientation(image) != 1 else image


def rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """Return the 8-bit colours of an open picture; transparency is dropped, 16 bits keep their upper half.

    Raises:
        EquiviewError: Its values have no stated range: floats outside 0 to 1, 32-bit integers above 255.
    """
    if _is_deep(image):
        return np.repeat(_grey(image, name)[..., None], 3, -1)
    return np.asarray(image.convert("RGB"))


def rgba(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 4"]:
    """Return the 8-bit colours of an open picture with its transparency (opaque without), see `rgb`.

    Raises:
        EquiviewError: As `rgb`.
    """
    if _is_deep(image):
        grey = _grey(image, name)
        return np.stack([grey, grey, grey, np.full_like(grey, 255)], -1)
    return np.asarray(image.convert("RGBA"))


def values(image: Image.Image) -> Shaped[np.ndarray, "..."]:
    """Return the stored values of an open picture: depth in 16 bits as it is, palette numbers, truth values."""
    return np.asarray(image)


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _grey(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w"]:
    """Return one channel of more than 8 bits as 8 bits; Pillow would clip it, to white or to black."""
    found = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return (found >> 8).astype(np.uint8)
    low, high = _range(found)
    if image.mode == "F" and low >= 0 and high <= 1:
        return np.rint(found * 255).astype(np.uint8)
    if image.mode == "I" and low >= 0 and high <= 255:
        return found.astype(np.uint8)
    kind = "floats" if image.mode == "F" else "32-bit integers"
    expected = "a picture of 8 or 16 bits, floats from 0 to 1, or integers from 0 to 255"
    raise bad_input(name, expected, f"{kind} from {low:g} to {high:g}", "Export it as 8-bit PNG.")


def _range(found: Float[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return the lowest and highest value; NaN when there is one."""
    return float(found.min()), float(found.max())
