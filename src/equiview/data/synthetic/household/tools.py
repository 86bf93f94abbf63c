"""Things with a handle, most of them long and thin."""

import numpy as np

from ..solids import block, tube, turned
from . import colors
from .pieces import Finish, Piece, ellipse, piece, swept


def pen(rng: np.random.Generator) -> list[Piece]:
    """A pen, marker or stick: a barrel with words along it, a cap of another colour, perhaps a clip."""
    r, flat = rng.uniform(0.04, 0.12), rng.uniform(0.6, 1.0)
    cut = rng.uniform(0.1, 0.28)
    barrel = [(0, cut), (r, cut), (r, -0.44), (0.7 * r, -0.5), (0, -0.5)]
    wide, tip = 1.08 * r, rng.uniform(0.4, 1.0)
    cap = [(0, 0.5), (tip * wide, 0.49), (wide, 0.42 if tip > 0.7 else 0.3), (wide, cut), (0, cut)]
    words = (
        Finish(colors.any_color(rng), "along", (0.15, 0.95)) if rng.random() < 0.7 else Finish(colors.any_color(rng))
    )
    color = colors.any_color(rng)
    pieces = [
        piece(swept(barrel, ellipse(1, flat), step=0.02), words),
        piece(swept(cap, ellipse(1, flat), step=0.02), Finish(color)),
    ]
    if rng.random() < 0.5:
        pieces.append(piece(block((0.35 * r, 0.5 * r, 0.26), 0.4), Finish(color), (1.25 * wide, 0, 0.34)))
    return pieces


def screwdriver(rng: np.random.Generator) -> list[Piece]:
    """A ribbed handle in two colours, a steel shaft and a tip; or a brush, a knife, a file."""
    r, n = rng.uniform(0.06, 0.11), int(rng.integers(4, 9))
    end = rng.uniform(-0.1, 0.15)
    handle = [
        (0, 0.5),
        (0.7 * r, 0.5),
        (r, 0.44),
        (0.85 * r, 0.3),
        (r, end + 0.12),
        (0.55 * r, end + 0.05),
        (0.65 * r, end),
        (0, end),
    ]
    color, second = colors.any_color(rng), colors.strong(rng)
    pieces = [
        piece(
            swept(handle, ellipse(1, 1, (n, 0.06), 91), step=0.02),
            Finish(color, second=second, second_from=rng.uniform(0.6, 0.9)),
        )
    ]
    steel = Finish(colors.metal(rng), mottled=0.1)
    shaft = rng.uniform(0.018, 0.035)
    blade = int(rng.integers(3))
    if blade == 0:  # a screwdriver
        pieces.append(piece(tube([(0, 0, end + 0.03), (0, 0, -0.5)], [shaft, shaft]), steel))
        pieces.append(piece(block((2.4 * shaft, 0.9 * shaft, 0.12), 0.4), steel, (0, 0, -0.46)))
    elif blade == 1:  # a knife or a file
        flat = swept([(0, end + 0.03), (1, end), (1, -0.38), (0.1, -0.5), (0, -0.5)], ellipse(0.085, 0.012), step=0.02)
        pieces.append(piece(flat, steel, (rng.uniform(0, 0.04), 0, 0)))
    else:  # a brush
        bristles = Finish(colors.wood(rng), mottled=0.2)
        wide = rng.uniform(0.08, 0.2)
        pieces.append(piece(block((1.8 * wide, 0.09, 0.16), 0.2), steel, (0, 0, end - 0.1)))
        pieces.append(piece(block((1.7 * wide, 0.08, 0.3), 0.25), bristles, (0, 0, end - 0.28)))
    return pieces


def hammer(rng: np.random.Generator) -> list[Piece]:
    """A handle with a grip, and a head with a face and claws or a wedge."""
    bend = rng.uniform(-0.03, 0.03)
    grip = Finish(colors.any_color(rng) if rng.random() < 0.6 else colors.wood(rng), mottled=0.1)
    head = Finish(colors.metal(rng) if rng.random() < 0.8 else colors.grey(rng, 0.06, 0.15), mottled=0.12)
    r = rng.uniform(0.045, 0.065)
    pieces = [
        piece(tube([(0, 0, -0.55), (bend, 0, -0.2), (0, 0, 0.5)], [r, 1.15 * r, 0.7 * r], 0.75), grip),
        piece(block((0.16, 0.13, 0.14), 0.35), head, (0, 0, 0.46)),
        piece(
            turned([(0, 0.2), (0.075, 0.19), (0.08, 0.13), (0.05, 0.09), (0.05, -0.08), (0, -0.08)]),
            head,
            (0.1, 0, 0.46),
            "x",
        ),
    ]
    if rng.random() < 0.6:
        for side in (-1, 1):
            path = [(-0.04, side * 0.03, 0.47), (-0.18, side * 0.045, 0.48), (-0.3, side * 0.07, 0.38)]
            pieces.append(piece(tube(path, [0.05, 0.045, 0.012], 0.6), head))
    else:
        pieces.append(piece(block((0.3, 0.06, 0.13), 0.3, -0.2), head, (-0.17, 0, 0.46)))
    if rng.random() < 0.7:
        sleeve = [(0, -0.14), (1.25 * r, -0.15), (1.35 * r, -0.35), (1.2 * r, -0.54), (0, -0.56)]
        pieces.append(piece(turned(sleeve, 0.78, 60), Finish(colors.any_color(rng))))
    return pieces


def cutlery(rng: np.random.Generator) -> list[Piece]:
    """A spoon, fork, spatula or ladle, of steel, wood or plastic."""
    first = Finish((colors.metal, colors.wood, colors.any_color)[int(rng.integers(3))](rng), mottled=0.08)
    second = Finish(colors.any_color(rng)) if rng.random() < 0.5 else first
    lift = rng.uniform(0.0, 0.08)
    handle = tube([(-0.5, 0, lift), (-0.1, 0, lift / 2), (0.24, 0, 0)], [rng.uniform(0.025, 0.05), 0.022, 0.018], 0.5)
    pieces = [piece(handle, second)]
    kind = int(rng.integers(3))
    if kind == 0:  # a bowl: thin, sunk in the middle
        a, b, deep = rng.uniform(0.12, 0.17), rng.uniform(0.08, 0.13), rng.uniform(0.03, 0.09)
        profile = [
            (0, 0.012 - deep),
            (0.5, 0.012 - 0.75 * deep),
            (0.95, 0),
            (1, -0.006),
            (0.5, -0.75 * deep),
            (0, -deep),
        ]
        pieces.append(piece(swept(profile, ellipse(a, b), step=0.05), first, (0.24 + 0.9 * a, 0, 0)))
    elif kind == 1:  # a fork
        pieces.append(piece(block((0.14, 0.13, 0.025), 0.5), first, (0.27, 0, 0)))
        for y in np.linspace(-0.05, 0.05, int(rng.integers(3, 5))):
            pieces.append(
                piece(tube([(0.3, y, 0), (0.4, y, -0.015), (0.5, y, 0.02)], [0.013, 0.012, 0.006], 0.6), first)
            )
    else:  # a spatula
        wide, long = rng.uniform(0.14, 0.26), rng.uniform(0.2, 0.32)
        blade = block((long, wide, 0.02), 0.25, rng.uniform(-0.1, 0.1))
        pieces.append(piece(blade, first, (0.22 + long / 2, 0, rng.uniform(-0.01, 0.01))))
    return pieces


def scissors(rng: np.random.Generator) -> list[Piece]:
    """Scissors, pliers or a clamp: two crossing levers with handles, a pivot."""
    apart, loops = rng.uniform(6, 22), rng.random() < 0.5
    steel, grip = Finish(colors.metal(rng), mottled=0.1), Finish(colors.any_color(rng))
    thick, reach = rng.uniform(0.03, 0.055), rng.uniform(0.25, 0.45)
    pieces = [piece(turned([(0, 0.03), (0.04, 0.03), (0.04, -0.03), (0, -0.03)], columns=40), steel, (0, 0, 0.02))]
    for side in (-1, 1):
        jaw = tube([(-0.06, 0, 0), (0.15, side * 0.03, 0), (reach, side * 0.01, 0)], [0.04, 0.045, 0.012], 0.4)
        pieces.append(piece(jaw, steel, (0, 0, 0.012 * side), "z", side * apart / 2))
        if loops:
            angle = np.linspace(0, 2 * np.pi, 9)
            ring = [(-0.32 + 0.15 * np.cos(a), 0.1 * np.sin(a) + side * 0.04, 0.0) for a in angle]
            pieces.append(piece(tube(ring, [thick * 0.7] * 9, 0.7, 60), grip, (0, 0, 0), "z", -side * apart / 2))
            pieces.append(
                piece(
                    tube([(-0.2, side * 0.02, 0), (0, 0, 0)], [0.03, 0.04], 0.5),
                    grip,
                    (0, 0, 0),
                    "z",
                    -side * apart / 2,
                )
            )
        else:
            arm = tube([(0, 0, 0), (-0.2, side * 0.1, 0), (-0.52, side * 0.06, 0)], [0.045, thick, thick], 0.7)
            pieces.append(piece(arm, grip, (0, 0, 0), "z", -side * apart / 3))
    return pieces


def power_tool(rng: np.random.Generator) -> list[Piece]:
    """A drill, a glue gun, a hair dryer: a body, a grip at an angle, a nozzle, perhaps a battery."""
    main, dark = Finish(colors.strong(rng)), Finish(colors.grey(rng, 0.05, 0.2))
    lean, long = rng.uniform(-0.12, 0.05), rng.uniform(0.5, 0.75)
    r = rng.uniform(0.09, 0.14)
    nozzle = [(0, 0.2), (0.4 * r, 0.2), (0.75 * r, 0.05), (0.85 * r, -0.08), (0, -0.08)]
    pieces = [
        piece(block((long, 1.8 * r, 2 * r), 0.45), main, (0, 0, 0.25)),
        piece(turned(nozzle, columns=60), dark, (long / 2 + 0.02, 0, 0.26), "x"),
        piece(
            tube([(-0.1, 0, 0.2), (-0.14 + lean, 0, -0.1), (-0.16 + lean, 0, -0.32)], [0.1, 0.075, 0.085], 0.75), main
        ),
        piece(block((0.05, 0.06, 0.1), 0.6), dark, (0.02, 0, 0.08)),
        piece(block((0.2, 1.85 * r, 0.12), 0.3), dark, (-0.05, 0, 0.27)),
    ]
    if rng.random() < 0.7:
        pieces.append(piece(block((0.3, 0.2, 0.14), 0.25), dark, (-0.13 + lean, 0, -0.38)))
    if rng.random() < 0.6:
        plate = Finish(main.color, "faces")
        pieces.append(piece(block((0.22, 1.84 * r, 0.12), 0.15), plate, (-0.16, 0, 0.3)))
    return pieces
