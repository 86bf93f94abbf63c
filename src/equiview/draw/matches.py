"""Matches of two pictures, drawn so that people can judge them: a few with numbers, many coloured by place."""

import colorsys

import numpy as np
from jaxtyping import Float, Int, UInt8

from .canvas import Canvas, fitting, resized

# Pictures of many matches are drawn at this height, whatever they measure.
SHOWN_HEIGHT_PX, SHOWN_WIDTH_PX = 720, 1100
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
    factor = fitting(rgb.shape[:2], height_px, SHOWN_WIDTH_PX)
    return np.asarray(resized(rgb, factor)), factor


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
    canvas = Canvas(_faded(rgb0), _faded(rgb1), height_px=SHOWN_HEIGHT_PX, width_px=SHOWN_WIDTH_PX, smooth=2)
    colours = [tuple(map(int, colour)) for colour in place_colours(xy0, rgb0.shape[:2])]
    matched = list(zip(xy0, xy1, colours, strict=True))
    for one, other, colour in matched:
        canvas.line([(canvas.left, one), (canvas.right, other)], (*colour, LINE_ALPHA), 1)
    # Few dots may be large; many must not cover each other.
    radius = float(np.clip(70 / np.sqrt(len(matched) + 1), 3.0, 6.0))
    for one, other, colour in matched:
        canvas.dot(canvas.left, one, colour, radius)
        canvas.dot(canvas.right, other, colour, radius)
    return canvas.rgb()


def _faded(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    grey = rgb.mean(-1, keepdims=True)
    return (PHOTO_LIFT + PHOTO_STRENGTH * (0.5 * rgb + 0.5 * grey)).astype(np.uint8)


def pair_picture(
    rgb0: UInt8[np.ndarray, "h0 w0 3"],
    xy0: Float[np.ndarray, "n 2"],
    rgb1: UInt8[np.ndarray, "h1 w1 3"],
    xy1: Float[np.ndarray, "n 2"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw points on both pictures at their own size; number and colour say which belong together.

    Args:
        rgb0: The source, left.
        xy0: Its points, pixels.
        rgb1: The target, right.
        xy1: Where they went, pixels.
    """
    canvas = Canvas(rgb0, rgb1)
    height = canvas.image.height
    radius, size = max(3.0, height / 100), max(10, height // 30)
    for side, points in ((canvas.left, xy0), (canvas.right, xy1)):
        for number, xy in enumerate(points):
            colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(number / len(points), 0.9, 1.0))
            canvas.dot(side, xy, colour, radius, rim=max(1, height // 400))
            canvas.text(side, xy, str(number + 1), colour, size, 1.3 * radius)
    return canvas.rgb()
