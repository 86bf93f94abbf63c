"""Paint for instances of a category: every material of every instance has its own colours and pattern."""

import numpy as np
from jaxtyping import Float, UInt8

from .category_instances import DARK, Instance
from .grid_mesh import Rect
from .procedural_paint import Noise, at_texels, color_of

SIZE = 384


def atlas(n: int) -> list[Rect]:
    """Return the square of the texture that each of `n` parts has."""
    per_row = int(np.ceil(np.sqrt(n)))
    side = SIZE // per_row
    return [
        (i % per_row * side, i // per_row * side, (i % per_row + 1) * side, (i // per_row + 1) * side) for i in range(n)
    ]


def paint_instance(rng: np.random.Generator, instance: Instance, size: float) -> UInt8[np.ndarray, "s s 4"]:
    """Return the texture for an instance.

    Args:
        rng: Decides colours and patterns.
        instance: The object.
        size: Its longest side: patterns are equally large on every object.
    """
    texture = np.full((SIZE, SIZE, 4), 255, np.uint8)
    rects = atlas(len(instance.grids))
    for material in dict.fromkeys(instance.materials):
        own = [i for i, name in enumerate(instance.materials) if name == material]
        points = [at_texels(instance.grids[i] / size, rects[i]) for i in own]
        colors = _colors(rng, np.concatenate([p.reshape(-1, 3) for p in points]), material)
        start = 0
        for i, at in zip(own, points, strict=True):
            x0, y0, x1, y1 = rects[i]
            count = at.shape[0] * at.shape[1]
            texture[y0:y1, x0:x1, :3] = colors[start : start + count].reshape(*at.shape[:2], 3)
            start += count
    return texture


def _colors(rng: np.random.Generator, points: Float[np.ndarray, "n 3"], material: str) -> UInt8[np.ndarray, "n 3"]:
    noise = Noise(points)
    hue = rng.random()
    base = color_of(hue, rng.uniform(0.15, 0.75), rng.uniform(0.4, 0.95))
    other = color_of(hue + rng.choice([0.04, 0.5, 0.33]), rng.uniform(0.1, 0.8), rng.uniform(0.15, 0.95))
    if material == DARK:
        base, other = np.full(3, 0.07), np.full(3, 0.2)
    kind = int(rng.integers(4))
    if kind == 0:
        weight = np.full(len(points), 0.1)
    elif kind == 1:
        direction = rng.normal(size=3)
        wave = points @ (direction / np.linalg.norm(direction)) * rng.uniform(5, 9)
        weight = _step(np.sin(2 * np.pi * wave + 1.5 * noise(rng, 5)))
    else:
        weight = _step(6 * (noise(rng, 14 if kind == 2 else 6) - 0.25))
    color = base + weight[:, None] * (other - base)
    color *= 1 + 0.18 * noise(rng, 5)[:, None] + 0.12 * noise(rng, 30)[:, None]
    return (np.clip(color, 0.02, 1) * 255).astype(np.uint8)


def _step(value: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Go from 0 to 1 where the value changes sign, within a little."""
    return np.clip(0.5 + 2 * value, 0, 1)
