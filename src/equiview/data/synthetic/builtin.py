"""Objects that come with the package: everyday things made at run time, for the demo and for trying things out.

Their shapes are recognisable, and worn paint, labels and signs leave no two places alike, so that correspondence on
them is well posed. One is for training (`TRAIN`), the others are for testing (`TEST`).
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from ...render.mesh import Mesh
from .procedural import KEPT_MESHES, painted_mesh
from .procedural_paint import Style, paint_in_style
from .solids import Grid, block, place, tube, turned

WHITE, CREAM, GREY, BLACK = (0.92, 0.92, 0.9), (0.9, 0.82, 0.66), (0.5, 0.52, 0.55), (0.1, 0.1, 0.12)
RED, ORANGE, YELLOW, GREEN = (0.78, 0.16, 0.14), (0.9, 0.48, 0.12), (0.93, 0.78, 0.2), (0.2, 0.5, 0.26)
TEAL, BLUE, NAVY, BROWN, PINK = (
    (0.1, 0.5, 0.52),
    (0.2, 0.4, 0.75),
    (0.12, 0.16, 0.36),
    (0.45, 0.28, 0.16),
    (0.9, 0.55, 0.6),
)


@dataclass(frozen=True)
class Builtin:
    """An object's parts (the first has most of the texture) and its paint."""

    parts: Callable[[], list[Grid]]
    style: Style


@lru_cache(maxsize=KEPT_MESHES)
def builtin_mesh(name: str) -> Mesh:
    """Make an object of the package.

    Args:
        name: A key of `BUILTINS`.

    Raises:
        KeyError: There is none of that name.
    """
    rng = np.random.default_rng([zlib.crc32(name.encode()), 0xB1])
    made = BUILTINS[name]
    return painted_mesh(made.parts(), partial(paint_in_style, rng, made.style), f"builtin-{name}")


def _camera() -> list[Grid]:
    lens = [(0, 0.3), (0.13, 0.29), (0.15, 0.3), (0.19, 0.3), (0.19, 0.2), (0.22, 0.19), (0.22, 0), (0, 0)]
    button = [(0, 0.06), (0.06, 0.06), (0.07, 0), (0, 0)]
    return [
        block((1.0, 0.34, 0.62), 0.2),
        place(turned(lens), (0.06, 0.12, -0.04), "y"),
        place(block((0.34, 0.28, 0.2), 0.3, -0.2), (0.06, 0, 0.36)),
        place(turned(button), (-0.36, 0, 0.3)),
        place(block((0.16, 0.2, 0.5), 0.5), (-0.44, 0.12, -0.02)),
    ]


def _mug() -> list[Grid]:
    cup = [(0, -0.34), (0.3, -0.34), (0.33, 0.4), (0.35, 0.42), (0.37, 0.4), (0.36, -0.36), (0.32, -0.42), (0, -0.42)]
    handle = [(0.33, 0, 0.26), (0.52, 0, 0.28), (0.62, 0, 0.05), (0.52, 0, -0.2), (0.33, 0, -0.24)]
    return [turned(cup), tube(handle, [0.055, 0.05, 0.05, 0.05, 0.06], 1.4)]


def _teapot() -> list[Grid]:
    pot = [(0, 0.5), (0.07, 0.48), (0.08, 0.42), (0.04, 0.36), (0.16, 0.33), (0.27, 0.28), (0.29, 0.24), (0.4, 0.12),
           (0.45, -0.05), (0.42, -0.22), (0.3, -0.34), (0.28, -0.4), (0, -0.4)]  # fmt: skip
    spout = [(0.35, 0, -0.14), (0.58, 0, -0.04), (0.68, 0, 0.16), (0.8, 0, 0.26)]
    handle = [(-0.36, 0, 0.14), (-0.62, 0, 0.22), (-0.72, 0, 0), (-0.6, 0, -0.2), (-0.4, 0, -0.16)]
    return [turned(pot), tube(spout, [0.13, 0.09, 0.06, 0.05]), tube(handle, [0.05] * 5, 1.3)]


def _hammer() -> list[Grid]:
    claws = [
        tube([(-0.04, side * 0.05, 0.5), (-0.2, side * 0.07, 0.54), (-0.36, side * 0.11, 0.42)], [0.07, 0.06, 0.025])
        for side in (-1, 1)
    ]
    face = [(0, 0.2), (0.11, 0.19), (0.12, 0.1), (0.07, 0.06), (0.07, -0.1), (0, -0.1)]
    return [
        tube([(0, 0, -0.62), (0.02, 0, -0.2), (0, 0, 0.2), (0, 0, 0.52)], [0.075, 0.085, 0.05, 0.05], 0.75),
        place(block((0.22, 0.2, 0.2), 0.35), (0.02, 0, 0.5)),
        place(turned(face), (0.16, 0, 0.5), "x"),
        *claws,
    ]


def _car() -> list[Grid]:
    wheel = [
        (0, 0.07),
        (0.07, 0.09),
        (0.09, 0.06),
        (0.14, 0.07),
        (0.17, 0.05),
        (0.17, -0.05),
        (0.14, -0.07),
        (0, -0.07),
    ]
    spots = [(0.3, 0.2, -0.16), (-0.3, 0.2, -0.16), (0.3, -0.2, -0.16), (-0.3, -0.2, -0.16)]
    return [
        block((1.08, 0.46, 0.28), 0.35),
        place(block((0.58, 0.4, 0.3), 0.35, -0.2), (-0.08, 0, 0.22)),
        *[place(turned(wheel, columns=60), spot, "y", 0 if spot[1] > 0 else 180) for spot in spots],
        place(block((0.1, 0.36, 0.08), 0.4), (0.52, 0, -0.06)),
    ]


def _bottle() -> list[Grid]:
    body = [(0, 0.36), (0.1, 0.36), (0.11, 0.3), (0.13, 0.26), (0.28, 0.12), (0.3, 0.02), (0.26, -0.14), (0.31, -0.34),
            (0.3, -0.6), (0.27, -0.64), (0, -0.64)]  # fmt: skip
    trigger = [(0.12, 0, 0.46), (0.2, 0, 0.36), (0.22, 0, 0.2)]
    return [
        turned(body, 0.68),
        place(block((0.42, 0.17, 0.16), 0.4), (0.06, 0, 0.5)),
        place(turned([(0, 0.09), (0.05, 0.09), (0.07, 0), (0, 0)]), (0.26, 0, 0.5), "x"),
        tube(trigger, [0.04, 0.035, 0.03], 1.6),
        place(turned([(0, 0.1), (0.12, 0.1), (0.13, 0), (0, 0)]), (0, 0, 0.34)),
    ]


def _duck() -> list[Grid]:
    body = block((0.86, 0.6, 0.52), 0.9)
    body[..., 2] += 0.5 * np.maximum(-body[..., 0] - 0.15, 0) ** 1.5  # the tail goes up
    return [
        body,
        place(block((0.42, 0.4, 0.42), 0.95), (0.24, 0, 0.38)),
        place(block((0.24, 0.2, 0.08), 0.7), (0.48, 0, 0.33)),
        place(block((0.4, 0.1, 0.26), 0.8), (-0.08, 0.29, 0.04), "z", 8),
        place(block((0.4, 0.1, 0.26), 0.8), (-0.08, -0.29, 0.04), "z", -8),
        place(block((0.06, 0.06, 0.06), 1.0), (0.36, 0.16, 0.46)),
        place(block((0.06, 0.06, 0.06), 1.0), (0.36, -0.16, 0.46)),
    ]


def _can() -> list[Grid]:
    body = [(0, 0.2), (0.1, 0.2), (0.2, 0.3), (0.32, 0.26), (0.35, 0.2), (0.32, -0.32), (0.34, -0.36), (0, -0.36)]
    rose = [(0, 0.06), (0.1, 0.05), (0.11, 0.02), (0.03, -0.12), (0, -0.12)]
    handle = [(-0.3, 0, -0.2), (-0.56, 0, 0), (-0.42, 0, 0.4), (-0.05, 0, 0.52), (0.14, 0, 0.26)]
    return [
        turned(body, 0.85),
        tube([(0.26, 0, -0.2), (0.5, 0, 0), (0.78, 0, 0.3)], [0.08, 0.055, 0.045]),
        place(turned(rose), (0.82, 0, 0.32), "x"),
        tube(handle, [0.04] * 5, 1.4),
    ]


BUILTINS: Mapping[str, Builtin] = {
    "camera": Builtin(_camera, Style((BROWN, BLACK, GREY, RED, BLACK), (CREAM, ORANGE, GREY, WHITE, BLACK), (14, 150))),
    "mug": Builtin(_mug, Style((CREAM, TEAL), (RED, BLUE, YELLOW, GREEN, NAVY), (16, 130))),
    "teapot": Builtin(_teapot, Style((BLUE, WHITE, WHITE), (WHITE, YELLOW, PINK, CREAM, NAVY), (18, 160))),
    "hammer": Builtin(_hammer, Style((ORANGE, *[GREY] * 4), (YELLOW, BROWN, WHITE, RED, BLACK), (18, 160))),
    "car": Builtin(_car, Style((RED, NAVY, *[BLACK] * 4, GREY), (WHITE, YELLOW, CREAM, BLACK), (12, 120))),
    "bottle": Builtin(
        _bottle, Style((GREEN, WHITE, RED, RED, WHITE), (YELLOW, WHITE, ORANGE, NAVY), (12, 120), (0, 0, 0))
    ),
    "duck": Builtin(
        _duck, Style((YELLOW, YELLOW, ORANGE, CREAM, CREAM, BLACK, BLACK), (ORANGE, RED, BROWN, BLUE, BLACK))
    ),
    "can": Builtin(_can, Style((TEAL, TEAL, GREY, BROWN), (CREAM, PINK, YELLOW, GREEN, NAVY), (16, 140))),
}
TRAIN = "camera"
TEST = tuple(name for name in BUILTINS if name != TRAIN)
