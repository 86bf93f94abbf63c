"""Pictures centred on a square canvas, as the published semantic protocol reads them."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image


@dataclass(frozen=True)
class Square:
    """Where a picture lies on a square.

    Attributes:
        size: Side of the square in pixels.
        scale: Square pixels of one picture pixel, in both directions (the short side is rounded after it).
        offset_xy: Where the picture's corner lies.
        content_hw: Size of the resized picture.

    Source: You et al., ICLR 2025, released `utils/functions.py` (preprocess_kps_pad) and `evaluate.py` (resize).
    """

    size: int
    scale: float
    offset_xy: tuple[int, int]
    content_hw: tuple[int, int]

    def place(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Return pixels of the square."""
        return xy * self.scale + np.array(self.offset_xy, np.float64)

    def unplace(self, xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Return pixels of the picture, the inverse of `place`."""
        return (xy - np.array(self.offset_xy, np.float64)) / self.scale


def square_of(hw: tuple[int, int], size: int) -> Square:
    """Fit a picture: the longer side takes the whole square, the shorter one is rounded (half to even) and centred."""
    h, w = (int(np.around(size * side / max(hw))) for side in hw)
    return Square(size, size / max(hw), (math.floor((size - w) / 2), math.floor((size - h) / 2)), (h, w))


def on_square(rgb: UInt8[np.ndarray, "h w 3"], square: Square) -> UInt8[np.ndarray, "s s 3"]:
    """Resize (Lanczos) and centre on black."""
    h, w = square.content_hw
    x, y = square.offset_xy
    canvas = np.zeros((square.size, square.size, 3), np.uint8)
    canvas[y : y + h, x : x + w] = np.asarray(Image.fromarray(rgb).resize((w, h), Image.Resampling.LANCZOS))
    return canvas
