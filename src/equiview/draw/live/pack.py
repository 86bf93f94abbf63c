"""What a live page holds of some views, and its file; needs no torch, since pages are written without."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int8

from ...errors import bad_input
from ...io import atomic_path, require_file

FORMAT = 1
_FIX = "Delete it and run the command again."


@dataclass(frozen=True)
class PackedView:
    """One view of a live page.

    Attributes:
        name: Shown under its picture.
        image_hw: Size in pixels; all pixels of the pack belong to it.
        grid_hw: Token rows and columns.
        stride_xy: Distance between neighbouring token centres, pixels.
        offset_xy: Centre of token (0, 0), pixels.
        jpeg: The whole picture, small.
        xy: Points whose true places are known, pixels.
        xy_true: Where they are in every view of the pack, pixels; NaN where hidden or unknown.
    """

    name: str
    image_hw: tuple[int, int]
    grid_hw: tuple[int, int]
    stride_xy: tuple[float, float]
    offset_xy: tuple[float, float]
    jpeg: bytes
    xy: Float[np.ndarray, "n 2"]
    xy_true: Float[np.ndarray, "v n 2"]


@dataclass(frozen=True)
class Pack:
    """Features of a few views under one or two variants, small enough for a page.

    A cosine is the dot product of two tokens times their scales: tokens were unit vectors before the reduction and
    are not stretched to unit length after it, so that one the basis cannot describe is similar to nothing.

    Attributes:
        name: What the views show.
        views: The views.
        tokens: By variant, the tokens of all views one after the other, row by row, rounded to 8 bits.
        scales: By variant, what one step of each channel is worth.
        loss: By variant, what the packing costs, see `loss.measure_loss`.
    """

    name: str
    views: tuple[PackedView, ...]
    tokens: Mapping[str, Int8[np.ndarray, "t d"]]
    scales: Mapping[str, Float[np.ndarray, "d"]]
    loss: Mapping[str, Mapping[str, Any]]

    @property
    def n_bytes(self) -> int:
        """Bytes of tokens, pictures and true places, before they are written as text."""
        points = sum(4 * (len(v.xy) + v.xy_true[..., 0].size) for v in self.views)
        return sum(t.nbytes for t in self.tokens.values()) + sum(len(v.jpeg) for v in self.views) + points


def save_pack(path: Path, pack: Pack) -> None:
    """Write a pack as npz, atomically."""
    keys = ("name", "image_hw", "grid_hw", "stride_xy", "offset_xy")
    record = {
        "format": FORMAT,
        "name": pack.name,
        "variants": list(pack.tokens),
        "views": [{key: getattr(view, key) for key in keys} for view in pack.views],
        "loss": dict(pack.loss),
    }
    arrays: dict[str, np.ndarray] = {"record": np.array(json.dumps(record, allow_nan=False))}
    for number, variant in enumerate(pack.tokens):
        arrays |= {f"tokens{number}": pack.tokens[variant], f"scale{number}": pack.scales[variant]}
    for number, view in enumerate(pack.views):
        arrays[f"jpeg{number}"] = np.frombuffer(view.jpeg, np.uint8)
        arrays[f"xy{number}"] = view.xy.astype(np.float32)
        arrays[f"true{number}"] = view.xy_true.astype(np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_pack(path: Path) -> Pack:
    """Read a pack.

    Raises:
        EquiviewError: It is missing, damaged, or of another format.
    """
    require_file(path, "a live pack (npz)")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        record = json.loads(str(arrays["record"]))
        pack = _from_arrays(record, arrays) if record["format"] == FORMAT else None
    except (OSError, EOFError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise bad_input(str(path), "a live pack (npz)", f"a damaged file ({error})", _FIX) from error
    if pack is None:
        raise bad_input(str(path), f"a live pack of format {FORMAT}", f"format {record['format']!r}", _FIX)
    return _checked(path, pack)


def _from_arrays(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Pack:
    views = []
    for number, own in enumerate(record["views"]):
        pairs: dict[str, Any] = {key: tuple(own[key]) for key in ("image_hw", "grid_hw", "stride_xy", "offset_xy")}
        where: dict[str, Any] = {"xy": arrays[f"xy{number}"], "xy_true": arrays[f"true{number}"]}
        views.append(PackedView(name=own["name"], jpeg=arrays[f"jpeg{number}"].tobytes(), **pairs, **where))
    names = list(enumerate(record["variants"]))
    tokens = {name: arrays[f"tokens{number}"] for number, name in names}
    scales = {name: arrays[f"scale{number}"] for number, name in names}
    return Pack(record["name"], tuple(views), tokens, scales, record["loss"])


def _checked(path: Path, pack: Pack) -> Pack:
    count = sum(view.grid_hw[0] * view.grid_hw[1] for view in pack.views)
    for name, tokens in pack.tokens.items():
        fits = tokens.ndim == 2 and tokens.dtype == np.int8 and pack.scales[name].shape == tokens.shape[1:]
        if not fits or len(tokens) != count:
            found = f"{tokens.dtype} of shape {tokens.shape} for {name!r}"
            raise bad_input(str(path), f"8-bit tokens [{count}, channels] with their scales", found, _FIX)
    return pack
