"""Pictures of what changed: matches, similarity maps and principal components, drawn from pictures/*.npz."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from markupsafe import Markup

from ..draw.canvas import image_bytes
from .drawing import Box, Drawing, Mark, Placed, Scale, boxes_around, data_uri, gain_for, photo
from .numbers import number
from .shell import render

# (Upper error in percent of the shortest edge, colour, shape, words): the thresholds of PCDP. Shape says it too.
ERROR_STEPS = (
    (5, "#33bbee", "dot", "under 5 % of the edge (disc)"),
    (10, "#f0e442", "cross", "5 to 10 %"),
    (20, "#ee7733", "cross", "10 to 20 %"),
    (np.inf, "#ff2d55", "cross", "20 % and more"),
)
DOTS, LINES, QUERIES = 60, 14, 3
WHITE = "#fff"
STATES = ("before", "after")
Arrays = Mapping[str, np.ndarray]
Boxes = tuple[Box, Box]


def object_pictures(name: str, key: str, arrays: Arrays, scale: Scale) -> Markup:
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
    return render(
        "object.html.j2",
        photos=[photo(arrays[f"rgb{i}"], f"{key}-{i}", boxes[i], gain, scale) for i in (0, 1)],
        gain=gain,
        matches=_matches(name, key, arrays, boxes),
        heat_rows=[_heat_row(key, arrays, boxes, q) for q in range(min(QUERIES, len(arrays["query_xy0"])))],
        component_rows=[_component_row(key, view, arrays, box) for view, box in enumerate(boxes)],
    )


def picture_gain(arrays: Arrays) -> float:
    """Return the change of the share (percent) of drawn points found within 5 % of the edge."""
    before, after = (_errors(arrays, state) for state in STATES)
    return float(100 * ((after < 5).mean() - (before < 5).mean())) if len(before) else 0.0


def _errors(arrays: Arrays, state: str) -> Float[np.ndarray, "n"]:
    edge = min(arrays["rgb1"].shape[:2])
    return 100 * np.linalg.norm(arrays[f"xy1_{state}"] - arrays["xy1_true"], axis=-1) / edge


def _matches(name: str, key: str, arrays: Arrays, boxes: Boxes) -> list[Drawing]:
    # The same points before and after, spread from the best to the worst, so that the picture is no selection.
    order = np.argsort(_errors(arrays, "after"), kind="stable")
    dots = order[np.unique(np.linspace(0, len(order) - 1, min(DOTS, len(order))).astype(int))] if len(order) else order
    lines = set(dots[:: max(1, len(dots) // LINES)].tolist())
    return [_match_drawing(name, key, arrays, s, boxes, dots, lines) for s in STATES]


def _match_drawing(
    name: str, key: str, arrays: Arrays, state: str, boxes: Boxes, dots: np.ndarray, lines: set[int]
) -> Drawing:
    errors = _errors(arrays, state)
    left, right = boxes
    # Both views are moved so that view 0's box starts at the origin and view 1's stands beside it.
    gap = 1.5 * left.unit
    moves = (np.array([-left.x, -left.y]), np.array([left.width + gap - right.x, -right.y]))
    marks: list[Mark] = []
    for i in dots.tolist():
        places = (arrays["xy0"][i] + moves[0], arrays[f"xy1_{state}"][i] + moves[1], arrays["xy1_true"][i] + moves[1])
        marks += _match_marks(*places, float(errors[i]), left.unit, i in lines)
    share, mean = (100 * (errors < 5).mean(), errors.mean()) if len(errors) else (None, None)
    text = (
        f"{state.capitalize()}: {number(share, 0)} % of {len(errors)} points within 5 %, mean error {number(mean, 1)} %"
    )
    alt = f"Matches of {name} {state} adaptation, two views side by side. {text}."
    whole = Box(0, 0, left.width + gap + right.width, max(left.height, right.height))
    photos = [(f"{key}-{view}", float(dx), float(dy)) for view, (dx, dy) in enumerate(moves)]
    return Drawing(whole, alt, text, photos, marks=marks)


def _match_marks(
    start: np.ndarray, found: np.ndarray, true: np.ndarray, error: float, unit: float, with_line: bool
) -> list[Mark]:
    colour, shape = next((c, s) for limit, c, s, _ in ERROR_STEPS if error < limit)
    marks = [Mark("line", start, 0.28 * unit, colour, found, 0.7)] if with_line else []
    if shape == "dot":
        return [*marks, Mark("dot", start, 0.95 * unit, colour), Mark("dot", found, 0.95 * unit, colour)]
    marks.append(Mark("line", true, 0.22 * unit, colour, found, 0.55, unit))
    return [*marks, Mark("dot", start, 0.95 * unit, colour), Mark("cross", found, 1.1 * unit, colour)]


def _heat_row(key: str, arrays: Arrays, boxes: Boxes, query: int) -> list[Drawing]:
    point = f"point {query + 1}"
    ends = (
        ("query_xy0", f"View 0 with query {point}", f"{point.capitalize()} in view 0"),
        ("query_xy1_true", f"View 1 with the true place of {point}", "Its true place in view 1"),
    )
    drawn = []
    for view, ((name, alt, caption), box) in enumerate(zip(ends, boxes, strict=True)):
        ring = Mark("ring", arrays[name][query], 2.6 * box.unit, WHITE)
        drawn.append(Drawing(box, alt, caption, [(f"{key}-{view}", 0, 0)], marks=[ring]))
    return [*drawn, *(_heat_drawing(arrays, s, query, boxes[1]) for s in STATES)]


def _heat_drawing(arrays: Arrays, state: str, query: int, box: Box) -> Drawing:
    heat, true = arrays[f"heat_{state}"][query].astype(np.float32), arrays["query_xy1_true"][query]
    low, high = float(heat.min()), float(heat.max())
    colours = mpl.colormaps["viridis"]((heat - low) / max(high - low, 1e-6), bytes=True)[..., :3]
    row, col = np.unravel_index(int(heat.argmax()), heat.shape)
    best = arrays["offset_xy"] + np.array([col, row]) * arrays["stride_xy"]
    error = 100 * float(np.linalg.norm(best - true)) / min(arrays["rgb1"].shape[:2])
    text = f"{state.capitalize()}: cosine {low:.2f} to {high:.2f}, off by {error:.1f} %"
    alt = f"Similarity map of point {query + 1} {state} adaptation; {text}."
    marks = [Mark("ring", true, 2.6 * box.unit, WHITE), Mark("cross", _inside(best, box), 1.7 * box.unit, WHITE)]
    return Drawing(box, alt, text, tokens=_token_image(colours, arrays), marks=marks)


def _inside(xy: np.ndarray, box: Box) -> np.ndarray:
    """Move a mark that lies outside what is shown to the nearest edge."""
    pad = 2 * box.unit
    return np.clip(xy, [box.x + pad, box.y + pad], [box.x + box.width - pad, box.y + box.height - pad])


def _token_image(pixels: UInt8[np.ndarray, "r c 3"], arrays: Arrays) -> Placed:
    """Lay one pixel a token over the image, each where its token looks."""
    x, y = arrays["offset_xy"] - arrays["stride_xy"] / 2
    width, height = arrays["stride_xy"]
    rows, cols = pixels.shape[:2]
    return Placed(data_uri(image_bytes(pixels, "PNG"), "png"), x, y, cols * width, rows * height)


def _component_row(key: str, view: int, arrays: Arrays, box: Box) -> list[Drawing]:
    drawn = [Drawing(box, f"View {view}", f"View {view}", [(f"{key}-{view}", 0, 0)])]
    for state in STATES:
        pixels = (255 * np.clip(arrays[f"pca{view}_{state}"].astype(np.float32), 0, 1)).astype(np.uint8)
        alt = f"Principal components of view {view} {state} adaptation"
        drawn.append(Drawing(box, alt, state.capitalize(), tokens=_token_image(pixels, arrays)))
    return drawn


def error_legend() -> list[tuple[str, Mark]]:
    """Return what the colours of the match pictures mean."""
    return [(words, Mark(shape, (8, 8), 5, colour)) for _, colour, shape, words in ERROR_STEPS]  # type: ignore[arg-type]
