"""Tableware, fruit, toys and desk things: hollow, plain or made of a few parts."""

import numpy as np

from ..solids import block, tube, turned
from . import colors
from .pieces import Finish, Piece, ellipse, piece, rectangle, swept


def cup(rng: np.random.Generator) -> list[Piece]:
    """A cup, mug or beaker, with a handle or none, plain or printed."""
    r, h, wall = rng.uniform(0.25, 0.42), rng.uniform(0.45, 0.9), rng.uniform(0.02, 0.05)
    foot = r * rng.uniform(0.65, 1.0)
    profile = [
        (0, wall - h / 2),
        (foot - wall, wall - h / 2),
        (r - wall, h / 2),
        (r, h / 2),
        (foot, -h / 2),
        (0, -h / 2),
    ]
    printed = rng.random() < 0.35
    finish = Finish(colors.any_color(rng), "wrap" if printed else "none", (0.2, 0.8), mottled=0.06)
    pieces = [piece(turned(profile), finish)]
    if printed:  # The print is outside; the inside is a thin cup of its own.
        inside = [
            (0, wall - h / 2 + 0.01),
            (foot - wall - 0.005, wall - h / 2 + 0.01),
            (r - wall - 0.005, h / 2 + 0.004),
            (r, h / 2 + 0.004),
            (r - wall, h / 2 - 0.01),
            (foot - wall, wall - h / 2),
            (0, wall - h / 2),
        ]
        pieces.append(piece(turned(inside), Finish(colors.any_color(rng))))
    if rng.random() < 0.7:
        out, tall = r + rng.uniform(0.15, 0.25), rng.uniform(0.25, 0.4) * h
        low = 0.5 * (r + foot)
        path = [
            (0.96 * r, 0, tall),
            (0.9 * out, 0, 0.9 * tall),
            (out, 0, 0),
            (0.85 * out, 0, -0.8 * tall),
            (0.96 * low, 0, -tall),
        ]
        pieces.append(piece(tube(path, [0.05, 0.04, 0.04, 0.04, 0.05], 1.3), Finish(finish.color)))
    return pieces


def bowl(rng: np.random.Generator) -> list[Piece]:
    """A bowl, ramekin, plate or lid, with ribs or a rim of another colour."""
    r, h, wall = 0.5, rng.uniform(0.08, 0.5), 0.03
    foot = r * rng.uniform(0.45, 0.9)
    profile = [
        (0, wall - h / 2),
        (foot - wall, wall - h / 2),
        (0.9 * r, 0.1 * h),
        (r - wall, h / 2),
        (r, h / 2),
        (foot, -h / 2),
        (0, -h / 2),
    ]
    ripples = (int(rng.integers(16, 30)), 0.015) if rng.random() < 0.4 else (0, 0.0)
    second = colors.any_color(rng) if rng.random() < 0.5 else None
    finish = Finish(colors.any_color(rng), second=second, second_from=rng.uniform(0.6, 0.95), mottled=0.08)
    pieces = [piece(swept(profile, ellipse(1, rng.uniform(0.7, 1.0), ripples, 121)), finish)]
    if rng.random() < 0.35:
        pieces.append(
            piece(
                tube([(0.45, 0, 0.3 * h), (0.8, 0, 0.4 * h), (1.15, 0, 0.35 * h)], [0.05, 0.04, 0.05], 0.6),
                Finish(colors.any_color(rng)),
            )
        )
    return pieces


def fruit(rng: np.random.Generator) -> list[Piece]:
    """A fruit or vegetable: nearly plain, with a stem; round, pear-shaped or long and bent."""
    color, stem = colors.strong(rng), colors.wood(rng)
    finish = Finish(
        color,
        mottled=rng.uniform(0.08, 0.25),
        second=colors.strong(rng) if rng.random() < 0.3 else None,
        second_from=0.85,
    )
    if rng.random() < 0.35:
        bend, r = rng.uniform(0.05, 0.25), rng.uniform(0.08, 0.14)
        path = [(-0.5, 0, bend), (-0.25, 0, 0.02), (0.1, 0, 0), (0.4, 0, 0.7 * bend), (0.52, 0, bend)]
        return [piece(tube(path, [0.3 * r, 0.9 * r, r, 0.6 * r, 0.25 * r], 0.9), finish)]
    h, neck = rng.uniform(0.7, 1.1), rng.uniform(0.2, 0.8)
    profile = [
        (0, 0.42 * h),
        (0.12, 0.46 * h),
        (0.4 * neck + 0.05, 0.38 * h),
        (0.3 + 0.12 * neck, 0.1 * h),
        (0.45, -0.2 * h),
        (0.35, -0.42 * h),
        (0.1, -0.5 * h),
        (0, -0.47 * h),
    ]
    smooth = np.array(profile)
    section = ellipse(1, rng.uniform(0.85, 1.0), (int(rng.integers(2, 6)), rng.uniform(0, 0.04)))
    fine = _rounded(smooth)
    return [
        piece(swept(fine, section, step=0.05), finish),
        piece(
            tube(
                [(0, 0, 0.38 * h), (0.02, 0, 0.5 * h), (0.06, 0, 0.56 * h)], [0.02, 0.018, 0.025], rows=20, columns=17
            ),
            Finish(stem),
        ),
    ]


def _rounded(corners: np.ndarray, times: int = 2) -> list[tuple[float, float]]:
    """Cut the corners of an open line (Chaikin's scheme), keeping its ends."""
    for _ in range(times):
        a, b = corners[:-1], corners[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 2)
        corners = np.concatenate([corners[:1], cut, corners[-1:]])
    return [(float(r), float(z)) for r, z in corners]


def soap(rng: np.random.Generator) -> list[Piece]:
    """A bar, stone or sponge: one plain body with a waist."""
    size = (1.0, rng.uniform(0.45, 0.7), rng.uniform(0.25, 0.5))
    body = block(size, rng.uniform(0.3, 0.9), rng.uniform(-0.1, 0.1))
    body[..., 1] *= 1 - rng.uniform(0, 0.25) * np.exp(-((body[..., 0] / 0.2) ** 2))
    body[..., 2] += rng.uniform(-0.1, 0.1) * body[..., 0] ** 2
    return [piece(body, Finish(colors.any_color(rng), mottled=rng.uniform(0.05, 0.2)))]


def remote(rng: np.random.Generator) -> list[Piece]:
    """A remote control, telephone or calculator: a slab with rows of buttons, one picture or none."""
    w, d = rng.uniform(0.22, 0.5), rng.uniform(0.07, 0.14)
    pieces = [piece(block((w, 1.0, d), rng.uniform(0.1, 0.3)), Finish(colors.any_color(rng)))]
    rows, columns = int(rng.integers(3, 5)), int(rng.integers(2, 4))
    buttons = [Finish(colors.any_color(rng)), Finish(colors.strong(rng))]
    top = rng.uniform(0.05, 0.3)
    for y in np.linspace(-0.4, top, rows):
        for x in np.linspace(-0.3 * w, 0.3 * w, columns):
            size = (0.45 * w / columns, 0.5 * (top + 0.4) / rows, 0.05)
            pieces.append(
                piece(block(size, 0.4, rows=14, columns=25), buttons[int(rng.random() < 0.25)], (x, y, d / 2))
            )
    if rng.random() < 0.6:
        screen = block((0.7 * w, 0.8 * (0.42 - top), 0.03), 0.1)
        pieces.append(piece(screen, Finish(colors.grey(rng, 0.1, 0.5), "faces"), (0, 0.5 * (0.46 + top), d / 2)))
    return pieces


def stapler(rng: np.random.Generator) -> list[Piece]:
    """A stapler or punch: a base, an arm that is open by some angle, a steel rail."""
    open_by = rng.uniform(0.02, 0.2)
    w = rng.uniform(0.14, 0.22)
    arm = block((0.95, w, 0.13), 0.4, 0.1)
    arm[..., 2] += open_by * (arm[..., 0] + 0.48) - 0.08 * arm[..., 0] ** 2
    rail = block((0.85, 0.6 * w, 0.05), 0.15)
    rail[..., 2] += 0.6 * open_by * (rail[..., 0] + 0.43)
    main = Finish(colors.any_color(rng), "faces" if rng.random() < 0.3 else "none")
    return [
        piece(arm, main, (0, 0, 0.12)),
        piece(rail, Finish(colors.metal(rng)), (0.01, 0, 0.05)),
        piece(block((1.0, 1.1 * w, 0.06), 0.3), Finish(colors.grey(rng, 0.05, 0.4)), (0, 0, -0.06)),
        piece(block((0.16, 0.9 * w, 0.2), 0.5), Finish(colors.any_color(rng)), (-0.42, 0, 0.03)),
    ]


def toy(rng: np.random.Generator) -> list[Piece]:
    """An animal: a body, a head with ears and eyes, legs, a tail; each part plain."""
    main, other, dark = Finish(colors.any_color(rng)), Finish(colors.any_color(rng)), Finish((0.08, 0.08, 0.09))
    w, h, leg = rng.uniform(0.26, 0.4), rng.uniform(0.26, 0.4), rng.uniform(0.1, 0.3)
    head = rng.uniform(0.22, 0.34)
    x, z = 0.36 + 0.3 * head, 0.5 * h + rng.uniform(-0.1, 0.3) * head
    pieces = [
        piece(block((0.75, w, h), rng.uniform(0.5, 0.95)), main),
        piece(block((head, 0.9 * head, head), rng.uniform(0.5, 0.95)), main, (x, 0, z)),
        piece(block((0.5 * head, 0.5 * head, 0.4 * head), 0.8), other, (x + 0.5 * head, 0, z - 0.1 * head)),
        piece(tube([(-0.33, 0, 0.05), (-0.45, 0, 0.12), (-0.52, 0, 0.3)], [0.04, 0.03, 0.03]), other),
    ]
    for side in (-1, 1):
        pieces.append(
            piece(
                block((0.25 * head, 0.12, rng.uniform(0.3, 0.8) * head), 0.9),
                other,
                (x - 0.1, side * 0.35 * head, z + 0.6 * head),
            )
        )
        pieces.append(
            piece(
                block((0.05, 0.05, 0.05), 1.0, rows=12, columns=17),
                dark,
                (x + 0.42 * head, side * 0.25 * head, z + 0.2 * head),
            )
        )
        for end in (-0.26, 0.26):
            pieces.append(
                piece(
                    block((0.13, 0.13, leg + 0.15), 0.6),
                    main if rng.random() < 0.8 else other,
                    (end, side * 0.32 * w, -0.5 * h - 0.3 * leg),
                )
            )
    return pieces


def bricks(rng: np.random.Generator) -> list[Piece]:
    """A few blocks of different colours put together, as children do."""
    pieces, z = [], 0.0
    for _ in range(int(rng.integers(3, 6))):
        w, d, h = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.4), rng.uniform(0.15, 0.3)
        profile = [(0, h / 2), (1, h / 2), (1, -h / 2), (0, -h / 2)]
        at = (rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.1), z + h / 2)
        finish = Finish(colors.strong(rng), "faces" if rng.random() < 0.2 else "none")
        pieces.append(
            piece(swept(profile, rectangle(w, d, 0.015, 8), step=0.06), finish, at, "z", rng.uniform(-30, 30))
        )
        z += h
    return pieces
