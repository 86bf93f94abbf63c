"""DINO-Tracker's layout: frames in ROOT/ID/video/*.jpg, tracks of all videos in one benchmark pickle.

The pickle holds {"videos": [{"video_idx", "h", "w", "target_points", "occluded", ...}]}; the last two are dictionaries
by query frame, of [n, t, 2] xy in pixels of a w x h picture and [n, t]. A track visible in several query frames stands
in each of them and becomes one track here: the `strided` queries of the clip are then those of the file.
Source: Tumanyan et al., "DINO-Tracker", ECCV 2024; github.com/AssafSinger94/dino-tracker.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import bad_input
from ...io import file_name
from ...schema import as_array, as_number, as_whole
from ...types import Clip
from ..safe_pickle import read_pickle
from .frames import FrameFiles, frame_paths, usable_clips


def open_dinotracker(root: Path, benchmark: Path) -> Iterator[Clip]:
    """Yield the clips of a benchmark file whose frames are there.

    Args:
        root: Holds a folder for each video.
        benchmark: The pickle; read without running anything in it.

    Raises:
        EquiviewError: A missing, broken or hostile pickle, another layout, frames that do not fit, or none at all.
    """
    content = read_pickle(benchmark)
    videos = content.get("videos") if isinstance(content, dict) else None
    keys = {"video_idx", "h", "w", "target_points", "occluded"}
    if not isinstance(videos, list) or not all(isinstance(v, dict) and keys <= v.keys() for v in videos):
        found = "something else"
        raise bad_input(str(benchmark), "videos with target_points and occluded by frame", found, "Is it this set's?")
    there = [video for video in videos if _is_there(Path(root), str(video["video_idx"]))]
    if not there:
        raise bad_input(str(root), "frames in ID/video", f"none of {len(videos)} videos", "Put the frames there.")
    yield from usable_clips(there, lambda v: _clip(Path(root) / str(v["video_idx"]) / "video", str(v["video_idx"]), v))


def _is_there(root: Path, name: str) -> bool:
    """Return True where a video's number, or name, is that of a folder with frames; nothing else is looked for."""
    return file_name(name) == name and (root / name / "video").is_dir()


def _clip(folder: Path, name: str, video: dict[str, Any]) -> Clip:
    frames = FrameFiles(frame_paths(folder))
    xy, hidden = _stacked(str(folder), video, len(frames))
    w, h = (as_number(video[side], f"{folder}: {side}", low=1) for side in ("w", "h"))
    scale = np.array(frames.hw[::-1]) / (w, h)
    return Clip(name, frames, frames.hw, xy * scale, ~hidden, np.ones(hidden.shape, bool))


def _stacked(where: str, video: dict[str, Any], n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every track once, in the order of first appearance."""
    targets, hidden = video["target_points"], video["occluded"]
    if not isinstance(targets, dict) or not isinstance(hidden, dict) or targets.keys() != hidden.keys() or not targets:
        raise bad_input(where, "target_points and occluded of the same frames", "something else", "Get the file again.")
    fix = "Give the frames they belong to."
    tracks: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for frame in sorted(as_whole(frame, f"{where}: a query frame", 0) for frame in targets):
        what = f"{where} query frame {frame}, tracks of {n_frames} frames"
        xy = as_array(targets[frame], what, (None, n_frames, 2), fix)
        gone = as_array(hidden[frame], f"{what}, occluded", (len(xy), n_frames), fix).astype(bool)
        if not np.isfinite(xy[~gone]).all():
            raise bad_input(what, "finite points where visible", "NaN or infinity", fix)
        for one, hides in zip(xy, gone, strict=True):
            tracks.setdefault(one.tobytes() + hides.tobytes(), (one, hides))
    if not tracks:
        raise bad_input(where, "at least one track", "none", fix)
    every, hidings = zip(*tracks.values(), strict=True)
    return np.stack(every), np.stack(hidings)
