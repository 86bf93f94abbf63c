"""Training pairs of auxiliary objects, kept on disk in half precision: the next object or strength reads them.

They depend on the backbone, the features and the made object alone, so every run of a backbone shares them. The folder
may be deleted at any time.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import EquiviewError
from ..io import atomic_path, file_name
from ..models.extractor import Extractor
from ..types import FeatureMap
from .head_pairs import TrainingPair

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised where made objects, the choice of pairs or the files change: what was kept before is then made again."""


@dataclass(frozen=True)
class PairStore:
    """A folder of training pairs, a file for each object.

    Attributes:
        folder: Of the pairs of one kind of features.
    """

    folder: Path

    def get(self, name: str, make: Callable[[], Sequence[TrainingPair]]) -> list[TrainingPair]:
        """Return an object's pairs; they are made and kept where there are none, or where the file is broken.

        What is returned always comes from the file, in half precision and not loaded before it is used, so that the
        first run and the next one learn from the same numbers.
        """
        path = self._path(name)
        try:
            return read_pairs(path)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            if path.exists():
                log.warning("%s cannot be read (%s): it is made again", path, type(error).__name__)
        pairs = make()
        try:
            write_pairs(path, pairs)
        except EquiviewError as error:
            log.warning("what %s teaches is not kept for the next run: %s", name, error)
            return [replace(pair, source=halved(pair.source), target=halved(pair.target)) for pair in pairs]
        return read_pairs(path)

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        return self.folder / f"{file_name(name)}.safetensors"


def store_of(root: Path, extractor: Extractor, about: Mapping[str, Any]) -> PairStore:
    """Return where pairs of these features are kept.

    Args:
        root: The folder of all of them.
        extractor: What features are computed with: weights, settings and head decide the folder.
        about: Everything else that decides the pairs, as JSON.
    """
    head = hashlib.sha256()
    # Parameters alone: what a fixed part measured on the backbone follows from the weights, but for the last bits.
    for name, tensor in () if extractor.head is None else extractor.head.named_parameters():
        head.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    # Names of folders say nothing of what is in them: the hash of the weights does.
    features = {key: value for key, value in extractor.describe().items() if key != "backbone"}
    # Labels of made objects are printed in Pillow's own font.
    made_with = {"format": FORMAT, "equiview": version("equiview"), "pillow": version("pillow")}
    what = {"made_with": made_with, "features": features, "head": head.hexdigest(), **about}
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return PairStore(root / f"{extractor.backbone.info.weights_sha256[:12]}-{digest[:12]}")


def halved(fmap: FeatureMap) -> FeatureMap:
    """Return a map in the precision of those that are kept."""
    return fmap.replace_tokens(fmap.tokens.half().cpu().contiguous())


def write_pairs(path: Path, pairs: Sequence[TrainingPair]) -> None:
    """Write pairs, their maps once each."""
    maps: list[FeatureMap] = []
    numbers: dict[int, int] = {}
    for pair in pairs:
        for fmap in (pair.source, pair.target):
            if id(fmap) not in numbers:
                numbers[id(fmap)] = len(maps)
                maps.append(fmap)
    tensors = {f"tokens.{n}": halved(fmap).tokens for n, fmap in enumerate(maps)}
    for n, pair in enumerate(pairs):
        tensors[f"xy.{n}"] = torch.cat([pair.xy0, pair.xy1], 1).contiguous()
    geometry = [[*one.stride_xy, *one.offset_xy, *one.image_hw] for one in maps]
    views = [[numbers[id(pair.source)], numbers[id(pair.target)]] for pair in pairs]
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"geometry": json.dumps(geometry), "views": json.dumps(views)})


def read_pairs(path: Path) -> list[TrainingPair]:
    """Return pairs whose tokens are mapped into memory, in half precision.

    Raises:
        OSError, SafetensorError, KeyError, ValueError: There is no file, or another one.
    """
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
        geometry, views = json.loads(about["geometry"]), json.loads(about["views"])
        maps = [
            FeatureMap(file.get_tensor(f"tokens.{n}"), (sx, sy), (ox, oy), (int(h), int(w)))
            for n, (sx, sy, ox, oy, h, w) in enumerate(geometry)
        ]
        places = [file.get_tensor(f"xy.{n}") for n in range(len(views))]
    return [
        TrainingPair(maps[i], maps[j], xy[:, :2].contiguous(), xy[:, 2:].contiguous())
        for (i, j), xy in zip(views, places, strict=True)
    ]
