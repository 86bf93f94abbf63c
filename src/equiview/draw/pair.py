"""Two pictures side by side with the same numbered points on both."""

import colorsys

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

GAP_PX = 8


def beside(
    rgb0: UInt8[np.ndarray, "h0 w0 3"], rgb1: UInt8[np.ndarray, "h1 w1 3"]
) -> tuple[UInt8[np.ndarray, "h w 3"], int]:
    """Put two pictures side by side on white; return the whole and the x at which the second one begins."""
    h = max(rgb0.shape[0], rgb1.shape[0])
    canvas = np.full((h, rgb0.shape[1] + GAP_PX + rgb1.shape[1], 3), 255, np.uint8)
    canvas[: rgb0.shape[0], : rgb0.shape[1]] = rgb0
    left = rgb0.shape[1] + GAP_PX
    canvas[: rgb1.shape[0], left:] = rgb1
    return canvas, left


def pair_picture(
    rgb0: UInt8[np.ndarray, "h0 w0 3"],
    xy0: Float[np.ndarray, "n 2"],
    rgb1: UInt8[np.ndarray, "h1 w1 3"],
    xy1: Float[np.ndarray, "n 2"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw points on both pictures; number and colour say which belong together.

    Args:
        rgb0: The source, left.
        xy0: Its points, pixels.
        rgb1: The target, right.
        xy1: Where they went, pixels.
    """
    canvas, left = beside(rgb0, rgb1)
    h = len(canvas)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    radius = max(3.0, h / 100)
    font = ImageFont.load_default(size=max(10, h // 30))
    for points, shift in ((xy0, 0), (xy1, left)):
        for number, (x, y) in enumerate(points):
            colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(number / len(points), 0.9, 1.0))
            box = (x + shift - radius, y - radius, x + shift + radius, y + radius)
            draw.ellipse(box, fill=colour, outline="black", width=max(1, h // 400))
            at = (x + shift + 1.3 * radius, y - 1.3 * radius)
            draw.text(at, str(number + 1), font=font, fill=colour, stroke_width=1, stroke_fill="black", anchor="lb")
    return np.asarray(image)
