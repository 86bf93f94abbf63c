"""BADJA: joints of animals in DAVIS videos.

Layout: ROOT/joint_annotations/NAME.json beside ROOT/NAME/video/*.jpg (and ROOT/NAME/masks/*.png).

Joints are [row, column] in pixels of the full-resolution video, frames may be smaller: they are swapped to xy and
scaled per axis (854/1920, 480/1080). Drawn over the small frames they lie on the animal's joints in this order only.
Source: Biggs et al., "Creatures Great and SMAL", ACCV 2018; github.com/benjiebob/BADJA.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ...errors import bad_input
from ...io import read_json
from ...types import Clip
from .frames import FrameFiles, frame_paths

FULL_HW = (1080, 1920)


def open_badja(root: Path, annotated_hw: tuple[int, int] = FULL_HW) -> list[Clip]:
    """Open every annotated video that is there.

    Args:
        root: Holds `joint_annotations` and a folder for each video.
        annotated_hw: Size of the pictures the joints were marked in.

    Raises:
        EquiviewError: No annotations, none of their videos, or broken ones.
    """
    folder = Path(root) / "joint_annotations"
    files = sorted(folder.glob("*.json"))
    if not files:
        found = "none" if folder.is_dir() else "no such folder"
        raise bad_input(str(folder), "annotations (NAME.json)", found, "Give the folder of BADJA's joint_annotations.")
    there = [path for path in files if (Path(root) / path.stem / "video").is_dir()]
    if not there:
        expected = f"frames in {files[0].stem}/video (or another of {len(files)} videos)"
        raise bad_input(str(root), expected, "none", "Put the DAVIS frames there.")
    return [_open(path, Path(root) / path.stem / "video", annotated_hw) for path in there]


def _open(annotations: Path, video: Path, annotated_hw: tuple[int, int]) -> Clip:
    frames = FrameFiles(frame_paths(video))
    scale = np.array(frames.hw[::-1]) / annotated_hw[::-1]
    if abs(scale[0] / scale[1] - 1) > 0.02:
        expected = f"frames in the shape of {annotated_hw[1]}x{annotated_hw[0]} pixels"
        found = f"{frames.hw[1]}x{frames.hw[0]}"
        raise bad_input(str(video), expected, found, "Give annotated_hw, the size of the full-resolution video.")
    number_of = {path.stem: number for number, path in enumerate(frames.paths)}
    entries = _entries(annotations)
    joints, seen = _arrays(annotations, entries)
    shape = (joints.shape[1], len(frames))
    xy, visible, known = np.full((*shape, 2), np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
    for entry, at, sees in zip(entries, joints, seen, strict=True):
        stem = Path(entry["image_path"]).stem
        if stem not in number_of:
            raise bad_input(str(video), f"frame {stem} as {annotations.name} says", "none", "Restore the frame.")
        frame = number_of[stem]
        known[:, frame], visible[:, frame] = True, sees
        xy[sees, frame] = at[sees, ::-1] * scale
    outside = visible & ~((xy >= 0) & (xy <= frames.hw[::-1])).all(-1)
    if outside.any():
        expected = f"joints inside {annotated_hw[1]}x{annotated_hw[0]} pixels"
        raise bad_input(str(annotations), expected, f"{int(outside.sum())} outside", "Give annotated_hw.")
    return Clip(annotations.stem, frames, frames.hw, xy, visible, known)


def _entries(path: Path) -> list[dict[str, Any]]:
    entries = read_json(path)
    keys = {"image_path", "joints", "visibility"}
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(e, dict) and keys <= e.keys() for e in entries)
    ):
        expected = "a list of frames with image_path, joints and visibility"
        raise bad_input(str(path), expected, "something else", "Get the file from BADJA again.")
    return entries


def _arrays(
    path: Path, entries: list[dict[str, Any]]
) -> tuple[Float[np.ndarray, "frames n 2"], Bool[np.ndarray, "frames n"]]:
    try:
        joints = np.array([entry["joints"] for entry in entries], np.float64)
        seen = np.array([entry["visibility"] for entry in entries], np.float64).astype(bool)
    except (ValueError, TypeError) as error:
        raise bad_input(str(path), "the same joints in every frame", str(error), "Get the file again.") from error
    if joints.ndim != 3 or joints.shape != (*seen.shape, 2):
        found = f"shapes {joints.shape} and {seen.shape}"
        raise bad_input(str(path), "joints [frame, joint, 2] and visibility [frame, joint]", found, "Get it again.")
    return joints, seen
