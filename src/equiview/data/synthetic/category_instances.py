"""Five kinds of things, each with one layout of parts and key points and any proportions: x ahead, y left, z up.

All instances of a category have the same grids in the same order. The same part, row and column is therefore the same
semantic place on all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from .category_shapes import COLUMNS, ROWS, X, Y, Z, lathe, rounded, tube
from .procedural_shapes import Grid

Draw = Callable[[float, float], float]
LAST = ROWS - 1
DARK = "dark"  # eyes, windows: the one material whose colour does not vary


@dataclass
class Instance:
    """One object in the making.

    Attributes:
        grids: The surface of each part.
        materials: What each part is made of; parts of one material share their paint.
        key_points: Part, row and column by name.
    """

    grids: list[Grid] = field(default_factory=list)
    materials: list[str] = field(default_factory=list)
    key_points: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, grid: Grid, material: str, **key_points: tuple[int, int]) -> None:
        """Add a part and the key points on it, as (row, column)."""
        for name, (row, column) in key_points.items():
            self.key_points[name] = (len(self.grids), row % ROWS, column % COLUMNS)
        self.grids.append(grid)
        self.materials.append(material)


def quadruped(u: Draw) -> Instance:
    """A four-legged animal; `u(low, high)` draws each proportion."""
    instance, sides = Instance(), (("left", 1.0), ("right", -1.0))
    length, girth, leg, thin = u(0.5, 0.75), u(0.1, 0.16), u(0.16, 0.38), u(0.028, 0.045)
    z = leg + 0.6 * girth
    spine = np.array([[x * length, 0, z + dz] for x, dz in ((-0.5, 0), (-0.2, u(-0.02, 0.03)), (0.2, 0), (0.5, 0.02))])
    radii = girth * np.array([u(0.75, 0.95), u(0.85, 1.05), 1.0, u(0.8, 1.0)])
    instance.add(tube(spine, radii, Y, u(0.95, 1.2)), "coat", rump=(6, 18), withers=(18, 18))
    _head(instance, u, np.array([0.45 * length, 0, z + 0.35 * girth]), girth)
    for end, x in (("front", 0.4), ("hind", -0.4)):
        for side, sign in sides:
            y, knee = 0.55 * girth * sign, u(-0.03, 0.03)
            hip, foot = np.array([x * length, y, z - 0.1 * girth]), np.array([x * length, y, 0.8 * thin])
            path = np.stack([hip, (hip + foot) / 2 + knee * X, foot])
            instance.add(tube(path, np.array([0.5 * girth, 1.25 * thin, thin]), Y), "coat")
            paw = rounded(foot + 0.6 * thin * X, thin * np.array([1.9, 1.3, 0.8]))
            instance.add(paw, "paws", **{f"{side}_{end}_foot": (12, 0)})
    tail, lift = u(0.15, 0.4), u(-1.0, 1.0)
    start = np.array([-0.48 * length, 0, z + 0.4 * girth])
    tip = start + tail * (Z * np.sin(lift) - X * np.cos(lift))
    bow = (start + tip) / 2 - 0.25 * tail * X
    instance.add(
        tube(np.stack([start, bow, tip]), u(0.018, 0.035) * np.array([1.1, 1, 0.7]), Y), "coat", tail=(LAST, 0)
    )
    return instance


def _head(instance: Instance, u: Draw, base: Float[np.ndarray, "3"], girth: float) -> None:
    """Add neck, head, nose, eyes and ears."""
    pitch, neck, size, long, droop = u(0.4, 1.2), u(0.1, 0.28), u(0.065, 0.1), u(0.14, 0.26), u(0.0, 0.6)
    skull = base + neck * (X * np.cos(pitch) + Z * np.sin(pitch))
    instance.add(tube(np.stack([base, (base + skull) / 2, skull]), np.array([0.7, 0.55, 0.5]) * girth, Y), "coat")
    ahead, up = X * np.cos(droop) - Z * np.sin(droop), X * np.sin(droop) + Z * np.cos(droop)
    muzzle = skull + long * ahead
    path = np.stack([skull - size * ahead, skull, skull + 0.5 * long * ahead, muzzle])
    instance.add(tube(path, size * np.array([0.9, 1.0, 0.75, u(0.45, 0.65)]), Y), "coat", forehead=(8, 18))
    instance.add(rounded(muzzle + 0.1 * size * up, 0.3 * size * np.ones(3)), DARK, nose=(12, 0))
    ear, wide = u(0.06, 0.17), u(0.03, 0.05)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        eye = skull + 0.3 * long * ahead + 0.68 * size * sign * Y + 0.42 * size * up
        instance.add(rounded(eye, 0.24 * size * np.ones(3)), DARK, **{f"{side}_eye": (12, 6 if sign > 0 else 18)})
        root = skull + 0.55 * size * sign * Y + 0.6 * size * up
        tip = root + ear * (0.9 * up + 0.45 * sign * Y - 0.2 * ahead)
        path = np.stack([root, (root + tip) / 2, tip])
        instance.add(
            tube(path, np.array([0.8 * wide, wide, 0.35 * wide]), X, 0.45), "ears", **{f"{side}_ear": (LAST, 0)}
        )


def vessel(u: Draw) -> Instance:
    """A pot with spout (ahead), handle (behind), lid and knob."""
    instance = Instance()
    tall, rim = u(0.42, 0.75), u(0.1, 0.19)
    radii = np.array([rim, u(0.17, 0.3), u(0.24, 0.36), u(0.22, 0.34), u(0.14, 0.26)])
    heights = tall * np.array([1.0, 0.8, 0.5, 0.2, 0.0])
    body = lathe(radii, heights)
    instance.add(body, "body", front=(12, 18), base=(19, 18), shoulder=(8, 18))

    def wall(share: float) -> float:
        return float(np.interp(share, [0, 0.2, 0.5, 0.8, 1], radii[::-1]))

    low, high, out = u(0.2, 0.35), u(0.7, 0.88), u(0.1, 0.22)
    reach = max(radii) + out
    corners = [
        (-0.9 * wall(high), high),
        (-0.95 * reach, high + 0.02),
        (-reach, (low + high) / 2),
        (-0.8 * reach, low),
        (-0.9 * wall(low), low),
    ]
    path = np.array([[x, 0, share * tall] for x, share in corners])
    marks = {"handle_top": (7, 12), "handle": (12, 12), "handle_bottom": (17, 12)}
    instance.add(tube(path, u(0.025, 0.045) * np.ones(5), Y, u(0.7, 1.2)), "trim", **marks)
    root, rise, nose = u(0.25, 0.45), u(0.75, 1.05), u(0.14, 0.26)
    corners = [(0.85 * wall(root), root), (max(radii) + 0.4 * nose, root + 0.15), (max(radii) + nose, rise)]
    path = np.array([[x, 0, share * tall] for x, share in corners])
    instance.add(
        tube(path, np.array([u(0.06, 0.09), 0.05, u(0.022, 0.035)]), Y), "body", spout_tip=(LAST, 0), spout=(13, 18)
    )
    thick, knob = u(0.03, 0.08), u(0.025, 0.05)
    instance.add(rounded(tall * Z, np.array([1.06 * rim, 1.06 * rim, thick])), "trim", lid=(11, 18))
    instance.add(rounded((tall + thick + 0.7 * knob) * Z, knob * np.array([1, 1, u(0.8, 1.5)])), "trim", knob=(0, 0))
    return instance


def hammer(u: Draw) -> Instance:
    """A claw hammer that stands on its handle: face ahead, claw behind."""
    instance = Instance()
    tall, thick, wide = u(0.6, 0.9), u(0.025, 0.038), u(0.035, 0.05)
    instance.add(
        tube(np.stack([0.4 * tall * Z, 0.7 * tall * Z, tall * Z]), thick * np.array([1.1, 0.9, 1.0]), Y, 1.15),
        "shaft",
        neck=(17, 12),
    )
    grip = np.stack([0 * Z, 0.12 * tall * Z, 0.3 * tall * Z, 0.45 * tall * Z])
    radii = thick * np.array([u(1.3, 1.7), 1.3, u(1.4, 1.8), 1.15])
    instance.add(tube(grip, radii, Y, 1.2), "grip", handle_end=(5, 12), grip=(12, 12), grip_top=(18, 12))
    half = np.array([u(0.09, 0.14), wide, u(0.04, 0.06)])
    instance.add(rounded(tall * Z, half, 0.45), "steel", head=(12, 18), head_top=(0, 0))
    face, big = half[0] + u(0.08, 0.14), wide * u(1.05, 1.4)
    path = np.array([[0.6 * half[0], 0, tall], [0.8 * face, 0, tall], [0.85 * face, 0, tall], [face, 0, tall]])
    instance.add(
        tube(path, np.array([0.75 * wide, 0.75 * wide, big, big]), Y), "steel", face=(LAST, 0), face_rim=(20, 18)
    )
    reach, drop, apart = u(0.14, 0.24), u(0.03, 0.12), u(0.03, 0.055)
    for side, sign, column in (("left", 1.0, 6), ("right", -1.0, 12)):
        start = np.array([-0.7 * half[0], 0.4 * apart * sign, tall + 0.01])
        middle = start + np.array([-0.5 * reach, 0.25 * apart * sign, 0.0])
        tip = start + np.array([-reach, 0.6 * apart * sign, -drop])
        instance.add(
            tube(np.stack([start, middle, tip]), np.array([0.03, 0.026, 0.014]), Y, 0.7),
            "steel",
            **{f"{side}_claw": (LAST - 3, column)},
        )
    return instance


def plane(u: Draw) -> Instance:
    """An aeroplane with two engines."""
    instance = Instance()
    fat, span, chord = u(0.05, 0.085), u(0.35, 0.55), u(0.07, 0.12)
    line = np.array([[-0.5, 0, u(0, 0.04)], [-0.25, 0, 0.01], [0.25, 0, 0], [0.5, 0, -0.01]])
    body = tube(line, fat * np.array([0.35, 0.85, 1.0, u(0.7, 0.95)]), Y, u(0.95, 1.15))
    instance.add(body, "body", nose=(LAST, 0), back=(12, 18))
    instance.add(
        rounded(np.array([u(0.26, 0.36), 0, 0.7 * fat]), fat * np.array([1.5, 0.75, 0.75])), DARK, cockpit=(0, 0)
    )
    at, sweep, lift = u(-0.02, 0.14), u(0.0, 0.28), u(-0.02, 0.08)
    small, back, pointed, engine = u(0.14, 0.24), u(0.0, 0.1), u(0.4, 0.6), u(0.028, 0.045)
    for side, sign, up in (("left", 1.0, 6), ("right", -1.0, 18)):
        root, tip = np.array([at, 0, -0.3 * fat]), np.array([at - sweep, sign * span, lift])
        path = np.stack([root, 0.5 * (root + tip), tip])
        instance.add(
            tube(path, chord * np.array([1.2, 0.85, pointed]), X, 0.14), "wings", **{f"{side}_wing": (LAST - 3, up)}
        )
        root, tip = np.array([-0.43, 0, 0.02]), np.array([-0.45 - back, sign * small, 0.04])
        path = np.stack([root, 0.5 * (root + tip), tip])
        instance.add(
            tube(path, chord * np.array([0.65, 0.5, 0.35]), X, 0.14), "wings", **{f"{side}_stabiliser": (LAST - 3, up)}
        )
        pod = np.array([at + 0.05 - 0.35 * sweep, 0.38 * sign * span, 0.35 * lift - 0.4 * fat])
        path = np.stack([pod - 0.07 * X, pod, pod + 0.07 * X])
        instance.add(tube(path, engine * np.array([0.7, 1, 1]), Y), "trim", **{f"{side}_engine": (LAST, 0)})
    high = u(0.13, 0.24)
    path = np.array([[-0.4, 0, 0.03], [-0.43 - 0.3 * back, 0, 0.5 * high], [-0.46 - back, 0, high]])
    instance.add(tube(path, chord * np.array([0.85, 0.6, 0.45]), X, 0.14), "trim", fin=(LAST - 3, 6))
    return instance


def chair(u: Draw) -> Instance:
    """A chair that faces -y."""
    instance = Instance()
    tall, wide, deep, thick, leg = u(0.32, 0.5), u(0.18, 0.27), u(0.18, 0.26), u(0.022, 0.045), u(0.018, 0.032)
    seat = rounded(tall * Z, np.array([wide, deep, thick]), 0.3)
    instance.add(seat, "seat", seat=(0, 0), left_seat_corner=(6, 15), right_seat_corner=(6, 21))
    high, narrow, lean = u(0.28, 0.5), u(0.75, 1.0), u(0.0, 0.09)
    back = rounded((tall + 0.55 * high) * Z + 0.9 * deep * Y, np.array([narrow * wide, 0.8 * thick, 0.5 * high]), 0.3)
    back[..., 1] += lean * (back[..., 2] - tall) / high
    instance.add(back, "back", left_back_corner=(6, 15), right_back_corner=(6, 21), back=(12, 18))
    spread = u(0.8, 1.05)
    for end, y in (("front", -0.85 * deep), ("hind", 0.85 * deep)):
        for side, x in (("left", -0.85 * wide), ("right", 0.85 * wide)):
            top = np.array([x, y, tall])
            foot = np.array([spread * x, spread * y, 0])
            path = np.stack([top, (top + foot) / 2, foot])
            instance.add(tube(path, leg * np.array([1.2, 1, 0.8]), Y), "legs", **{f"{side}_{end}_foot": (LAST - 3, 12)})
    rail = np.array([[-0.8 * wide, 0, 0.4 * tall], [0, 0, 0.4 * tall], [0.8 * wide, 0, 0.4 * tall]])
    instance.add(tube(rail - 0.8 * deep * Y, 0.7 * leg * np.ones(3), Y), "legs", rail=(12, 12))
    return instance


# Azimuth (degrees, 0 is ahead of the object, 90 its left) and elevation from which the instances are seen.
CATEGORIES: dict[str, tuple[Callable[[Draw], Instance], float, tuple[float, float]]] = {
    "quadruped": (quadruped, -50.0, (8.0, 30.0)),
    "vessel": (vessel, -80.0, (10.0, 35.0)),
    "hammer": (hammer, -70.0, (15.0, 40.0)),
    "plane": (plane, -50.0, (30.0, 55.0)),
    "chair": (chair, -75.0, (10.0, 35.0)),
}
