"""Pictures with the statistics of photographs, from nothing: overlapping textured discs and polygons.

The "dead leaves" model (Matheron 1968; Lee, Mumford, Huang, IJCV 2001) has the edge and scale statistics of natural
images. equiview uses such pictures where a user brings no photos, to learn what a backbone tells apart in general.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

LEAVES = 400


def dead_leaves(seed: int, hw: tuple[int, int] = (320, 320)) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one picture.

    Args:
        seed: Same seed, same picture.
        hw: Height and width in pixels.
    """
    rng = np.random.default_rng([seed, 20])
    h, w = hw
    ys, xs = np.mgrid[0:h, 0:w]
    picture = np.zeros((h * w, 3))
    # Front to back: a pixel keeps the first leaf that covers it, so only the uncovered ones are looked at.
    free, x, y = np.arange(h * w), xs.ravel(), ys.ravel()
    for number in range(LEAVES):
        inside = _leaf(rng, x, y, hw, last=number == LEAVES - 1)
        if inside.any():
            picture[free[inside]] = _texture(rng, x[inside], y[inside])
            free, x, y = free[~inside], x[~inside], y[~inside]
        if not len(free):
            break
    shade = 1 + 0.25 * np.sin(
        2 * np.pi * (xs / w * rng.uniform(-1, 1) + ys / h * rng.uniform(-1, 1)) + rng.uniform(0, 6)
    )
    noisy = picture.reshape(h, w, 3) * shade[..., None] + rng.normal(0, 0.015, (h, w, 3))
    return (np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def _leaf(
    rng: np.random.Generator, xs: Int[np.ndarray, "n"], ys: Int[np.ndarray, "n"], hw: tuple[int, int], last: bool
) -> Bool[np.ndarray, "n"]:
    """Return which pixels one disc or convex polygon covers; its radius follows the scale-invariant power law r^-3."""
    if last:
        return np.ones(xs.shape, bool)
    low, high = 0.03 * min(hw), 0.6 * min(hw)
    radius = 1 / np.sqrt(rng.uniform(1 / high**2, 1 / low**2))
    x = xs - rng.uniform(0, hw[1])
    y = ys - rng.uniform(0, hw[0])
    stretch = rng.uniform(0.4, 1)
    turn = rng.uniform(0, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / stretch
    if rng.random() < 0.5:
        return u * u + v * v < radius * radius
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
    return np.all([u * np.cos(a) + v * np.sin(a) < 0.7 * radius for a in angles], axis=0)


def _texture(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """Return the colours of one leaf: a base colour, and stripes, blobs or nothing in a second one."""
    base = rng.beta(1.2, 1.6, 3)
    other = rng.beta(1.2, 1.6, 3)
    frequency = 2 * np.pi / rng.uniform(4, 60)
    turn = rng.uniform(0, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    kind = rng.integers(3)
    if kind == 0:
        weight = np.full(x.shape, 0.1)
    elif kind == 1:
        weight = 0.5 + 0.5 * np.sin(frequency * u)
    else:
        weight = 0.5 + 0.5 * np.sin(frequency * u) * np.sin(frequency * v)
    strength = rng.uniform(0, 0.8)
    return base + strength * weight[:, None] * (other - base)
