"""Colours that bought things have: much black, white and grey, few but strong hues."""

import numpy as np

from ..procedural_paint import color_of
from .pieces import Color

STEEL = (0.6, 0.61, 0.63)


def any_color(rng: np.random.Generator) -> Color:
    """Return the colour of a material."""
    kind = rng.random()
    if kind < 0.15:
        return grey(rng, 0.05, 0.18)
    if kind < 0.35:
        return grey(rng, 0.78, 0.95)
    if kind < 0.45:
        return grey(rng, 0.3, 0.7)
    return strong(rng)


def strong(rng: np.random.Generator) -> Color:
    """Return a colour with a hue of its own."""
    r, g, b = color_of(rng.random(), rng.uniform(0.45, 0.95), rng.uniform(0.3, 0.95))
    return float(r), float(g), float(b)


def grey(rng: np.random.Generator, low: float, high: float) -> Color:
    """Return a grey with a slight tint."""
    r, g, b = color_of(rng.random(), rng.uniform(0, 0.08), rng.uniform(low, high))
    return float(r), float(g), float(b)


def metal(rng: np.random.Generator) -> Color:
    return grey(rng, 0.45, 0.72)


def wood(rng: np.random.Generator) -> Color:
    r, g, b = color_of(rng.uniform(0.06, 0.11), rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.85))
    return float(r), float(g), float(b)
