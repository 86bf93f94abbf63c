"""Pictures side by side, with marks on them: places are given in the pixels of each picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

TRUE, RIGHT, WRONG = (90, 220, 255), (90, 235, 110), (255, 80, 60)
BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (128, 128, 128)
GAP_PX = 8
Colour = tuple[int, ...]
Point = Float[np.ndarray, "2"]


@dataclass(frozen=True)
class Side:
    """Where one of the pictures is on the canvas: pixels are scaled, then moved to the right."""

    scale: float
    shift: float

    def place(self, xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        return np.asarray(xy, np.float64) * self.scale + (self.shift, 0.0)


class Canvas:
    """Two pictures side by side.

    Args:
        left: 8-bit RGB.
        right: 8-bit RGB.
        height_px: Both are drawn at this height; None leaves them as they are.
        width_px: And no wider than this; a picture that would be is drawn smaller.
        gap_px: Between them.
        ground: Colour of what they do not cover.
        smooth: Marks are drawn this many times as large and then reduced, so that their edges are smooth.
    """

    def __init__(
        self,
        left: UInt8[np.ndarray, "h w 3"],
        right: UInt8[np.ndarray, "h w 3"],
        *,
        height_px: int | None = None,
        width_px: int | None = None,
        gap_px: int = GAP_PX,
        ground: Colour = WHITE,
        smooth: int = 1,
    ) -> None:
        scales = [fitting(rgb.shape[:2], height_px, width_px) for rgb in (left, right)]
        small = [resized(rgb, scale) for rgb, scale in zip((left, right), scales, strict=True)]
        shift = small[0].width + gap_px
        self.smooth = smooth
        self.left = Side(scales[0] * smooth, 0.0)
        self.right = Side(scales[1] * smooth, float(shift * smooth))
        self.image = Image.new("RGB", (shift + small[1].width, max(one.height for one in small)), ground)
        for one, x in zip(small, (0, shift), strict=True):
            self.image.paste(one, (x, 0))
        if smooth > 1:
            self.image = self.image.resize([smooth * side for side in self.image.size], Image.Resampling.BICUBIC)
        # In mode RGBA a colour with a fourth number, its opacity, is mixed with what is below it.
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def dot(self, side: Side, xy: Point, colour: Colour, radius: float = 4.0, rim: int = 1) -> None:
        """Draw a disc with a dark rim; nothing where the place is not finite."""
        self._round(side, xy, radius, fill=colour, outline=BLACK, width=rim * self.smooth)

    def ring(self, side: Side, xy: Point, colour: Colour, radius: float = 6.0) -> None:
        """Draw a circle with a dark rim."""
        self._round(side, xy, radius + 1, outline=BLACK, width=4 * self.smooth)
        self._round(side, xy, radius, outline=colour, width=2 * self.smooth)

    def _round(self, side: Side, xy: Point, radius: float, **style: object) -> None:
        if np.isfinite(xy).all():
            x, y = (float(v) for v in side.place(xy))
            radius = radius * self.smooth
            self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), **style)  # type: ignore[arg-type]

    def line(self, ends: Sequence[tuple[Side, Point]], colour: Colour, width: int = 2) -> None:
        """Draw a straight line; nothing where an end is not finite."""
        if all(np.isfinite(xy).all() for _, xy in ends):
            places = [tuple(float(v) for v in side.place(xy)) for side, xy in ends]
            self.pen.line(places, fill=colour, width=width * self.smooth)

    def text(self, side: Side, xy: Point, words: str, colour: Colour, size: int, away_px: float = 0.0) -> None:
        """Write to the upper right of a place, this far away from it."""
        x, y = (float(v) for v in side.place(xy))
        style = {"font": ImageFont.load_default(size=size), "stroke_width": 1, "stroke_fill": BLACK, "anchor": "lb"}
        self.pen.text((x + away_px, y - away_px), words, fill=colour, **style)  # type: ignore[arg-type]

    def rgb(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture."""
        size = [side // self.smooth for side in self.image.size]
        return np.asarray(self.image.resize(size, Image.Resampling.BOX) if self.smooth > 1 else self.image)


def fitting(hw: tuple[int, ...], height_px: int | None, width_px: int | None = None) -> float:
    """Return the factor that gives a picture this height, or less so that it is not wider than this."""
    height = 1.0 if height_px is None else height_px / hw[0]
    return height if width_px is None else min(height, width_px / hw[1])


def resized(rgb: UInt8[np.ndarray, "h w 3"], factor: float) -> Image.Image:
    """Return a picture of another size, one pixel at least."""
    image = Image.fromarray(rgb)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def image_bytes(
    rgb: UInt8[np.ndarray, "h w 3"], kind: Literal["JPEG", "PNG"], long_side_px: int | None = None, quality: int = 85
) -> bytes:
    """Return a picture as the content of a file.

    Args:
        rgb: The picture.
        kind: Of file.
        long_side_px: A larger one is reduced to this; None leaves it.
        quality: Of a JPEG, 1 to 95.
    """
    image = Image.fromarray(rgb)
    if long_side_px is not None:
        image.thumbnail((long_side_px, long_side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, kind, optimize=True, **({"quality": quality} if kind == "JPEG" else {}))
    return buffer.getvalue()
