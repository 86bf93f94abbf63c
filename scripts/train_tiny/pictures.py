"""Pictures the student learns from, and crops of them: everything a step sees follows from (seed, step)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageEnhance

from equiview.data.meshes import open_object
from equiview.data.synthetic.dead_leaves import dead_leaves
from equiview.finetune.unlabeled_images import photo_files
from equiview.io import atomic_path, read_image
from equiview.render import RenderConfig

HELD_OUT_EVERY = 10  # photo 0, 10, 20 ... are never trained on; the routes are compared on them
FIRST_SEED = 1000  # procedural objects from here on; the package's own objects and its tests use smaller seeds
OBJECTS, VIEWS, LEAVES = 60, 6, 300
SIDE = 320

# Shares of a batch: photos, renders, dead leaves.
MIXES: Mapping[str, Mapping[str, float]] = {
    "photos": {"photos": 0.85, "renders": 0.10, "leaves": 0.05},
    "procedural": {"photos": 0.0, "renders": 0.60, "leaves": 0.40},
}
# Side of the square crops in pixels, and how often: a batch always has about TOKENS tokens.
SIDES = ((160, 0.25), (224, 0.45), (320, 0.2), (448, 0.1))
TOKENS = 3136
PATCH = 16

Picture = UInt8[np.ndarray, "h w 3"]


def read_photos(folder: Path, held_out: bool) -> list[Picture]:
    """Return the photos to learn from, or those held out, in the order of their names."""
    files = photo_files(folder)
    return [read_image(file) for i, file in enumerate(files) if (i % HELD_OUT_EVERY == 0) == held_out]


def made_pictures(work: Path) -> dict[str, list[Picture]]:
    """Return renders of procedural objects and dead-leaves pictures; drawn once, kept in WORK/made.npz."""
    path = work / "made.npz"
    if not path.exists():
        pictures = {"renders": _renders(), "leaves": [dead_leaves(10_000 + i, (SIDE, SIDE)) for i in range(LEAVES)]}
        with atomic_path(path) as temporary:
            np.savez(temporary, **{name: np.stack(own) for name, own in pictures.items()})
    with np.load(path) as stored:
        return {name: list(stored[name]) for name in ("renders", "leaves")}


def _renders() -> list[Picture]:
    """Single pictures of procedural objects, every second one in front of a dead-leaves picture."""
    found = []
    for number in range(OBJECTS):
        config = RenderConfig(hw=(SIDE, SIDE), light="world" if number % 2 else "camera")
        for i, view in enumerate(open_object(f"procedural:{FIRST_SEED + number}", n_views=VIEWS, config=config)):
            behind = dead_leaves(20_000 + number * VIEWS + i, (SIDE, SIDE))
            found.append(view.rgb if i % 2 else np.where(view.mask[..., None], view.rgb, behind))
    return found


def batch(
    sources: Mapping[str, Sequence[Picture]], mix: Mapping[str, float], seed: int, step: int
) -> Float[torch.Tensor, "b 3 side side"]:
    """Return one batch of crops of one size, RGB in 0..1."""
    rng = np.random.default_rng([seed, step])
    side = int(rng.choice([s for s, _ in SIDES], p=[p for _, p in SIDES]))
    count = max(1, TOKENS // (side // PATCH) ** 2)
    names = rng.choice(list(mix), size=count, p=list(mix.values()))
    crops = [crop(sources[name][rng.integers(len(sources[name]))], side, rng) for name in names]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def crop(picture: Picture, side: int, rng: np.random.Generator) -> Picture:
    """Cut out 8 % to all of the area (aspect 3:4 to 4:3), mirrored half the time, colours shaken."""
    h, w = picture.shape[:2]
    area, aspect = h * w * rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width, height = min(w, np.sqrt(area * aspect)), min(h, np.sqrt(area / aspect))
    x, y = rng.uniform(0, w - width), rng.uniform(0, h - height)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC, box=(x, y, x + width, y + height))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if rng.random() < 0.5:
            image = change(image).enhance(float(rng.uniform(0.6, 1.4)))
    return np.asarray(image)
