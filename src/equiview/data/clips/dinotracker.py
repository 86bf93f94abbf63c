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
    there = [video for video in videos if (Path(root) / str(video["video_idx"]) / "video").is_dir()]
    if not there:
        raise bad_input(str(root), "frames in ID/video", f"none of {len(videos)} videos", "Put the frames there.")
    yield from usable_clips(there, lambda v: _clip(Path(root) / str(v["video_idx"]) / "video", str(v["video_idx"]), v))


def _clip(folder: Path, name: str, video: dict[str, Any]) -> Clip:
    frames = FrameFiles(frame_paths(folder))
    xy, hidden = _stacked(str(folder), video, len(frames))
    scale = np.array(frames.hw[::-1]) / (float(video["w"]), float(video["h"]))
    return Clip(name, frames, frames.hw, xy * scale, ~hidden, np.ones(hidden.shape, bool))


def _stacked(where: str, video: dict[str, Any], n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every track once, in the order of first appearance."""
    targets, hidden = video["target_points"], video["occluded"]
    if not isinstance(targets, dict) or not isinstance(hidden, dict) or targets.keys() != hidden.keys() or not targets:
        raise bad_input(where, "target_points and occluded of the same frames", "something else", "Get the file again.")
    tracks: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for frame in sorted(targets):
        for own, gone in zip(np.asarray(targets[frame], np.float64), np.asarray(hidden[frame], bool), strict=True):
            if own.shape != (n_frames, 2) or gone.shape != (n_frames,):
                expected = f"tracks of {n_frames} frames"
                raise bad_input(where, expected, f"{own.shape} and {gone.shape}", "Give the frames they belong to.")
            tracks.setdefault(own.tobytes() + gone.tobytes(), (own, gone))
    xy, gone = zip(*tracks.values(), strict=True)
    return np.stack(xy), np.stack(gone)
