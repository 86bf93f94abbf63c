"""BADJA: joints of animals in DAVIS videos.

Layout: ROOT/joint_annotations/NAME.json beside ROOT/NAME/video/*.jpg (and ROOT/NAME/masks/*.png).

Joints are [row, column] in pixels of the picture that `image_path` names. That is DAVIS in full resolution (1920x1080),
of which the frames may be a smaller version: joints are swapped to xy and scaled per axis (854/1920, 480/1080). Drawn
over the small frames they lie on the animal's joints in this order only. The joints of BADJA's own videos
(`extra_videos/...`) are pixels of their frames. Where neither holds, `badja:ROOT@annotated=1280x720` says the size.
Joints outside the picture count as not annotated.
Source: Biggs et al., "Creatures Great and SMAL", ACCV 2018; github.com/benjiebob/BADJA.
"""

import logging
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ...errors import VALUE_CHARS, bad_input, cut
from ...io import read_json, visible
from ...types import Clip
from .frames import FrameFiles, frame_paths, usable_clips

FULL_HW = (1080, 1920)
_OWN_FRAMES = "extra_videos"
_MOSTLY = 0.5  # With more joints outside, they are pixels of another picture.
log = logging.getLogger(__name__)


def open_badja(root: Path, annotated_hw: tuple[int, int] | None = None) -> list[Clip]:
    """Open every annotated video that is there; one that cannot be used is said and left out.

    Args:
        root: Holds `joint_annotations` and a folder for each video.
        annotated_hw: Size of the pictures the joints were marked in; as the top of this module says when None.

    Raises:
        EquiviewError: No annotations, none of their videos, or broken ones.
    """
    folder = Path(root) / "joint_annotations"
    files = visible(folder, "*.json")
    if not files:
        found = "none" if folder.is_dir() else "no such folder"
        raise bad_input(str(folder), "annotations (NAME.json)", found, "Give the folder of BADJA's joint_annotations.")
    there = [path for path in files if (Path(root) / path.stem / "video").is_dir()]
    if not there:
        expected = f"frames in {files[0].stem}/video (or another of {len(files)} videos)"
        raise bad_input(str(root), expected, "none", "Put the DAVIS frames there.")
    return list(usable_clips(there, lambda path: _open(path, Path(root) / path.stem / "video", annotated_hw)))


def _open(annotations: Path, video: Path, annotated_hw: tuple[int, int] | None) -> Clip:
    frames = FrameFiles(frame_paths(video))
    entries = _entries(annotations)
    own = any(_OWN_FRAMES in str(entry["image_path"]) for entry in entries)
    annotated_hw = annotated_hw or (frames.hw if own else FULL_HW)
    scale = np.array(frames.hw[::-1]) / annotated_hw[::-1]
    if abs(scale[0] / scale[1] - 1) > 0.02:
        expected = f"frames in the shape of {annotated_hw[1]}x{annotated_hw[0]} pixels, the annotated pictures"
        found = f"{frames.hw[1]}x{frames.hw[0]}"
        fix = f"Put the frames there in their own shape, or say what was annotated: badja:FOLDER@annotated={found}."
        raise bad_input(str(video), expected, found, fix)
    number_of = {path.stem: number for number, path in enumerate(frames.paths)}
    joints, seen = _arrays(annotations, entries)
    shape = (joints.shape[1], len(frames))
    xy, visible, known = np.full((*shape, 2), np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
    for entry, at, sees in zip(entries, joints, seen, strict=True):
        stem = PureWindowsPath(str(entry["image_path"])).stem  # Takes both separators.
        if stem not in number_of:
            raise bad_input(
                str(video), f"frame {cut(stem, VALUE_CHARS)} as {annotations.name} says", "none", "Restore it."
            )
        frame = number_of[stem]
        known[:, frame] = True
        visible[:, frame] = sees
        xy[sees, frame] = at[sees, ::-1] * scale
    outside = visible & ~((xy >= 0) & (xy <= frames.hw[::-1])).all(-1)
    if outside[visible].mean() > _MOSTLY if visible.any() else False:
        expected = f"joints inside {annotated_hw[1]}x{annotated_hw[0]} pixels"
        fix = "Get the file from BADJA again, or say the annotated size: badja:FOLDER@annotated=WIDTHxHEIGHT."
        raise bad_input(str(annotations), expected, f"{int(outside.sum())} outside", fix)
    if outside.any():
        log.warning("%s: %d joints lie outside the picture and are not scored", annotations, int(outside.sum()))
        known, visible = known & ~outside, visible & ~outside
        xy[outside] = np.nan
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
    except (ValueError, TypeError, OverflowError) as error:
        raise bad_input(str(path), "the same joints in every frame", str(error)[:80], "Get the file again.") from error
    if not np.isfinite(joints[seen.astype(bool)] if joints.shape[:2] == seen.shape else 0).all():
        raise bad_input(str(path), "finite joints where they are visible", "NaN or infinity", "Get the file again.")
    if joints.ndim != 3 or joints.shape != (*seen.shape, 2):
        found = f"shapes {joints.shape} and {seen.shape}"
        raise bad_input(str(path), "joints [frame, joint, 2] and visibility [frame, joint]", found, "Get it again.")
    return joints, seen
