"""A sphere seen all around, for pose: references, queries, and features that know where they are."""

import numpy as np

from equiview.matching.pose.references import picture_of
from equiview.matching.pose.rolls import rolled_image
from equiview.models.oracle import OracleExtractor
from equiview.types import PosedImage, View
from worlds import camera_at, sphere_view

HW, FOCAL = (192, 192), 255.0


def directions(n: int, shift: float = 0.0) -> np.ndarray:
    """Spread n directions over the sphere (a spiral)."""
    height = 1 - 2 * (np.arange(n) + 0.5) / n
    angle = np.pi * (1 + 5**0.5) * np.arange(n) + shift
    return np.stack([np.cos(angle) * np.sqrt(1 - height**2), np.sin(angle) * np.sqrt(1 - height**2), height], 1)


def views(n: int, shift: float = 0.0, prefix: str = "r") -> list[View]:
    cameras = [camera_at(2.0 * one, HW, FOCAL) for one in directions(n, shift)]
    return [sphere_view(camera, name=f"{prefix}{i}") for i, camera in enumerate(cameras)]


def posed(view: View, **more) -> PosedImage:
    return PosedImage(view.rgb, view.camera, view.name, **more)


class PictureOracle:
    """Oracle features for pictures that come without 3D: each is recognised by its content, at any turn."""

    def __init__(self, known: list[View], stride_px: float = 4) -> None:
        self.oracle = OracleExtractor(stride_px)
        self.known = {rolled_image(v.rgb, roll).tobytes(): (v, roll) for v in known for roll in range(4)}

    def maps(self, pictures, **_):
        for picture in pictures:
            if isinstance(picture, View):
                yield from self.oracle.maps([picture])
                continue
            view, roll = self.known[picture.tobytes()]
            yield from self.oracle.maps([picture_of(view, roll)])

    def describe(self):
        return self.oracle.describe()
