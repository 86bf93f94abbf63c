"""Pictures of what changed: matches, similarity maps and principal components, drawn from pictures/*.npz."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from .html import Html, h, join
from .numbers import number

# (upper error in percent of the shortest edge, colour, is it a hit): the thresholds of PCDP. Shape says it too:
# a hit is a disc, a miss a cross.
ERROR_STEPS = ((5, "#33bbee", True), (10, "#f0e442", False), (20, "#ee7733", False), (np.inf, "#ff2d55", False))
LONG_SIDE = 420
DOTS, LINES, QUERIES = 60, 14, 3
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Scale:
    """How much room pictures may take.

    Attributes:
        long_side: Longest side of a photo in pixels.
        quality: JPEG quality.
    """

    long_side: int = LONG_SIDE
    quality: int = 86


def object_pictures(name: str, key: str, arrays: Arrays, scale: Scale) -> Html:
    """Draw everything about one object.

    Args:
        name: The object.
        key: A short id, unique in the page.
        arrays: Its picture file.
        scale: Size of the photos.
    """
    photos = [_photo(arrays[f"rgb{i}"], f"{key}-{i}", scale) for i in (0, 1)]
    defs = h("svg", h("defs", *photos), width=0, height=0, class_="defs", aria_hidden="true")
    return join(defs, _matches(name, key, arrays), _heat_maps(key, arrays), _components(key, arrays))


def picture_gain(arrays: Arrays) -> float:
    """Return the change of the share (percent) of drawn points found within 5 % of the edge."""
    before, after = (_errors(arrays, state) for state in ("before", "after"))
    return float(100 * ((after < 5).mean() - (before < 5).mean())) if len(before) else 0.0


def _photo(rgb: UInt8[np.ndarray, "h w 3"], key: str, scale: Scale) -> Html:
    rows, cols = rgb.shape[:2]
    image = Image.fromarray(rgb)
    image.thumbnail((scale.long_side, scale.long_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=scale.quality, optimize=True)
    return h("image", id=key, width=cols, height=rows, href=_data(buffer.getvalue(), "jpeg"))


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _png(pixels: UInt8[np.ndarray, "h w c"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return _data(buffer.getvalue(), "png")


def _errors(arrays: Arrays, state: str) -> Float[np.ndarray, "n"]:
    edge = min(arrays["rgb1"].shape[:2])
    return 100 * np.linalg.norm(arrays[f"xy1_{state}"] - arrays["xy1_true"], axis=-1) / edge


def _matches(name: str, key: str, arrays: Arrays) -> Html:
    after = _errors(arrays, "after")
    # The same points before and after, spread from the best to the worst, so that the picture is no selection.
    order = np.argsort(after, kind="stable")
    dots = order[np.unique(np.linspace(0, len(order) - 1, min(DOTS, len(order))).astype(int))] if len(order) else order
    lines = set(dots[:: max(1, len(dots) // LINES)].tolist())
    figures = [_match_figure(name, key, arrays, state, dots, lines) for state in ("before", "after")]
    return h("div", *figures, class_="two")


def _match_figure(name: str, key: str, arrays: Arrays, state: str, dots: np.ndarray, lines: set[int]) -> Html:
    errors = _errors(arrays, state)
    (h0, w0), (h1, w1) = arrays["rgb0"].shape[:2], arrays["rgb1"].shape[:2]
    gap = 0.02 * w0
    unit = max(w0, h0) / 100
    marks = []
    for i in dots.tolist():
        start, found = arrays["xy0"][i], arrays[f"xy1_{state}"][i] + (w0 + gap, 0)
        true = arrays["xy1_true"][i] + (w0 + gap, 0)
        colour, hit = next((c, ok) for limit, c, ok in ERROR_STEPS if errors[i] < limit)
        if i in lines:
            marks.append(_line(start, found, colour, 0.28 * unit, 0.7))
        marks += [] if hit else [_line(true, found, colour, 0.22 * unit, 0.55, f"{unit:.2f} {unit:.2f}")]
        marks += [
            _dot(start, 0.85 * unit, colour),
            _dot(found, 0.85 * unit, colour) if hit else _cross(found, unit, colour),
        ]
    share = 100 * (errors < 5).mean() if len(errors) else None
    mean = errors.mean() if len(errors) else None
    text = (
        f"{state.capitalize()}: {number(share, 0)} % of {len(errors)} points within 5 %, mean error {number(mean, 1)} %"
    )
    alt = f"Matches of {name} {state} adaptation, two views side by side. {text}."
    body = [_use(key, 0, 0.0), _use(key, 1, w0 + gap), *marks]
    return _figure(_canvas(w0 + gap + w1, max(h0, h1), alt, *body), text)


def _canvas(width: float, height: float, alt: str, *body: Html) -> Html:
    return h("svg", h("title", alt), *body, viewBox=f"0 0 {width:.1f} {height:.1f}", role="img", class_="photo")


def _figure(drawing: Html, caption: str | Html) -> Html:
    return h("figure", drawing, h("figcaption", caption))


def _use(key: str, view: int, x: float) -> Html:
    return h("use", href=f"#{key}-{view}", x=f"{x:.1f}")


def _line(a: np.ndarray, b: np.ndarray, colour: str, width: float, opacity: float, dash: str | None = None) -> Html:
    ends = {"x1": f"{a[0]:.1f}", "y1": f"{a[1]:.1f}", "x2": f"{b[0]:.1f}", "y2": f"{b[1]:.1f}"}
    style = {"stroke": colour, "stroke_width": f"{width:.2f}", "stroke_opacity": opacity, "stroke_dasharray": dash}
    return h("line", **ends, **style)


def _dot(at: np.ndarray, radius: float, colour: str) -> Html:
    outline = {"stroke": "#000", "stroke_width": f"{radius / 4:.2f}"}
    return h("circle", cx=f"{at[0]:.1f}", cy=f"{at[1]:.1f}", r=f"{radius:.2f}", fill=colour, **outline)


def _cross(at: np.ndarray, size: float, colour: str) -> Html:
    x, y = at
    left, right, top, bottom = (f"{v:.1f}" for v in (x - size, x + size, y - size, y + size))
    path = f"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}"
    thin = h("path", d=path, stroke="#000", stroke_width=f"{0.9 * size:.2f}", fill="none")
    return join(thin, h("path", d=path, stroke=colour, stroke_width=f"{0.5 * size:.2f}", fill="none"))


def _ring(at: np.ndarray, radius: float) -> Html:
    at_text: dict[str, Any] = {"cx": f"{at[0]:.1f}", "cy": f"{at[1]:.1f}", "r": f"{radius:.2f}", "fill": "none"}
    black = h("circle", **at_text, stroke="#000", stroke_width=f"{radius * 0.7:.2f}")
    return join(black, h("circle", **at_text, stroke="#fff", stroke_width=f"{radius * 0.35:.2f}"))


def _heat_maps(key: str, arrays: Arrays) -> Html:
    rows = [_heat_row(key, arrays, q) for q in range(min(QUERIES, len(arrays["query_xy0"])))]
    if not rows:
        return Html("")
    text = (
        "Similarity to one point of view 0 (ring, left), over the tokens of view 1 before and after. The ring marks "
        "the true place, the cross the most similar token. Each map has its own scale: dark is its lowest cosine, "
        "yellow its highest."
    )
    return join(h("h4", "Similarity maps"), h("p", text, class_="hint"), h("div", *rows, class_="stack"))


def _heat_row(key: str, arrays: Arrays, query: int) -> Html:
    h0, w0 = arrays["rgb0"].shape[:2]
    xy, true = arrays["query_xy0"][query], arrays["query_xy1_true"][query]
    unit = max(h0, w0) / 100
    source = _canvas(w0, h0, f"View 0 with query point {query + 1}", _use(key, 0, 0.0), _ring(xy, 2.8 * unit))
    height, width = arrays["rgb1"].shape[:2]
    target = _canvas(
        width, height, f"View 1 with the true place of point {query + 1}", _use(key, 1, 0.0), _ring(true, 2.8 * unit)
    )
    figures = [_figure(source, f"Point {query + 1} in view 0"), _figure(target, "Its true place in view 1")]
    for state in ("before", "after"):
        figures.append(_heat_figure(arrays, state, query, true))
    return h("div", *figures, class_="four")


def _heat_figure(arrays: Arrays, state: str, query: int, true: np.ndarray) -> Html:
    height, width = arrays["rgb1"].shape[:2]
    unit = max(height, width) / 100
    heat = arrays[f"heat_{state}"][query].astype(np.float32)
    low, high = float(heat.min()), float(heat.max())
    colours = mpl.colormaps["viridis"]((heat - low) / max(high - low, 1e-6), bytes=True)[..., :3]
    row, col = np.unravel_index(int(heat.argmax()), heat.shape)
    (sx, sy), (ox, oy) = arrays["stride_xy"], arrays["offset_xy"]
    best = np.array([ox + col * sx, oy + row * sy])
    error = 100 * float(np.linalg.norm(best - true)) / min(height, width)
    text = f"{state.capitalize()}: cosine {low:.2f} to {high:.2f}, off by {error:.1f} %"
    alt = f"Similarity map of point {query + 1} {state} adaptation; {text}."
    overlay = _token_image(colours, arrays)
    return _figure(
        _canvas(width, height, alt, overlay, _ring(true, 2.8 * unit), _cross(best, 1.8 * unit, "#fff")), text
    )


def _token_image(pixels: UInt8[np.ndarray, "r c 3"], arrays: Arrays) -> Html:
    (sx, sy), (ox, oy) = arrays["stride_xy"], arrays["offset_xy"]
    rows, cols = pixels.shape[:2]
    place = {
        "x": f"{ox - sx / 2:.2f}",
        "y": f"{oy - sy / 2:.2f}",
        "width": f"{cols * sx:.2f}",
        "height": f"{rows * sy:.2f}",
    }
    return h("image", **place, href=_png(pixels), preserveAspectRatio="none", class_="tokens")


def _components(key: str, arrays: Arrays) -> Html:
    rows = []
    for view in (0, 1):
        height, width = arrays[f"rgb{view}"].shape[:2]
        photo = _canvas(width, height, f"View {view}", _use(key, view, 0.0))
        figures = [_figure(photo, f"View {view}")]
        for state in ("before", "after"):
            pixels = (255 * np.clip(arrays[f"pca{view}_{state}"].astype(np.float32), 0, 1)).astype(np.uint8)
            drawing = _canvas(
                width, height, f"Principal components of view {view} {state}", _token_image(pixels, arrays)
            )
            figures.append(_figure(drawing, f"{state.capitalize()}"))
        rows.append(h("div", *figures, class_="three"))
    text = (
        "The three strongest principal components as red, green and blue, one basis for both views: a part of the "
        "object should keep its colour from view 0 to view 1. Colours before and after are not comparable."
    )
    return join(h("h4", "Principal components"), h("p", text, class_="hint"), h("div", *rows, class_="stack"))


def error_legend() -> Html:
    """Explain the colours of the match pictures."""
    names = ("under 5 % of the edge (disc)", "5 to 10 %", "10 to 20 %", "20 % and more")
    items = []
    for text, (_, colour, hit) in zip(names, ERROR_STEPS, strict=True):
        mark = _dot(np.array([8, 8]), 5, colour) if hit else _cross(np.array([8, 8]), 5, colour)
        items.append(h("li", h("svg", mark, viewBox="0 0 16 16", class_="key", aria_hidden="true"), text))
    return h("ul", *items, class_="legend")
