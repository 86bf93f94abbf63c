"""Things that food and household goods are sold in."""

import numpy as np

from ..solids import block, turned
from . import colors
from .pieces import Finish, Piece, ellipse, piece, rectangle, swept

_BOXES = ((0.7, 0.24, 1.0), (0.95, 0.35, 0.8), (1.0, 0.65, 0.35), (0.24, 0.2, 1.0), (0.5, 0.5, 1.0), (1.0, 0.3, 0.25))


def carton(rng: np.random.Generator) -> list[Piece]:
    """A folding box, printed on all sides."""
    w, d, h = np.array(_BOXES[int(rng.integers(len(_BOXES)))]) * rng.uniform(0.85, 1.15, 3)
    edge = rng.uniform(0.008, 0.02)
    profile = [(0, h / 2), (1 - edge, h / 2), (1, h / 2 - edge), (1, edge - h / 2), (1 - edge, -h / 2), (0, -h / 2)]
    box = swept(profile, rectangle(w, d, 0.03 * d + 0.004), step=0.05)
    return [piece(box, Finish(colors.strong(rng), "faces", mottled=0.03))]


def milk_carton(rng: np.random.Generator) -> list[Piece]:
    """A carton whose top is pressed flat, with a screw cap on its slope."""
    h, w = rng.uniform(0.85, 1.0), rng.uniform(0.3, 0.42)
    roof, ridge = h * rng.uniform(0.28, 0.33), 0.5 * h
    profile = [(0, ridge), (0.98, ridge), (1, roof), (1, -0.5 * h), (0, -0.5 * h)]
    flat = swept(profile, rectangle(w, w, 0.02), lambda z: np.interp(z, [roof, 0.86 * ridge, ridge], [1, 0.08, 0.05]))
    cap = turned([(0, 0.05), (0.06, 0.05), (0.06, -0.03), (0, -0.03)], columns=40)
    color = colors.any_color(rng)
    lid = piece(cap, Finish(colors.strong(rng)), (0, -0.27 * w, 0.5 * (roof + ridge)), "z")
    return [piece(flat, Finish(color, "faces", mottled=0.03)), lid]


def can(rng: np.random.Generator) -> list[Piece]:
    """A tin with a printed wrapper and rims."""
    h, r = rng.uniform(0.4, 0.9), rng.uniform(0.22, 0.4)
    rim = [
        (0, h / 2 - 0.02),
        (r - 0.03, h / 2 - 0.02),
        (r - 0.02, h / 2),
        (r, h / 2),
        (r, h / 2 - 0.03),
        (0, h / 2 - 0.03),
    ]
    low = [(a, b - h + 0.02) for a, b in rim]
    body = [(0, h / 2 - 0.025), (r - 0.012, h / 2 - 0.025), (r - 0.012, 0.01 - h / 2), (0, 0.01 - h / 2)]
    tin = Finish(colors.metal(rng), mottled=0.08)
    return [
        piece(turned(body), Finish(colors.any_color(rng), "wrap", (0.02, 0.98))),
        *(piece(turned(p), tin) for p in (rim, low)),
    ]


def bottle(rng: np.random.Generator) -> list[Piece]:
    """A bottle or jar of glass or plastic: shoulder, neck, cap, a label around or none."""
    h, r = rng.uniform(0.7, 1.0), rng.uniform(0.13, 0.3)
    neck, shoulder = r * rng.uniform(0.25, 0.8), h * rng.uniform(0.05, 0.3)
    waist = r * rng.uniform(0.8, 1.0)
    body = [(0, h / 2), (neck, h / 2), (neck, h / 2 - 0.08), (0.8 * r + 0.2 * neck, h / 2 - 0.08 - 0.6 * shoulder),
            (r, h / 2 - 0.1 - shoulder), (waist, 0.0), (r, 0.08 - h / 2), (0.95 * r, -h / 2), (0, -h / 2)]  # fmt: skip
    squash = rng.uniform(0.5, 1.0)
    label = Finish(colors.any_color(rng), "wrap", (rng.uniform(0.1, 0.2), rng.uniform(0.5, 0.68)), mottled=0.06)
    plain = Finish(colors.any_color(rng), mottled=0.08)
    section = ellipse(1, squash)
    return [piece(swept(body, section), label if rng.random() < 0.75 else plain), _cap(rng, 1.15 * neck, h / 2)]


def _cap(rng: np.random.Generator, r: float, z: float) -> Piece:
    """A lid: a screw cap with ridges, a long flip top, or a nozzle."""
    tall, kind = rng.uniform(0.06, 0.2), int(rng.integers(3))
    top = r * (rng.uniform(0.25, 0.5) if kind == 2 else rng.uniform(0.8, 1.0))
    profile = [(0, tall), (0.9 * top, tall), (top, tall - 0.015), (r, 0.0), (r, -0.04), (0, -0.04)]
    ripples = (int(rng.integers(14, 24)), 0.03) if kind == 0 else (0, 0.0)
    return piece(swept(profile, ellipse(1, 1, ripples, 97)), Finish(colors.any_color(rng)), (0, 0, z))


def squeeze_tube(rng: np.random.Generator) -> list[Piece]:
    """A tube as of toothpaste, lying or standing: round at the cap, flat at the other end."""
    h, r = rng.uniform(0.75, 1.0), rng.uniform(0.1, 0.19)
    profile = [
        (0, h / 2),
        (1.25, h / 2),
        (1.25, h / 2 - 0.05),
        (1, -0.4 * h),
        (0.35, -0.46 * h),
        (0.3, -h / 2),
        (0, -h / 2),
    ]
    body = swept(profile, ellipse(r, r), lambda z: np.interp(z, [-0.3 * h, 0.45 * h], [1, 0.06]))
    wide = r * rng.uniform(0.4, 0.95)
    cap = turned([(0, 0.05), (wide, 0.05), (0.9 * wide, -0.1), (0, -0.1)], columns=60)
    label = Finish(colors.any_color(rng), rng.choice(["along", "wrap"]), (0.1, 0.92))
    return [piece(body, label), piece(cap, Finish(colors.any_color(rng)), (0, 0, -h / 2))]


def spray(rng: np.random.Generator) -> list[Piece]:
    """A spray bottle with a trigger."""
    pieces = bottle(rng)
    z = float(pieces[0].grid[..., 2].max())
    head = Finish(colors.any_color(rng))
    return [
        *pieces,
        piece(block((0.36, 0.12, 0.12), 0.35), head, (0.07, 0, z + 0.14)),
        piece(block((0.05, 0.06, 0.24), 0.5), head, (0.16, 0, z + 0.02)),
        piece(
            turned([(0, 0.05), (0.04, 0.05), (0.05, -0.02), (0, -0.02)], columns=30),
            Finish(colors.strong(rng)),
            (0.27, 0, z + 0.15),
            "x",
        ),
    ]
