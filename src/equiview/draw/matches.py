"""Many matches of two pictures drawn so that people can judge them: coloured by place, the best spread over all."""

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from .pair import beside

# Pictures are drawn at this height, whatever they measure; dots are drawn this many times as large and then reduced.
SHOWN_HEIGHT_PX, SHOWN_WIDTH_PX, SMOOTH = 720, 1100, 2
# Photographs step back so that the marks are seen; lines only hint at who belongs to whom.
PHOTO_STRENGTH, PHOTO_LIFT, LINE_ALPHA = 0.62, 34, 150
VIVID = 1.7
# Colours of the corners of picture 0 (upper left and right, lower left and right), mixed in between.
CORNERS = np.array([[[255, 40, 60], [255, 205, 0]], [[90, 70, 255], [0, 225, 120]]], np.float64)


def spread_best(
    xy: Float[np.ndarray, "n 2"], score: Float[np.ndarray, "n"], hw: tuple[int, int], count: int
) -> Int[np.ndarray, "k"]:
    """Choose matches for people to look at: the best of every part of the picture before the second best of any.

    Args:
        xy: Pixels in one picture.
        score: Higher is better.
        hw: Size of the picture.
        count: How many to choose, at most.

    Returns:
        Indices, in the order of choice.
    """
    # About as many parts as matches that are wanted, as square as the picture allows.
    side = max(1.0, float(np.sqrt(hw[0] * hw[1] / max(count, 1))))
    col, row = np.floor(xy / side).astype(int).T
    part = row * (int(hw[1] / side) + 2) + col
    order = np.lexsort((-score, part))
    firsts = np.flatnonzero(np.r_[True, np.diff(part[order]) != 0]) if len(order) else np.zeros(0, int)
    rank = np.arange(len(order)) - np.repeat(firsts, np.diff(np.r_[firsts, len(order)]))
    return order[np.lexsort((-score[order], rank))][:count]


def place_colours(xy: Float[np.ndarray, "n 2"], hw: tuple[int, int]) -> UInt8[np.ndarray, "n 3"]:
    """Return a colour for each place: neighbours have similar ones, the four corners differ most.

    The colours fill the box around the points: an object that is small in its picture has all of them, too.
    """
    if not len(xy):
        return np.zeros((0, 3), np.uint8)
    low, high = xy.min(0), xy.max(0)
    # Not stretched beyond a quarter of the picture: noise of two points is no pattern.
    size = np.maximum(high - low, np.array([hw[1], hw[0]]) / 4)
    u, v = np.clip((xy - (low + high) / 2) / size + 0.5, 0, 1).T[..., None]
    top, bottom = CORNERS[0, 0] * (1 - u) + CORNERS[0, 1] * u, CORNERS[1, 0] * (1 - u) + CORNERS[1, 1] * u
    mixed = top * (1 - v) + bottom * v
    # Mixtures are greyish; drawn apart from grey they stay colours that an eye can follow.
    grey = mixed.mean(-1, keepdims=True)
    return np.clip(1.15 * grey + VIVID * (mixed - grey), 0, 255).round().astype(np.uint8)


def shown(
    rgb: UInt8[np.ndarray, "h w 3"], height_px: int = SHOWN_HEIGHT_PX
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], float]:
    """Return a picture at the size it is drawn, and the factor: no wider than `SHOWN_WIDTH_PX`."""
    factor = min(height_px / rgb.shape[0], SHOWN_WIDTH_PX / rgb.shape[1])
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS)), factor


def match_picture(
    rgb0: UInt8[np.ndarray, "h0 w0 3"],
    xy0: Float[np.ndarray, "n 2"],
    rgb1: UInt8[np.ndarray, "h1 w1 3"],
    xy1: Float[np.ndarray, "n 2"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw matches as dots of one colour on both pictures, joined by thin lines.

    Where features agree, picture 1 shows the colours of picture 0 in the same arrangement on the same thing.

    Args:
        rgb0: The first picture, left.
        xy0: Matched places in it, pixels.
        rgb1: The second picture, right.
        xy1: Where they are there, pixels.
    """
    (small0, factor0), (small1, factor1) = shown(rgb0), shown(rgb1)
    canvas, left = beside(_faded(small0), _faded(small1))
    ends0, ends1 = xy0 * factor0, xy1 * factor1 + [left, 0]
    colours = place_colours(xy0, rgb0.shape[:2])
    size = canvas.shape[1] * SMOOTH, canvas.shape[0] * SMOOTH
    image = Image.fromarray(canvas).resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    for layer in (_lines(ends0, ends1, colours, size), _dots(np.r_[ends0, ends1], np.r_[colours, colours], size)):
        image = Image.alpha_composite(image, layer)
    return np.asarray(image.convert("RGB").resize((canvas.shape[1], canvas.shape[0]), Image.Resampling.BOX))


def _faded(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    grey = rgb.mean(-1, keepdims=True)
    return (PHOTO_LIFT + PHOTO_STRENGTH * (0.5 * rgb + 0.5 * grey)).astype(np.uint8)


def _lines(ends0: np.ndarray, ends1: np.ndarray, colours: np.ndarray, size: tuple[int, int]) -> Image.Image:
    layer = Image.new("RGBA", size)
    pen = ImageDraw.Draw(layer)
    for one, other, colour in zip(ends0 * SMOOTH, ends1 * SMOOTH, colours, strict=True):
        pen.line([*map(float, one), *map(float, other)], fill=(*map(int, colour), LINE_ALPHA), width=SMOOTH)
    return layer


def _dots(centres: np.ndarray, colours: np.ndarray, size: tuple[int, int]) -> Image.Image:
    layer = Image.new("RGBA", size)
    pen = ImageDraw.Draw(layer)
    # Few dots may be large; many must not cover each other.
    radius = SMOOTH * float(np.clip(70 / np.sqrt(len(centres) / 2 + 1), 3.0, 6.0))
    for (x, y), colour in zip(centres * SMOOTH, colours, strict=True):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=(*map(int, colour), 255), outline=(0, 0, 0, 255), width=SMOOTH)
    return layer
