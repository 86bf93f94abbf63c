"""What is printed on packages: words, logos, pictures, tables, barcodes. Drawn with Pillow's own font."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from ..dead_leaves import dead_leaves
from ..procedural_paint import color_of

Box = tuple[int, int, int, int]
Rgb = tuple[int, int, int]
_ONSETS = ("b", "br", "c", "ch", "d", "f", "fl", "g", "h", "k", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ea", "io", "y")
_CODAS = ("", "", "l", "n", "r", "s", "t", "x", "ck", "nd")


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def word(rng: np.random.Generator) -> str:
    """Return a made-up word that can be pronounced."""
    parts = [f"{rng.choice(_ONSETS)}{rng.choice(_VOWELS)}{rng.choice(_CODAS)}" for _ in range(int(rng.integers(1, 4)))]
    return "".join(parts)


def front(rng: np.random.Generator, hw: tuple[int, int], ground: Sequence[float]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the side of a package that is meant to be seen: a name, a picture, a logo, a few words."""
    image = _sheet(rng, hw, ground)
    h, w = hw
    if rng.random() < 0.75:
        _picture(rng, image, _place(rng, hw, (0.4, 0.9), (0.3, 0.55), below=0.35))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.6:
        _logo(rng, draw, _place(rng, hw, (0.15, 0.35), (0.1, 0.2)), ground)
    top = rng.uniform(0.05, 0.3)
    for _ in range(int(rng.integers(1, 3))):
        size = _line(rng, draw, (0.08 * w, top * h, 0.92 * w), rng.uniform(0.1, 0.24) * h, _ink(rng, ground))
        top += size / h + 0.03
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0.05, 0.5) * w, rng.uniform(0.05, 0.92) * h
        _line(rng, draw, (x, y, x + rng.uniform(0.2, 0.45) * w), 0.05 * h, _ink(rng, ground), words=3)
    return np.asarray(image)


def back(rng: np.random.Generator, hw: tuple[int, int], ground: Sequence[float]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the side with the small print: lines of text, a table, a barcode."""
    image = _sheet(rng, hw, ground)
    draw = ImageDraw.Draw(image)
    h, w = hw
    _line(rng, draw, (0.08 * w, 0.05 * h, 0.8 * w), 0.1 * h, _ink(rng, ground))
    ink, small = _ink(rng, ground), rng.uniform(0.028, 0.045) * h
    y = 0.2 * h
    while y < rng.uniform(0.4, 0.55) * h:
        _line(rng, draw, (0.08 * w, y, rng.uniform(0.6, 0.92) * w), small, ink, words=8)
        y += 1.5 * small
    _table(rng, draw, (int(0.08 * w), int(0.58 * h), int(rng.uniform(0.4, 0.6) * w), int(0.93 * h)))
    _barcode(rng, draw, (int(0.66 * w), int(rng.uniform(0.6, 0.75) * h), int(0.92 * w), int(0.92 * h)))
    return np.asarray(image)


def side(rng: np.random.Generator, hw: tuple[int, int], ground: Sequence[float]) -> UInt8[np.ndarray, "h w 3"]:
    """Return a narrow side: a name, perhaps turned by a right angle, or nothing."""
    image = _sheet(rng, hw, ground)
    if rng.random() < 0.4:
        image = image.rotate(90, expand=True)
    draw, (w, h) = ImageDraw.Draw(image), image.size
    for _ in range(int(rng.integers(0, 3))):
        y = rng.uniform(0.05, 0.75) * h
        _line(rng, draw, (0.1 * w, y, 0.9 * w), rng.uniform(0.08, 0.3) * h, _ink(rng, ground), int(rng.integers(1, 3)))
    return np.asarray(image.resize((hw[1], hw[0])))


def around(rng: np.random.Generator, hw: tuple[int, int], ground: Sequence[float]) -> UInt8[np.ndarray, "h w 3"]:
    """Return a label that goes around: front and back beside each other."""
    h, w = hw
    half = int(rng.uniform(0.4, 0.6) * w)
    return np.concatenate([front(rng, (h, half), ground), back(rng, (h, w - half), ground)], 1)


def _rgb(color: Float[np.ndarray, "3"] | Sequence[float]) -> Rgb:
    r, g, b = (int(255 * np.clip(value, 0, 1)) for value in color)
    return r, g, b


def _ink(rng: np.random.Generator, ground: Sequence[float]) -> Rgb:
    """Return a colour that can be read on the ground."""
    light = np.mean(ground) < 0.5
    strong = rng.random() < 0.35
    value = rng.uniform(0.85, 1.0) if light else rng.uniform(0.05, 0.35)
    return _rgb(color_of(rng.random(), rng.uniform(0.5, 0.9) if strong else rng.uniform(0, 0.2), value))


def _sheet(rng: np.random.Generator, hw: tuple[int, int], ground: Sequence[float]) -> Image.Image:
    """Return the empty sheet: one colour, or with a gradient, bands, or a curve to another colour."""
    h, w = hw
    ys, xs = np.mgrid[0:h, 0:w] / np.array([h, w])[:, None, None]
    other = color_of(rng.random(), rng.uniform(0.3, 0.9), rng.uniform(0.2, 1.0))
    kind = int(rng.integers(5))
    if kind < 2:
        weight = np.zeros((h, w))
    elif kind == 2:
        weight = 0.6 * ys
    elif kind == 3:
        weight = (np.abs(ys - rng.uniform(0.1, 0.9)) < rng.uniform(0.03, 0.12)).astype(float)
    else:
        weight = (ys > rng.uniform(0.3, 0.8) + 0.12 * np.sin(4 * xs + rng.uniform(0, 6))).astype(float)
    colors = np.array(ground) + weight[..., None] * (other - np.array(ground))
    return Image.fromarray((255 * np.clip(colors, 0, 1)).astype(np.uint8))


def _place(
    rng: np.random.Generator,
    hw: tuple[int, int],
    widths: tuple[float, float],
    heights: tuple[float, float],
    below: float = 0.03,
) -> Box:
    """Return a box of random size (as shares of the sheet) inside the sheet."""
    h, w = hw
    height, width = rng.uniform(*heights), rng.uniform(*widths)
    y, x = rng.uniform(below, max(below, 0.97 - height)) * h, rng.uniform(0.03, 0.97 - width) * w
    return int(x), int(y), int(x + width * w) + 2, int(y + height * h) + 2


def _line(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float, float],
    size: float,
    ink: Rgb,
    words: int = 1,
) -> float:
    """Write words at (left, top) no farther than to the right end; return the size of the font that fits."""
    left, top, right = place
    text = " ".join(word(rng) for _ in range(words))
    text = text.upper() if rng.random() < 0.4 else text.title() if words < 4 else text
    fits = min(size, size * (right - left) / max(draw.textlength(text, _font(max(6, int(size)))), 1))
    draw.text((left, top), text, ink, _font(max(6, int(fits))), stroke_width=int(fits > 30 and rng.random() < 0.5))
    return fits


def _picture(rng: np.random.Generator, image: Image.Image, box: Box) -> None:
    """Put in a picture with the statistics of a photograph, in an ellipse or to the box's edges."""
    w, h = box[2] - box[0], box[3] - box[1]
    drawn = Image.fromarray(dead_leaves(int(rng.integers(2**31)), (max(h, 8), max(w, 8))))
    mask = Image.new("L", drawn.size, 0)
    paint = ImageDraw.Draw(mask)
    (paint.ellipse if rng.random() < 0.5 else paint.rectangle)((0, 0, *drawn.size), fill=255)
    image.paste(drawn, box[:2], mask)


def _logo(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: Box, ground: Sequence[float]) -> None:
    color, center = _ink(rng, ground), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    kind = int(rng.integers(3))
    if kind == 0:
        draw.ellipse(box, fill=color)
    elif kind == 1:
        draw.rounded_rectangle(box, 0.3 * min(box[2] - box[0], box[3] - box[1]), fill=color)
    else:
        radius = min(box[2] - box[0], box[3] - box[1]) / 2
        draw.regular_polygon((*center, radius), int(rng.integers(3, 9)), int(rng.integers(90)), fill=color)
    size = 0.5 * (box[3] - box[1])
    _line(rng, draw, (0.8 * box[0] + 0.2 * box[2], center[1] - size / 2, box[2]), size, _rgb(ground))


def _table(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: Box) -> None:
    """A table of small text on white."""
    x0, y0, x1, y1 = box
    draw.rectangle(box, fill=(240, 240, 236), outline=(20, 20, 20))
    rows = int(rng.integers(4, 9))
    for row in range(rows):
        y = y0 + (y1 - y0) * row / rows
        draw.line((x0, y, x1, y), fill=(20, 20, 20))
        _line(rng, draw, (x0 + 2, y, x0 + 0.7 * (x1 - x0)), 0.75 * (y1 - y0) / rows, (20, 20, 20))
        draw.text(
            (x0 + 0.78 * (x1 - x0), y), str(rng.integers(100)), (20, 20, 20), _font(max(6, int((y1 - y0) / rows * 0.7)))
        )


def _barcode(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: Box) -> None:
    draw.rectangle(box, fill=(250, 250, 250))
    x = box[0] + 3.0
    while x < box[2] - 4:
        width = rng.choice([1, 2, 3]) * (box[2] - box[0]) / 90
        draw.rectangle((x, box[1] + 3, x + width, box[3] - 3), fill=(10, 10, 10))
        x += width + rng.choice([1, 2, 3]) * (box[2] - box[0]) / 90
