"""What a picture looks like apart from the geometry: light, background and anti-aliasing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..errors import bad_input
from ..io import read_image
from ..types import Camera

WORLD_LIGHT = np.array([0.36, 0.48, 0.80])  # towards the light, unit length


@dataclass(frozen=True)
class RenderConfig:
    """How to draw.

    Attributes:
        hw: Height and width in pixels of the rigs made for this config; a camera handed over directly has its own.
        light: "camera" moves the light with the camera (the published renders), "world" fixes it to the object; a
            direction towards the light (x, y, z in the world, of any length) does so too.
        background: "black", "white", "random" (coloured noise, another for each view), or the path of a picture.
        supersample: Colour samples per pixel along each side; 3D points, mask and ids always use the pixel centre.
        ambient: Share (0 to 1) of the light that does not depend on the normal.
        seed: For the random background; a view's is derived from (seed, index).
    """

    hw: tuple[int, int] = (512, 512)
    light: Literal["camera", "world"] | tuple[float, float, float] = "camera"
    background: str = "black"
    supersample: int = 2
    ambient: float = 0.35
    seed: int = 0

    def __post_init__(self) -> None:
        direction = isinstance(self.light, tuple) and len(self.light) == 3 and 0 < np.linalg.norm(self.light) < np.inf
        if self.light not in ("camera", "world") and not direction:
            raise bad_input("light", "'camera', 'world' or a direction", repr(self.light), "Choose one of them.")
        if not 1 <= self.supersample <= 8:
            raise bad_input("supersample", "1 to 8", str(self.supersample), "2 is enough for most uses.")
        if not 0 <= self.ambient <= 1:
            raise bad_input("ambient", "a share from 0 to 1", str(self.ambient), "0.35 is the default.")
        if len(self.hw) != 2 or min(self.hw) < 1:
            raise bad_input("hw", "a height and a width of at least 1", str(self.hw), "Choose a larger image.")
        if self.background not in ("black", "white", "random") and not Path(self.background).is_file():
            raise bad_input(
                "background", "'black', 'white', 'random' or an image file", repr(self.background), "Check the path."
            )

    @property
    def towards_light(self) -> Float[np.ndarray, "3"]:
        """Return the unit vector towards a light that is fixed to the object."""
        if isinstance(self.light, str):
            return WORLD_LIGHT
        return np.array(self.light) / np.linalg.norm(self.light)


def shade(
    config: RenderConfig,
    camera: Camera,
    points_in_world: Float[np.ndarray, "n 3"],
    normals_in_world: Float[np.ndarray, "n 3"],
) -> Float[np.ndarray, "n"]:
    """Return how bright (0 to 1) a white surface looks: Lambert's cosine plus ambient, no shadows.

    A light that is fixed wraps around the object (cosine mapped from -1..1 to 0..1), so that no side is black.
    """
    if config.light == "camera":
        to_light = camera.center_in_world - points_in_world
        cosine = (normals_in_world * to_light).sum(1) / np.linalg.norm(to_light, axis=1)
        diffuse = np.clip(cosine, 0, 1)
    else:
        diffuse = (1 + normals_in_world @ config.towards_light) / 2
    return config.ambient + (1 - config.ambient) * diffuse


def background(config: RenderConfig, hw: tuple[int, int], index: int) -> Float[np.ndarray, "h w 3"]:
    """Return what is behind the object, 0 to 255, for view number `index`."""
    if config.background in ("black", "white"):
        return np.full((*hw, 3), 255.0 if config.background == "white" else 0.0, np.float32)
    if config.background == "random":
        rng = np.random.default_rng((config.seed, index))
        cells = int(rng.integers(2, 17))
        picture = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    else:
        picture = read_image(Path(config.background))
    resized = Image.fromarray(picture).resize((hw[1], hw[0]), Image.Resampling.BICUBIC)
    return np.array(resized, np.float32)
