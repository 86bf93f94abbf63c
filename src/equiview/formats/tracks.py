"""Tracks as other tools read them: TAP-Vid's arrays, CVAT's XML, COCO's key points."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np

from ..io import atomic_path
from ..matching.tracking import Queries, Tracks

To = Literal["tapvid", "cvat", "coco"]


@dataclass(frozen=True)
class TrackedClip:
    """What is written of a clip.

    Attributes:
        name: Of the clip.
        hw: Height and width, pixels.
        frames: Name of each frame.
        queries: The points that were asked for.
        tracks: Where they are; pixels with the corner as origin.
    """

    name: str
    hw: tuple[int, int]
    frames: Sequence[str]
    queries: Queries
    tracks: Tracks


def write_tapvid(path: Path, clip: TrackedClip) -> None:
    """Write TAP-Vid's arrays as npz: `points` [n, t, 2] x, y from 0 to 1, `occluded` [n, t], and `query_points` [n, 3].

    The last are frame, y, x in pixels, as `tapnet` samples them. Source: Doersch et al., "TAP-Vid", NeurIPS 2022.
    """
    height, width = clip.hw
    points = (clip.tracks.xy / np.array([width, height])).astype(np.float32)
    queries = np.column_stack([clip.queries.frame, clip.queries.xy[:, ::-1]]).astype(np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, points=points, occluded=~clip.tracks.visible, query_points=queries)


def write_cvat(path: Path, clip: TrackedClip) -> None:
    """Write "CVAT for video 1.1": a track of one point for every query, hidden frames as occluded.

    Source: docs.cvat.ai, "CVAT for video". The task that it is uploaded to needs labels of the same names.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, (places, visible) in enumerate(zip(clip.tracks.xy, clip.tracks.visible, strict=True)):
        track = ElementTree.SubElement(root, "track", id=str(number), label=point_name(number), source="auto")
        for frame, ((x, y), seen) in enumerate(zip(places, visible, strict=True)):
            state = {"outside": "0", "occluded": str(int(not seen)), "keyframe": "1", "z_order": "0"}
            ElementTree.SubElement(track, "points", {"frame": str(frame), "points": f"{x:.2f},{y:.2f}", **state})
    ElementTree.indent(root)
    with atomic_path(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def write_coco(path: Path, clip: TrackedClip) -> None:
    """Write COCO key points: every frame a picture with one annotation, whose key points are the tracks.

    Visible points have v = 2, hidden ones 1 (labelled, not visible). Source: cocodataset.org, "data format".
    """
    height, width = clip.hw
    images = [
        {"id": frame, "file_name": name, "width": width, "height": height} for frame, name in enumerate(clip.frames)
    ]
    names = [point_name(number) for number in range(len(clip.tracks.xy))]
    category = {"id": 1, "name": clip.name, "supercategory": "", "keypoints": names, "skeleton": []}
    annotations = []
    for frame in range(len(clip.frames)):
        xy, visible = clip.tracks.xy[:, frame], clip.tracks.visible[:, frame]
        low, size = xy.min(0), np.ptp(xy, axis=0)
        keypoints = np.column_stack([xy.round(2), np.where(visible, 2, 1)]).ravel().tolist()
        annotations.append(
            {
                "id": frame,
                "image_id": frame,
                "category_id": 1,
                "keypoints": keypoints,
                "num_keypoints": len(names),
                "bbox": [*low.round(2).tolist(), *size.round(2).tolist()],
                "area": round(float(size.prod()), 2),
                "iscrowd": 0,
            }
        )
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": [category]}) + "\n"
        )


def point_name(number: int) -> str:
    """Return the label of a point."""
    return f"point{number}"


WRITERS: dict[To, tuple[str, Callable[[Path, TrackedClip], None]]] = {
    "tapvid": ("tracks.npz", write_tapvid),
    "cvat": ("tracks.xml", write_cvat),
    "coco": ("keypoints.json", write_coco),
}
"""Name of the file, and what writes it."""
