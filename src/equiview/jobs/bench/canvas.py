"""Two pictures side by side at one height, and marks on them; places are given in the pixels of the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

HEIGHT, GAP = 280, 6
TRUE, RIGHT, WRONG, PLAIN = (90, 220, 255), (90, 235, 110), (255, 80, 60), (255, 255, 255)
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Side:
    """Where one of the pictures is on the canvas: pixels are scaled, then moved to the right."""

    scale: float
    shift: float

    def place(self, xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        return np.asarray(xy, np.float64) * self.scale + (self.shift, 0.0)


class Canvas:
    """A pair of pictures.

    Args:
        left: 8-bit RGB.
        right: 8-bit RGB.
    """

    def __init__(self, left: UInt8[np.ndarray, "h w 3"], right: UInt8[np.ndarray, "h w 3"]) -> None:
        scales = [HEIGHT / rgb.shape[0] for rgb in (left, right)]
        widths = [max(1, round(rgb.shape[1] * scale)) for rgb, scale in zip((left, right), scales, strict=True)]
        self.image = Image.new("RGB", (sum(widths) + GAP, HEIGHT), (128, 128, 128))
        self.left, self.right = Side(scales[0], 0.0), Side(scales[1], float(widths[0] + GAP))
        for rgb, side, width in zip((left, right), (self.left, self.right), widths, strict=True):
            small = Image.fromarray(rgb).resize((width, HEIGHT), Image.Resampling.LANCZOS)
            self.image.paste(small, (round(side.shift), 0))
        self.pen = ImageDraw.Draw(self.image)

    def dot(self, side: Side, xy: Float[np.ndarray, "2"], colour: Colour, radius: float = 4.0) -> None:
        """Draw a disc with a dark rim; nothing where the place is not finite."""
        self._round(side, xy, radius, {"fill": colour, "outline": (0, 0, 0)})

    def ring(self, side: Side, xy: Float[np.ndarray, "2"], colour: Colour, radius: float = 6.0) -> None:
        """Draw a circle with a dark rim."""
        self._round(side, xy, radius + 1, {"outline": (0, 0, 0), "width": 4})
        self._round(side, xy, radius, {"outline": colour, "width": 2})

    def _round(self, side: Side, xy: Float[np.ndarray, "2"], radius: float, style: dict[str, object]) -> None:
        if np.isfinite(xy).all():
            x, y = (float(v) for v in side.place(xy))
            self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), **style)  # type: ignore[arg-type]

    def line(self, side: Side, ends: Sequence[Float[np.ndarray, "2"]], colour: Colour, width: int = 2) -> None:
        """Draw a straight line."""
        if np.isfinite(ends).all():
            self.pen.line([tuple(float(v) for v in side.place(end)) for end in ends], fill=colour, width=width)

    def rgb(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture."""
        return np.asarray(self.image)
