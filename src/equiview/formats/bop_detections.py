"""Detections in BOP's form of COCO: which box of which image shows an object, and pictures cut to them.

A list of {"scene_id", "image_id", "category_id" (the object's number), "score", and "bbox" [x, y, width, height] or
"segmentation" {"size": [h, w], "counts"}}, counts as a list or as COCO's text. Boxes count pixels from the corner of
the picture. Source: bop.felk.cvut.cz, "results format, 2D detection"; cocoapi, `maskApi.c` for the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from ..errors import bad_input
from ..geometry import cropped_camera
from ..io import pixels_of, read_json
from ..limits import MAX_SIDE
from ..schema import as_array, as_list, as_number, as_record, as_whole
from ..types import ImageSource, PosedImage, PoseScene, UnusableQuery

_FIX = "Write it as BOP's detections are."
MARGIN = 0.15
"""Of a box's longer side, added on every side: tokens at the rim of an object want to see what is beside it."""
MIN_SIDE_PX = 16


@dataclass(frozen=True)
class Detection:
    """Where an object was found in an image.

    Attributes:
        score: The higher, the surer.
        box: x0, y0, x1, y1 in pixels, corner origin.
    """

    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class CroppedImage:
    """Part of a picture, cut out when it is read.

    Attributes:
        image: The whole.
        box: x0, y0, x1, y1 in whole pixels.
        full_hw: Height and width of the whole.
    """

    image: ImageSource
    box: tuple[int, int, int, int]
    full_hw: tuple[int, int]

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the part."""
        x0, y0, x1, y1 = self.box
        return np.ascontiguousarray(pixels_of(self.image)[y0:y1, x0:x1])


def read_detections(path: Path, object_id: int) -> dict[str, Detection]:
    """Return the surest detection of an object in each image, by the name of the query (SCENE/IMAGE).

    Raises:
        EquiviewError: The file is missing or broken, or says nothing of this object.
    """
    found: dict[str, Detection] = {}
    for number, raw in enumerate(as_list(read_json(path), str(path), "a list of detections", fix=_FIX)):
        where = f"{path}[{number}]"
        one = as_record(raw, where, ("scene_id", "image_id", "category_id", "score"), _FIX)
        scene, image, category = (
            as_whole(one[key], f"{where} {key}") for key in ("scene_id", "image_id", "category_id")
        )
        if category != object_id:
            continue
        name = f"{scene:06d}/{image:06d}"
        detection = Detection(as_number(one["score"], f"{where} score", fix=_FIX), _box(one, where))
        if name not in found or detection.score > found[name].score:
            found[name] = detection
    if not found:
        fix = "Check the object's number (category_id)."
        raise bad_input(str(path), f"detections of object {object_id}", "none", fix)
    return found


def _box(one: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    if "bbox" in one:
        x, y, w, h = (float(value) for value in as_array(one["bbox"], f"{where} bbox", (4,), _FIX))
        if not np.isfinite([x, y, w, h]).all() or min(w, h) <= 0:
            raise bad_input(f"{where} bbox", "x, y, width and height above 0", str([x, y, w, h]), _FIX)
        return x, y, x + w, y + h
    if "segmentation" not in one:
        raise bad_input(where, "a bbox or a segmentation", "neither", _FIX)
    mask = decode_rle(one["segmentation"], f"{where} segmentation")
    ys, xs = np.nonzero(mask)
    if not len(ys):
        raise bad_input(f"{where} segmentation", "a mask with pixels", "an empty one", _FIX)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def decode_rle(value: Any, where: str) -> Bool[np.ndarray, "h w"]:
    """Return a mask from COCO's run lengths, column by column, pixels outside first.

    Raises:
        EquiviewError: Not of that form, or runs that do not fill the mask.
    """
    record = as_record(value, where, ("size", "counts"), _FIX)
    h, w = (int(side) for side in as_array(record["size"], f"{where} size", (2,), _FIX))
    counts = record["counts"]
    runs = _text_runs(counts, where) if isinstance(counts, str) else as_array(counts, f"{where} counts", (None,), _FIX)
    lengths = np.asarray(runs, np.int64)
    if not (0 < h <= MAX_SIDE and 0 < w <= MAX_SIDE) or (lengths < 0).any() or int(lengths.sum()) != h * w:
        raise bad_input(where, f"runs that fill {w} x {h} pixels", f"{len(lengths)} runs that do not", _FIX)
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(w, h).T


def _text_runs(text: str, where: str) -> list[int]:
    """Return the runs that COCO packs into text: five bits a character, from the third on less the one before last."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise bad_input(where, "COCO's text of run lengths", repr(text[:20]), _FIX)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs


def cropped_scene(scene: PoseScene, detections: Mapping[str, Detection], object_id: int) -> PoseScene:
    """Return the scene with its queries cut to their detections; one without a detection counts as failed.

    References with a mask are cut to it, so that both show the object at about the same number of tokens.
    """
    queries = [_cropped(query, detections.get(query.name), object_id) for query in scene.queries]
    references = [_cut_to_mask(one) if isinstance(one, PosedImage) else one for one in scene.references]
    return replace(scene, queries=queries, references=references)


def _cut_to_mask(reference: PosedImage) -> PosedImage:
    if reference.mask is None or not reference.mask.any():
        return reference
    (top, bottom), (left, right) = ((int(one.min()), int(one.max()) + 1) for one in np.nonzero(reference.mask))
    box = padded_box((left, top, right, bottom), reference.camera.hw)
    return reference if box is None else _cut(reference, box)


def _cropped(
    query: PosedImage | UnusableQuery, detection: Detection | None, object_id: int
) -> PosedImage | UnusableQuery:
    if isinstance(query, UnusableQuery):
        return query
    if detection is None:
        return UnusableQuery(query.name, f"no detection of object {object_id}")
    box = padded_box(detection.box, query.camera.hw)
    if box is None:
        return UnusableQuery(query.name, f"the detection of object {object_id} lies outside the picture")
    return _cut(query, box)


def _cut(posed: PosedImage, box: tuple[int, int, int, int]) -> PosedImage:
    """Return the part of a posed picture inside a box of whole pixels."""
    x0, y0, x1, y1 = box
    part = (slice(y0, y1), slice(x0, x1))
    return replace(
        posed,
        image=CroppedImage(posed.image, box, posed.camera.hw),
        camera=cropped_camera(posed.camera, box),
        mask=None if posed.mask is None else posed.mask[part],
        depth=None if posed.depth is None else posed.depth[part],
    )


def padded_box(box: tuple[float, float, float, float], hw: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return whole pixels around a box with its margin, inside the picture; None where they do not meet."""
    x0, y0, x1, y1 = box
    margin = MARGIN * max(x1 - x0, y1 - y0)
    sides = []
    for low, high, most in ((x0, x1, hw[1]), (y0, y1, hw[0])):
        if high <= 0 or low >= most:
            return None
        grown = max(margin, (MIN_SIDE_PX - (high - low)) / 2)
        sides.append((max(0, int(np.floor(low - grown))), min(most, int(np.ceil(high + grown)))))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom
