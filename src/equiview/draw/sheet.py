"""PCA colours drawn on the pixels they describe, and a sheet of many pictures with their colours below them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from ..geometry import pixel_centers
from ..io import read_image
from ..sampling import sample
from ..types import FeatureMap
from .canvas import resized
from .pca import PcaColours, colour_map

LONG_SIDE_PX = 640
# The sheet: at most so many pictures, so many in a row, each in a square of this side.
MOST_SHOWN, COLUMNS, CELL_PX, GAP_PX, MARGIN_PX, LABEL_PX = 36, 6, 220, 2, 8, 18


def pca_picture(colours: PcaColours, fmap: FeatureMap, long_side_px: int = LONG_SIDE_PX) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a map's colours in the shape of its picture, every token where it belongs, smooth in between.

    Args:
        colours: Of the whole set.
        fmap: One map.
        long_side_px: Longer side of the result.
    """
    height, width = fmap.image_hw
    factor = long_side_px / max(height, width)
    hw = max(1, round(height * factor)), max(1, round(width * factor))
    centers = pixel_centers(hw) * [width / hw[1], height / hw[0]]
    drawn = sample(colour_map(colours, fmap), torch.from_numpy(centers.reshape(-1, 2)).float())
    return (drawn.reshape(*hw, 3) * 255).round().to(torch.uint8).numpy()


def contact_sheet(pictures: Sequence[tuple[str, Path, Path]]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw pictures in rows, below each its colours; evenly spread ones when there are too many.

    Args:
        pictures: Name, picture file and the file of its colours.
    """
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(len(pictures), MOST_SHOWN)).round().astype(int))
    columns = min(COLUMNS, len(chosen))
    width = columns * (CELL_PX + MARGIN_PX) + MARGIN_PX
    strips = [_strip([pictures[n] for n in chosen[i : i + columns]], width) for i in range(0, len(chosen), columns)]
    return np.concatenate(strips)


def _strip(pictures: Sequence[tuple[str, Path, Path]], width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one row of pictures; they stand on a common line, their colours hang below it."""
    font = ImageFont.load_default(size=12)
    cells = [[_small(file) for file in files] for _, *files in pictures]
    above, below = (max(cell[i].height for cell in cells) for i in (0, 1))
    strip = Image.new("RGB", (width, LABEL_PX + above + GAP_PX + below + MARGIN_PX), "white")
    pen = ImageDraw.Draw(strip)
    for column, ((name, *_), (picture, drawn)) in enumerate(zip(pictures, cells, strict=True)):
        x = MARGIN_PX + column * (CELL_PX + MARGIN_PX)
        pen.text((x, 2), _fitting(name, pen, font), font=font, fill="black")
        strip.paste(picture, (x + (CELL_PX - picture.width) // 2, LABEL_PX + above - picture.height))
        strip.paste(drawn, (x + (CELL_PX - drawn.width) // 2, LABEL_PX + above + GAP_PX))
    return np.asarray(strip)


def _small(file: Path) -> Image.Image:
    rgb = read_image(file)
    return resized(rgb, CELL_PX / max(rgb.shape[:2]))


def _fitting(name: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    if pen.textlength(name, font=font) <= CELL_PX:
        return name
    while name and pen.textlength(f"{name}...", font=font) > CELL_PX:
        name = name[:-1]
    return f"{name}..."
