"""The pictures a capture is made from: photos of a folder, or frames of a video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ... import pictures
from ...errors import bad_input
from ...io import atomic_path, file_name, picture_files, require_file, stored_hw
from ..captures.files import mask_of
from ..captures.photographs import read_mask
from ..clips.frames import frame_paths
from ..clips.video import VideoFrames
from .frames import choose_frames, measure_frames
from .matches import Progress

# What COLMAP makes a first focal length of; nothing else of a photo's EXIF is handed on.
_CAMERA_TAGS, _EXIF_IFD, _LENS_TAGS = (271, 272), 0x8769, (37386, 41989)
JPEG_QUALITY = 95


class PhotoFiles(Sequence[UInt8[np.ndarray, "h w 3"]]):
    """Photos of any size, upright (their EXIF orientation applied), read when indexed.

    Args:
        paths: In order.

    Raises:
        EquiviewError: When read: a photo that does not open.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "h w 3"]:  # type: ignore[override]
        path = require_file(self.paths[index], "a photo")
        with pictures.opened(path, str(path), "Export it again as PNG, or take it out of the folder.") as image:
            return pictures.rgb(pictures.upright(image), str(path))

    def exif(self, index: int) -> Image.Exif:
        """Return camera and lens of a photo, without place, time or orientation."""
        kept = Image.Exif()
        with pictures.opened(self.paths[index], str(self.paths[index])) as image:
            exif = image.getexif()
            lens = exif.get_ifd(_EXIF_IFD)
        kept.update({tag: exif[tag] for tag in _CAMERA_TAGS if tag in exif})
        if any(tag in lens for tag in _LENS_TAGS):
            kept.get_ifd(_EXIF_IFD).update({tag: lens[tag] for tag in _LENS_TAGS if tag in lens})
        return kept


@dataclass(frozen=True)
class Photos:
    """Pictures in order, with names that are unique and have no spaces.

    Attributes:
        frames: Read when indexed.
        names: File names they get.
        in_order: True for a video: neighbours in time are neighbours in space.
    """

    frames: PhotoFiles | VideoFrames
    names: tuple[str, ...]
    in_order: bool

    @property
    def files(self) -> list[Path]:
        """The photos, or the video."""
        return self.frames.paths if isinstance(self.frames, PhotoFiles) else [self.frames.path]


def open_photos(source: Path) -> Photos:
    """Open a folder of photos (itself, or its images/ when it has none itself) or a video file.

    Raises:
        EquiviewError: Nothing there, no pictures in it, a video that does not decode.
    """
    source = Path(source)
    if not source.is_dir():
        frames = VideoFrames(require_file(source, "a folder of photos, or a video file"))
        return Photos(frames, tuple(f"frame{number:06d}.jpg" for number in range(len(frames))), True)
    inside = source / "images"
    paths = frame_paths(inside if inside.is_dir() and not picture_files(source) else source)
    if len(paths) < 2:
        fix = "Walk around the object and take 30 or more; a single photo has no depth."
        raise bad_input(str(source), "two photos or more", "one photo only", fix)
    return Photos(PhotoFiles(paths), file_names([path.stem for path in paths]), False)


def file_names(stems: Sequence[str]) -> tuple[str, ...]:
    """Return a name NAME.jpg for each stem, see `unique_name`."""
    taken: set[str] = set()
    return tuple(unique_name(stem, taken) for stem in stems)


def unique_name(stem: str, taken: set[str]) -> str:
    """Return STEM.jpg without spaces and folders (COLMAP's lists of pairs have none), numbered when it is taken.

    Args:
        stem: What the picture is called.
        taken: Names that are used, in lower case; the new one is added.
    """
    clean = file_name("".join(c if c.isalnum() or c in "-_." else "_" for c in stem) or "image")
    name, number = clean, 1
    while name.lower() in taken:
        number += 1
        name = f"{clean}_{number}"
    taken.add(name.lower())
    return f"{name}.jpg"


def chosen_frames(photos: Photos, max_frames: int, progress: Progress) -> list[int]:
    """Return which pictures to use: all when they are few enough, else see `choose_frames`."""
    if len(photos.frames) <= max_frames and not photos.in_order:
        return list(range(len(photos.frames)))
    return choose_frames(measure_frames(photos.frames, progress), max_frames)


def masks_of(photos: Photos) -> list[Path | None]:
    """Return each photo's mask, from a folder masks/ or mask/ in or beside the folder of photos; None without."""
    if not isinstance(photos.frames, PhotoFiles):
        return [None] * len(photos.frames)
    here = photos.frames.paths[0].parent
    folders = [folder / name for folder in (here.parent, here) for name in ("masks", "mask")]
    return [mask_of(path, folders) for path in photos.frames.paths]


def write_masks(photos: Photos, chosen: Sequence[int], folder: Path, sizes_hw: Mapping[str, tuple[int, int]]) -> bool:
    """Write the masks of the chosen photos as NAME.jpg.png, at the size of what `write_photos` wrote.

    Returns:
        Whether there are any. Features are found on the whole pictures all the same: the surroundings of a thing that
        stands still fix the cameras better than the thing alone.

    Raises:
        EquiviewError: A mask that does not open or has another shape than its photo.
    """
    masks = masks_of(photos)
    for index in chosen:
        source, name = masks[index], photos.names[index]
        path = folder / f"{name}.png"
        if source is None or path.exists():
            continue
        mask = read_mask(source)
        h, w = sizes_hw[name]
        if abs(mask.shape[0] / mask.shape[1] - h / w) > 2 / min(h, w):
            found = f"{mask.shape[1]}x{mask.shape[0]}"
            raise bad_input(str(source), f"a mask of the shape of its upright photo ({w}x{h})", found, "Draw it again.")
        with atomic_path(path) as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).resize((w, h), Image.Resampling.NEAREST).save(temporary)
    return any(masks[index] is not None for index in chosen)


def write_photos(
    photos: Photos, chosen: Sequence[int], folder: Path, long_side: int, progress: Progress
) -> dict[str, tuple[int, int]]:
    """Write the chosen pictures as JPEG, at most `long_side` pixels long; those that are there are kept.

    Args:
        photos: Where they come from.
        chosen: Which.
        folder: Where to.
        long_side: Pixels; smaller pictures stay as they are.
        progress: Called with ("pictures", done, total).

    Returns:
        Height and width of each by file name.
    """
    sizes = {}
    for number, index in enumerate(chosen, 1):
        path = folder / photos.names[index]
        if not path.exists():
            picture = Image.fromarray(photos.frames[index])
            scale = min(1.0, long_side / max(picture.size))
            if scale < 1:
                picture = picture.resize([max(1, round(n * scale)) for n in picture.size], Image.Resampling.LANCZOS)
            exif = photos.frames.exif(index) if isinstance(photos.frames, PhotoFiles) else Image.Exif()
            with atomic_path(path) as temporary:
                picture.save(temporary, quality=JPEG_QUALITY, exif=exif)
        sizes[path.name] = stored_hw(path)
        progress("pictures", number, len(chosen))
    return sizes
