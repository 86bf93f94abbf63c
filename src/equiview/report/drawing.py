"""The few SVG shapes the pictures are made of. Coordinates are pixels of a view, corner origin."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from .html import Html, h, join

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


def photo(rgb: UInt8[np.ndarray, "h w 3"], key: str, box: Box, gain: float, scale: Scale) -> Html:
    """Return the shown part of a view as an <image> with an id, to be drawn with `use`."""
    x0, y0 = int(box.x), int(box.y)
    x1, y1 = int(np.ceil(box.x + box.width)), int(np.ceil(box.y + box.height))
    part = np.clip(rgb[y0:y1, x0:x1].astype(np.float32) * gain, 0, 255).astype(np.uint8)
    image = Image.fromarray(part)
    image.thumbnail((scale.long_side, scale.long_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=scale.quality, optimize=True)
    place = {"x": x0, "y": y0, "width": part.shape[1], "height": part.shape[0]}
    return h("image", id=key, **place, href=data_uri(buffer.getvalue(), "jpeg"), preserveAspectRatio="none")


def data_uri(content: bytes, kind: str) -> str:
    """Return an image as text that can stand in an attribute."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def png(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """Return pixels as the address of a PNG inside the page."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "png")


def canvas(box: Box, alt: str, *body: Html) -> Html:
    """Return a drawing that shows a box, with words for those who cannot see it."""
    view = f"{box.x:.1f} {box.y:.1f} {box.width:.1f} {box.height:.1f}"
    return h("svg", h("title", alt), *body, viewBox=view, role="img", class_="photo")


def figure(drawing: Html, caption: str) -> Html:
    """Put a caption under a drawing."""
    return h("figure", drawing, h("figcaption", caption))


def use(key: str, view: int, dx: float = 0.0, dy: float = 0.0) -> Html:
    """Draw a photo again, moved."""
    return h("use", href=f"#{key}-{view}", x=f"{dx:.1f}", y=f"{dy:.1f}")


def line(a: np.ndarray, b: np.ndarray, colour: str, width: float, opacity: float, dash: str | None = None) -> Html:
    """Draw a straight line."""
    ends = {"x1": f"{a[0]:.1f}", "y1": f"{a[1]:.1f}", "x2": f"{b[0]:.1f}", "y2": f"{b[1]:.1f}"}
    style = {"stroke": colour, "stroke_width": f"{width:.2f}", "stroke_opacity": opacity, "stroke_dasharray": dash}
    return h("line", **ends, **style)


def dot(at: np.ndarray, radius: float, colour: str) -> Html:
    """Draw a disc with a dark rim."""
    rim = {"stroke": "#000", "stroke_width": f"{radius / 4:.2f}"}
    return h("circle", cx=f"{at[0]:.1f}", cy=f"{at[1]:.1f}", r=f"{radius:.2f}", fill=colour, **rim)


def cross(at: np.ndarray, size: float, colour: str) -> Html:
    """Draw a cross with a dark rim."""
    x, y = at
    left, right, top, bottom = (f"{v:.1f}" for v in (x - size, x + size, y - size, y + size))
    path = f"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}"
    rim = h("path", d=path, stroke="#000", stroke_width=f"{0.9 * size:.2f}", fill="none")
    return join(rim, h("path", d=path, stroke=colour, stroke_width=f"{0.5 * size:.2f}", fill="none"))


def ring(at: np.ndarray, radius: float) -> Html:
    """Draw a white ring with a dark rim."""
    place: dict[str, Any] = {"cx": f"{at[0]:.1f}", "cy": f"{at[1]:.1f}", "r": f"{radius:.2f}", "fill": "none"}
    rim = h("circle", **place, stroke="#000", stroke_width=f"{radius * 0.7:.2f}")
    return join(rim, h("circle", **place, stroke="#fff", stroke_width=f"{radius * 0.35:.2f}"))
