"""What the SVG pictures are made of; templates/svg.html.j2 draws it. Coordinates are pixels of a view."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..draw.canvas import image_bytes

MARGIN = 0.06
DARK, BRIGHT, MOST_GAIN = 110.0, 160.0, 4.0


@dataclass(frozen=True)
class Scale:
    """How much room pictures may take.

    Attributes:
        long_side: Longest side of a photo in pixels.
        quality: JPEG quality.
    """

    long_side: int = 420
    quality: int = 86


@dataclass(frozen=True)
class Box:
    """The part of a view that is shown, in its pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def unit(self) -> float:
        """A hundredth of the long side: marks are drawn relative to what is shown."""
        return max(self.width, self.height) / 100


def boxes_around(
    masks: tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]], points: tuple[np.ndarray, np.ndarray]
) -> tuple[Box, Box]:
    """Return squares of one size around the object in both views, so that it keeps its relative size.

    Args:
        masks: Where the object is.
        points: Points [n 2] that must be seen as well, such as wrong matches on the background.
    """
    limits = [_limits(mask, xy) for mask, xy in zip(masks, points, strict=True)]
    side = max(float((high - low).max()) for low, high in limits) * (1 + 2 * MARGIN)
    return tuple(_square(low, high, side, mask.shape) for (low, high), mask in zip(limits, masks, strict=True))  # type: ignore[return-value]


def _limits(mask: Bool[np.ndarray, "h w"], xy: Float[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.nonzero(mask)
    corners = np.array([[cols.min(), rows.min()], [cols.max() + 1, rows.max() + 1]]) if len(rows) else np.zeros((0, 2))
    every = np.concatenate([corners, xy])
    if not len(every):
        return np.zeros(2), np.array(mask.shape[::-1], float)
    return every.min(0), every.max(0)


def _square(low: np.ndarray, high: np.ndarray, side: float, hw: tuple[int, ...]) -> Box:
    height, width = hw[:2]
    if side >= min(height, width):
        return Box(0, 0, width, height)
    x, y = np.clip((low + high - side) / 2, 0, [width - side, height - side])
    return Box(float(x), float(y), side, side)


def gain_for(rgb: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> float:
    """Return the factor that makes a dark object visible on a screen; 1 for most."""
    if not mask.any():
        return 1.0
    bright = float(np.percentile(rgb[mask].max(-1), 95))
    return 1.0 if bright >= DARK else min(MOST_GAIN, BRIGHT / max(bright, 1.0))


@dataclass(frozen=True)
class Placed:
    """Pixels laid over a rectangle of a view; those with a key are drawn by `Drawing.photos` only."""

    href: str
    x: float
    y: float
    width: float
    height: float
    key: str = ""


@dataclass(frozen=True)
class Mark:
    """A disc, cross, ring or line.

    Attributes:
        kind: Which shape.
        xy: Its centre, or where the line begins.
        size: Radius, half the width of a cross, or width of a line.
        colour: As in CSS.
        to: Where a line ends.
        opacity: Of a line, 0 to 1.
        dash: Length of a line's dashes; 0 is a solid line.
    """

    kind: Literal["dot", "cross", "ring", "line"]
    xy: Sequence[float] | np.ndarray
    size: float
    colour: str
    to: Sequence[float] | np.ndarray = ()
    opacity: float = 1.0
    dash: float = 0.0


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        box: What it shows.
        alt: Words for those who cannot see it.
        caption: Below it.
        photos: Key of a photo, and how far it is moved in x and y.
        tokens: One pixel a token, laid over the view.
        marks: On top.
    """

    box: Box
    alt: str
    caption: str
    photos: Sequence[tuple[str, float, float]] = ()
    tokens: Placed | None = None
    marks: Sequence[Mark] = ()


def photo(rgb: UInt8[np.ndarray, "h w 3"], key: str, box: Box, gain: float, scale: Scale) -> Placed:
    """Return the shown part of a view, to be drawn by its key any number of times."""
    x0, y0 = int(box.x), int(box.y)
    x1, y1 = int(np.ceil(box.x + box.width)), int(np.ceil(box.y + box.height))
    part = np.clip(rgb[y0:y1, x0:x1].astype(np.float32) * gain, 0, 255).astype(np.uint8)
    href = data_uri(image_bytes(part, "JPEG", scale.long_side, scale.quality), "jpeg")
    return Placed(href, x0, y0, part.shape[1], part.shape[0], key)


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as text that can stand in an attribute."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
