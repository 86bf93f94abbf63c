"""Pictures of what changed: matches, similarity maps and principal components, drawn from pictures/*.npz."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8

from .drawing import Box, Scale, boxes_around, canvas, cross, dot, figure, gain_for, line, photo, png, ring, use
from .html import Html, h, join
from .numbers import number

# (upper error in percent of the shortest edge, colour, is it a hit): the thresholds of PCDP. Shape says it too:
# a hit is a disc, a miss a cross.
ERROR_STEPS = ((5, "#33bbee", True), (10, "#f0e442", False), (20, "#ee7733", False), (np.inf, "#ff2d55", False))
DOTS, LINES, QUERIES = 60, 14, 3
STATES = ("before", "after")
Arrays = Mapping[str, np.ndarray]
Boxes = tuple[Box, Box]


def object_pictures(name: str, key: str, arrays: Arrays, scale: Scale) -> Html:
    """Draw everything about one object.

    Args:
        name: The object.
        key: A short id, unique in the page.
        arrays: Its picture file.
        scale: Size of the photos.
    """
    masks = (arrays["mask0"].astype(bool), arrays["mask1"].astype(bool))
    every = np.concatenate([arrays[n] for n in ("xy1_true", "xy1_before", "xy1_after", "query_xy1_true")])
    boxes = boxes_around(masks, (np.concatenate([arrays["xy0"], arrays["query_xy0"]]), every))
    gain = min(gain_for(arrays[f"rgb{i}"], masks[i]) for i in (0, 1))
    photos = [photo(arrays[f"rgb{i}"], f"{key}-{i}", boxes[i], gain, scale) for i in (0, 1)]
    defs = h("svg", h("defs", *photos), width=0, height=0, class_="defs", aria_hidden="true")
    dark = h("p", f"A dark object: the photos are {gain:.1f} times brighter here.", class_="hint") if gain > 1 else None
    matches = _matches(name, key, arrays, boxes)
    return join(defs, matches, dark, _heat_maps(key, arrays, boxes), _components(key, arrays, boxes))


def picture_gain(arrays: Arrays) -> float:
    """Return the change of the share (percent) of drawn points found within 5 % of the edge."""
    before, after = (_errors(arrays, state) for state in STATES)
    return float(100 * ((after < 5).mean() - (before < 5).mean())) if len(before) else 0.0


def _errors(arrays: Arrays, state: str) -> Float[np.ndarray, "n"]:
    edge = min(arrays["rgb1"].shape[:2])
    return 100 * np.linalg.norm(arrays[f"xy1_{state}"] - arrays["xy1_true"], axis=-1) / edge


def _matches(name: str, key: str, arrays: Arrays, boxes: Boxes) -> Html:
    # The same points before and after, spread from the best to the worst, so that the picture is no selection.
    order = np.argsort(_errors(arrays, "after"), kind="stable")
    dots = order[np.unique(np.linspace(0, len(order) - 1, min(DOTS, len(order))).astype(int))] if len(order) else order
    lines = set(dots[:: max(1, len(dots) // LINES)].tolist())
    return h("div", *(_match_figure(name, key, arrays, s, boxes, dots, lines) for s in STATES), class_="two")


def _match_figure(
    name: str, key: str, arrays: Arrays, state: str, boxes: Boxes, dots: np.ndarray, lines: set[int]
) -> Html:
    errors, (left, right) = _errors(arrays, state), boxes
    # Both views are moved so that view 0's box starts at the origin and view 1's stands beside it.
    gap = 1.5 * left.unit
    moves = (np.array([-left.x, -left.y]), np.array([left.width + gap - right.x, -right.y]))
    marks = []
    for i in dots.tolist():
        places = (arrays["xy0"][i] + moves[0], arrays[f"xy1_{state}"][i] + moves[1], arrays["xy1_true"][i] + moves[1])
        marks += _match_marks(*places, float(errors[i]), left.unit, i in lines)
    share, mean = (100 * (errors < 5).mean(), errors.mean()) if len(errors) else (None, None)
    text = (
        f"{state.capitalize()}: {number(share, 0)} % of {len(errors)} points within 5 %, mean error {number(mean, 1)} %"
    )
    alt = f"Matches of {name} {state} adaptation, two views side by side. {text}."
    whole = Box(0, 0, left.width + gap + right.width, max(left.height, right.height))
    return figure(canvas(whole, alt, use(key, 0, *moves[0]), use(key, 1, *moves[1]), *marks), text)


def _match_marks(
    start: np.ndarray, found: np.ndarray, true: np.ndarray, error: float, unit: float, with_line: bool
) -> list[Html]:
    colour, hit = next((c, ok) for limit, c, ok in ERROR_STEPS if error < limit)
    marks = [line(start, found, colour, 0.28 * unit, 0.7)] if with_line else []
    marks += [] if hit else [line(true, found, colour, 0.22 * unit, 0.55, f"{unit:.2f} {unit:.2f}")]
    end = dot(found, 0.95 * unit, colour) if hit else cross(found, 1.1 * unit, colour)
    return [*marks, dot(start, 0.95 * unit, colour), end]


def _heat_maps(key: str, arrays: Arrays, boxes: Boxes) -> Html:
    rows = [_heat_row(key, arrays, boxes, q) for q in range(min(QUERIES, len(arrays["query_xy0"])))]
    if not rows:
        return Html("")
    text = (
        "Similarity to one point of view 0 (ring, left), over the tokens of view 1 before and after. The ring marks "
        "the true place, the cross the most similar token. Each map has its own scale: dark is its lowest cosine, "
        "yellow its highest."
    )
    return join(h("h4", "Similarity maps"), h("p", text, class_="hint"), h("div", *rows, class_="stack"))


def _heat_row(key: str, arrays: Arrays, boxes: Boxes, query: int) -> Html:
    xy, true, (left, right) = arrays["query_xy0"][query], arrays["query_xy1_true"][query], boxes
    source = canvas(left, f"View 0 with query point {query + 1}", use(key, 0), ring(xy, 2.6 * left.unit))
    alt = f"View 1 with the true place of point {query + 1}"
    target = canvas(right, alt, use(key, 1), ring(true, 2.6 * right.unit))
    figures = [figure(source, f"Point {query + 1} in view 0"), figure(target, "Its true place in view 1")]
    return h("div", *figures, *(_heat_figure(arrays, s, query, right) for s in STATES), class_="four")


def _heat_figure(arrays: Arrays, state: str, query: int, box: Box) -> Html:
    heat, true = arrays[f"heat_{state}"][query].astype(np.float32), arrays["query_xy1_true"][query]
    low, high = float(heat.min()), float(heat.max())
    colours = mpl.colormaps["viridis"]((heat - low) / max(high - low, 1e-6), bytes=True)[..., :3]
    row, col = np.unravel_index(int(heat.argmax()), heat.shape)
    best = arrays["offset_xy"] + np.array([col, row]) * arrays["stride_xy"]
    error = 100 * float(np.linalg.norm(best - true)) / min(arrays["rgb1"].shape[:2])
    text = f"{state.capitalize()}: cosine {low:.2f} to {high:.2f}, off by {error:.1f} %"
    alt = f"Similarity map of point {query + 1} {state} adaptation; {text}."
    marks = (ring(true, 2.6 * box.unit), cross(_inside(best, box), 1.7 * box.unit, "#fff"))
    return figure(canvas(box, alt, _token_image(colours, arrays), *marks), text)


def _inside(xy: np.ndarray, box: Box) -> np.ndarray:
    """Move a mark that lies outside what is shown to the nearest edge."""
    pad = 2 * box.unit
    return np.clip(xy, [box.x + pad, box.y + pad], [box.x + box.width - pad, box.y + box.height - pad])


def _token_image(pixels: UInt8[np.ndarray, "r c 3"], arrays: Arrays) -> Html:
    """Lay one pixel a token over the image, each where its token looks."""
    (x, y), (width, height) = arrays["offset_xy"] - arrays["stride_xy"] / 2, arrays["stride_xy"]
    rows, cols = pixels.shape[:2]
    place = {"x": f"{x:.2f}", "y": f"{y:.2f}", "width": f"{cols * width:.2f}", "height": f"{rows * height:.2f}"}
    return h("image", **place, href=png(pixels), preserveAspectRatio="none", class_="tokens")


def _components(key: str, arrays: Arrays, boxes: Boxes) -> Html:
    rows = []
    for view, box in enumerate(boxes):
        figures = [figure(canvas(box, f"View {view}", use(key, view)), f"View {view}")]
        for state in STATES:
            pixels = (255 * np.clip(arrays[f"pca{view}_{state}"].astype(np.float32), 0, 1)).astype(np.uint8)
            alt = f"Principal components of view {view} {state} adaptation"
            figures.append(figure(canvas(box, alt, _token_image(pixels, arrays)), state.capitalize()))
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
        mark = dot(np.array([8, 8]), 5, colour) if hit else cross(np.array([8, 8]), 5, colour)
        items.append(h("li", h("svg", mark, viewBox="0 0 16 16", class_="key", aria_hidden="true"), text))
    return h("ul", *items, class_="legend")
