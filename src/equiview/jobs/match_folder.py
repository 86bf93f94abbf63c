"""The job behind `equiview match FOLDER --to ...`: all pairs of a folder's pictures, in the files of other tools."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from ..data.clips.frames import frame_paths
from ..errors import bad_input
from ..formats.colmap_database import write_database
from ..formats.hloc import PictureFeatures, import_h5py, write_features_h5, write_matches_h5
from ..formats.keypoints import FoundPair, Pair, SharedKeypoints, picture_pairs, share_keypoints
from ..io import read_image, require_folder, write_json
from ..matching.match import mutual_matches
from ..models.adapters.folder import versions
from ..models.extractor import MapSource
from ..records import Settings
from ..sampling import descriptors, token_centers
from ..types import FeatureMap
from .run_folder import Progress

To = Literal["hloc", "colmap"]
CELLS = 8
"""Places of a picture within an eighth of a token become one key point."""


@dataclass(frozen=True)
class FolderConfig:
    """Which pairs are matched.

    Attributes:
        to: hloc's feats.h5 and matches.h5, or a COLMAP database with verified geometries.
        max_exhaustive: Up to so many pictures every pair; beyond, each picture with the next `window` ones.
        window: See there.
        seed: Of the verification.
    """

    to: To
    max_exhaustive: int = 80
    window: int = 10
    seed: int = 0


def match_folder(
    source: MapSource, folder: Path, out: Path, config: FolderConfig, progress: Progress | None = None
) -> Settings:
    """Match a folder's pictures and write OUT/feats.h5 and OUT/matches.h5, or OUT/database.db, with OUT/matches.json.

    Both directions of a pair are matched: each leads from token centres of one picture to places between tokens of
    the other. What one token finds in several pictures is one track.

    Returns:
        The content of matches.json: counts and protocol.

    Raises:
        EquiviewError: Fewer than two pictures, one that cannot be read, or a package that is not installed.

    Memory: the feature maps of all pictures.
    """
    report = progress or (lambda stage, done, total: None)
    paths = folder_pictures(folder)
    if config.to == "hloc":
        import_h5py()
    maps = {}
    for number, path in enumerate(paths):
        report("features", number, len(paths))
        maps[path.name] = _map(source, path)
    report("features", len(paths), len(paths))
    keypoints = share_keypoints(*_found(maps, picture_pairs(list(maps), config.max_exhaustive, config.window), report))
    counts = {name: len(xy) for name, xy in keypoints.xy.items()}
    result: Settings = {"to": config.to, "pictures": len(maps), "keypoints": sum(counts.values())}
    if config.to == "hloc":
        write_features_h5(Path(out) / "feats.h5", _features(maps, keypoints))
        write_matches_h5(Path(out) / "matches.h5", keypoints.pairs, counts)
        result |= {"pairs": len(keypoints.pairs), "matches": sum(len(one.index) for one in keypoints.pairs.values())}
    else:
        errors = {name: token_px(fmap) / 2 for name, fmap in maps.items()}
        result |= write_database(Path(out) / "database.db", folder, keypoints, errors, seed=config.seed)
    result["protocol"] = {
        "features": source.describe(),
        "matches": "mutual nearest tokens by cosine, both directions; token centres to sub-token places",
        "cell": f"1/{CELLS} token",
        "versions": versions(),
    }
    write_json(Path(out) / "matches.json", result)
    return result


def folder_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder, in order.

    Raises:
        EquiviewError: It is no folder, or holds fewer than two.
    """
    paths = frame_paths(require_folder(Path(folder), "a folder of pictures"))
    if len(paths) < 2:
        raise bad_input(str(folder), "two pictures or more", str(len(paths)), "Give a folder of pictures of one scene.")
    return paths


def token_px(fmap: FeatureMap) -> float:
    """Return the side of a token in pixels of its picture, the smaller one."""
    return min(fmap.stride_xy)


def _map(source: MapSource, path: Path) -> FeatureMap:
    with torch.no_grad():
        (fmap,) = source.maps([read_image(path)])
    if not bool(torch.isfinite(fmap.tokens).all()):
        raise bad_input(f"features of {path}", "finite numbers", "NaN or infinity", "Use fp32, or check the adapter.")
    return fmap


def _found(
    maps: dict[str, FeatureMap], pairs: Sequence[Pair], report: Progress
) -> tuple[dict[Pair, FoundPair], dict[str, float]]:
    found = {}
    for number, (first, second) in enumerate(pairs):
        report("matches", number, len(pairs))
        there = mutual_matches(maps[first], maps[second])
        back = mutual_matches(maps[second], maps[first])
        parts = ((there.xy0, back.xy1), (there.xy1, back.xy0), (there.score, back.score))
        found[first, second] = FoundPair(*(torch.cat(one).double().cpu().numpy() for one in parts))
    report("matches", len(pairs), len(pairs))
    return found, {name: token_px(fmap) / CELLS for name, fmap in maps.items()}


def _features(maps: dict[str, FeatureMap], keypoints: SharedKeypoints) -> Iterator[tuple[str, PictureFeatures]]:
    for name, xy in keypoints.xy.items():
        yield name, picture_features(maps[name], xy)


def picture_features(fmap: FeatureMap, xy: Float[np.ndarray, "n 2"] | None = None) -> PictureFeatures:
    """Return descriptors at pixels of a picture, or at all of its token centres."""
    places = token_centers(fmap) if xy is None else torch.from_numpy(xy).float()
    found = descriptors(fmap, places.to(fmap.tokens.device)).cpu().numpy()
    return PictureFeatures(places.double().cpu().numpy(), found, fmap.image_hw, token_px(fmap))
