"""The job behind `equiview match`: which places of two pictures find each other, and where given points go."""

from dataclasses import dataclass
from math import lgamma, log
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from ..data.captures.photographs import read_mask
from ..draw.matches import match_picture, pair_picture, shown, spread_best
from ..errors import bad_input
from ..io import read_image, read_json, write_image, write_json
from ..matching.match import mutual_matches
from ..matching.nearest import token_mask
from ..matching.refine import Refined, box_around, refine_map
from ..matching.transfer import check_points, transfer_maps
from ..models.adapters.folder import versions
from ..models.extractor import MapSource
from ..records import MatchRecord, Settings
from ..types import FeatureMap

Rgb = UInt8[np.ndarray, "h w 3"]
Mask = Bool[np.ndarray, "h w"]
PIXELS = "xy from the corner of each picture as stored in its file; the centre of the first pixel is (0.5, 0.5)"
# Below this a picture has no two places to tell apart.
MIN_SIDE_PX = 16
# Seven matches fix an epipolar geometry; with fewer than MIN_CHECKED, agreement says nothing.
FIXES_GEOMETRY, MIN_CHECKED = 7, 12
# Chance agreement is measured on so many rotations of the targets.
MAX_SHIFTS = 64


@dataclass(frozen=True)
class MatchConfig:
    """What is asked about two pictures.

    Attributes:
        check_px: Say of each match whether it fits one epipolar geometry (of a rigid scene, estimated from the
            matches by RANSAC) within so many pixels of picture 1. None asks nothing: the check is wrong for two
            different things or a thing that bends.
        max_shown: Matches drawn, at most; the JSON holds them all.
        refine: Look again, closer, at the part of each picture that holds the matches, see `matching.refine`.
    """

    check_px: float | None = None
    max_shown: int = 200
    refine: bool = False

    def __post_init__(self) -> None:
        if self.check_px is not None and not self.check_px > 0:
            raise bad_input("check_px", "a positive number of pixels", str(self.check_px), "Half a token is usual.")
        if self.max_shown < 1:
            raise bad_input("max_shown", "1 or more", str(self.max_shown), "200 is the default.")


@dataclass(frozen=True)
class PictureMatches:
    """What two pictures have in common, in pixels of each (corner origin).

    Attributes:
        xy0: Token centres of picture 0 that have a mutual nearest neighbour; of its second look where there was one.
        xy1: Where they are in picture 1, sub-token.
        score: Cosine (-1 to 1).
        checked: Whether each fits the epipolar geometry; None when it was not asked.
        points_xy0: Points that were asked for.
        points_xy1: Where they go.
        points_score: Cosine there.
    """

    xy0: Float[np.ndarray, "n 2"]
    xy1: Float[np.ndarray, "n 2"]
    score: Float[np.ndarray, "n"]
    checked: Bool[np.ndarray, "n"] | None
    points_xy0: Float[np.ndarray, "p 2"]
    points_xy1: Float[np.ndarray, "p 2"]
    points_score: Float[np.ndarray, "p"]

    def __len__(self) -> int:
        return len(self.score)


def match_pictures(
    source: MapSource,
    pictures: tuple[Rgb, Rgb],
    config: MatchConfig = MatchConfig(),
    *,
    masks: tuple[Mask | None, Mask | None] = (None, None),
    points: Float[np.ndarray, "p 2"] | None = None,
) -> PictureMatches:
    """Match two pictures of any sizes.

    Args:
        source: From `equiview.load`, or an `Extractor`.
        pictures: 8-bit RGB.
        config: What is asked.
        masks: True where the object is, of the size of each picture; only tokens centred on it are matched.
        points: Pixels of picture 0 whose places in picture 1 are wanted, found as `equiview.transfer` does (best token
            of the whole picture, sub-token); masks do not restrict them.

    Raises:
        EquiviewError: A picture is too small, a mask has another size or covers no token, a point is outside picture 0,
            or features are not finite.

    Memory: two feature maps and a bounded block of similarities.
    """
    asked = np.zeros((0, 2)) if points is None else np.asarray(points, np.float64).reshape(-1, 2)
    for number, (rgb, mask) in enumerate(zip(pictures, masks, strict=True)):
        _check_picture(f"picture {number}", rgb, mask)
    if points is not None:
        check_points(asked, pictures[0].shape[:2])
    map_0, map_1 = (_map(source, rgb, f"picture {number}") for number, rgb in enumerate(pictures))
    allowed = [
        _tokens_on(f"mask {i}", fmap, mask) for i, (fmap, mask) in enumerate(zip((map_0, map_1), masks, strict=True))
    ]
    found = mutual_matches(map_0, map_1, *allowed)
    query = torch.from_numpy(asked).float()
    placed = transfer_maps(map_0, query, map_1)
    if config.refine and len(found):
        looks = (
            refine_map(source, pictures[0], map_0, box_around(found.xy0, found.score, map_0)),
            refine_map(source, pictures[1], map_1, box_around(found.xy1, found.score, map_1)),
        )
        found = mutual_matches(looks[0].fmap, looks[1].fmap, *_tokens_of(looks, masks))
        placed = looks[1].place(looks[0].descriptors(query), placed)
    xy0, xy1, score = (value.double().cpu().numpy() for value in (found.xy0, found.xy1, found.score))
    checked = None if config.check_px is None else fits_one_geometry(xy0, xy1, config.check_px)
    return PictureMatches(
        xy0, xy1, score, checked, asked, placed.xy1.double().cpu().numpy(), placed.score.double().cpu().numpy()
    )


def _map(source: MapSource, rgb: Rgb, what: str) -> FeatureMap:
    """Return one picture's features as they are: points are sampled before tokens are made unit vectors."""
    with torch.no_grad():
        (fmap,) = source.maps([rgb])
    if not bool(torch.isfinite(fmap.tokens).all()):
        raise bad_input(f"features of {what}", "finite numbers", "NaN or infinity", "Use fp32, or check the adapter.")
    return fmap


def _check_picture(what: str, rgb: Rgb, mask: Mask | None) -> None:
    h, w = rgb.shape[:2]
    if min(h, w) < MIN_SIDE_PX:
        raise bad_input(what, f"at least {MIN_SIDE_PX} pixels on each side", f"{w}x{h}", "Give a larger picture.")
    if mask is not None and mask.shape != (h, w):
        found = f"{mask.shape[1]}x{mask.shape[0]}"
        raise bad_input(f"mask of {what}", f"the size of the picture, {w}x{h}", found, "Resize the mask.")


def _tokens_of(
    looks: tuple[Refined, Refined], masks: tuple[Mask | None, Mask | None]
) -> list[Bool[torch.Tensor, "hw"] | None]:
    """Return the tokens of second looks that lie on the masks; where a look has none there, all of them."""
    inside = [
        None if mask is None else token_mask(look.fmap, torch.from_numpy(mask))
        for look, mask in zip(looks, masks, strict=True)
    ]
    return [None if one is None or not bool(one.any()) else one for one in inside]


def _tokens_on(what: str, fmap: FeatureMap, mask: Mask | None) -> Bool[torch.Tensor, "hw"] | None:
    if mask is None:
        return None
    inside = token_mask(fmap, torch.from_numpy(mask))
    if not bool(inside.any()):
        raise bad_input(
            what, "at least one token centre on the object", "none", "Use a larger --long-side, or no mask."
        )
    return inside


def fits_one_geometry(
    xy0: Float[np.ndarray, "n 2"], xy1: Float[np.ndarray, "n 2"], within_px: float
) -> Bool[np.ndarray, "n"]:
    """Say which matches agree on one epipolar geometry: RANSAC over fundamental matrices, always the same draws.

    False for all when fewer than `MIN_CHECKED` matches agree, or no more than agree by chance: RANSAC finds a geometry
    that 25 of 300 random matches fit.
    """
    import poselib

    if len(xy0) < MIN_CHECKED:
        return np.zeros(len(xy0), bool)
    options = {"max_epipolar_error": within_px, "seed": 0}
    fundamental, info = poselib.estimate_fundamental(xy0, xy1, options, {})
    agree = np.asarray(info["inliers"], bool)
    enough = agree.sum() >= MIN_CHECKED
    # The logarithm of how many geometries as good are expected among random matches.
    if enough and expected_by_chance(len(agree), int(agree.sum()), _share_near(fundamental, xy0, xy1, within_px)) < 0:
        return agree
    return np.zeros(len(xy0), bool)


def expected_by_chance(n: int, agreeing: int, share: float) -> float:
    """Return the natural logarithm of the expected number of geometries that so many random matches fit.

    Args:
        n: Matches.
        agreeing: So many fit; 7 or more.
        share: Of random matches that lie near their epipolar line (0-1).

    Source: Moisan and Stival, IJCV 2004, the number of false alarms of a rigid scene.
    """

    def log_choose(many: int, few: int) -> float:
        return lgamma(many + 1) - lgamma(few + 1) - lgamma(many - few + 1)

    free = agreeing - FIXES_GEOMETRY
    choices = log_choose(n, agreeing) + log_choose(agreeing, FIXES_GEOMETRY)
    return log(max(n - FIXES_GEOMETRY, 1)) + choices + free * log(share)


def _share_near(
    fundamental: Float[np.ndarray, "3 3"],
    xy0: Float[np.ndarray, "n 2"],
    xy1: Float[np.ndarray, "n 2"],
    within_px: float,
) -> float:
    """Return the share of matches that fit when each is given the target of another one; never 0."""
    ones = np.ones((len(xy0), 1))
    first, second = np.hstack([xy0, ones]), np.hstack([xy1, ones])
    lines_1, lines_0 = first @ fundamental.T, second @ fundamental
    near = total = 0
    for step in np.unique(np.linspace(1, len(xy0) - 1, MAX_SHIFTS).astype(int)):
        other, line = np.roll(second, step, 0), np.roll(lines_0, step, 0)
        # Sampson's distance, by which RANSAC counts.
        size = np.sqrt((lines_1[:, :2] ** 2 + line[:, :2] ** 2).sum(1))
        near += int((np.abs((lines_1 * other).sum(1)) <= within_px * size).sum())
        total += len(xy0)
    return (1 + near) / (1 + total)


def read_points(path: Path) -> Float[np.ndarray, "p 2"]:
    """Read points from a JSON file: a list of [x, y], or an object whose "points" or "xy0" is one.

    Raises:
        EquiviewError: The file is missing, broken or holds something else.
    """
    value = read_json(path)
    if isinstance(value, dict):
        value = value.get("points", value.get("xy0"))
    try:
        points = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1:] != (2,) or not len(points):
        raise bad_input(str(path), "points such as [[120.5, 80], [200, 91]]", "something else", "Write pixels as x, y.")
    return points


def match_files(
    source: MapSource,
    images: tuple[Path, Path],
    out: Path,
    config: MatchConfig = MatchConfig(),
    *,
    masks: tuple[Path | None, Path | None] = (None, None),
    points: Float[np.ndarray, "p 2"] | None = None,
) -> MatchRecord:
    """Match two picture files and write matches.json, matches.png and, with points, points.png.

    Returns:
        The content of matches.json: image0, image1, pixels, xy0, xy1, score, checked (when asked), points (when given),
        protocol.

    Raises:
        EquiviewError: As `match_pictures`, a file that cannot be read, or pictures without one mutual match.
    """
    pictures = (read_image(images[0]), read_image(images[1]))
    for path, rgb in zip(images, pictures, strict=True):
        _check_picture(str(path), rgb, None)
    opened = tuple(None if path is None else _bright_mask(path) for path in masks)
    matches = match_pictures(source, pictures, config, masks=(opened[0], opened[1]), points=points)
    result = _record(matches, images, _protocol(source, config, masks))
    write_json(Path(out) / "matches.json", result)
    write_image(Path(out) / "matches.png", draw_matches(matches, pictures, config.max_shown))
    # An older picture of other points would be taken for this run's.
    (Path(out) / "points.png").unlink(missing_ok=True)
    if len(matches.points_xy0):
        write_image(Path(out) / "points.png", draw_points(matches, pictures))
    return result


def _record(matches: PictureMatches, images: tuple[Path, Path], protocol: Settings) -> MatchRecord:
    record: MatchRecord = {
        "image0": str(images[0]),
        "image1": str(images[1]),
        "pixels": PIXELS,
        "xy0": matches.xy0.round(3).tolist(),
        "xy1": matches.xy1.round(3).tolist(),
        "score": matches.score.round(4).tolist(),
        "protocol": protocol,
    }
    if matches.checked is not None:
        record["checked"] = matches.checked.tolist()
    if len(matches.points_xy0):
        record["points"] = {
            "xy0": matches.points_xy0.tolist(),
            "xy1": matches.points_xy1.round(3).tolist(),
            "score": matches.points_score.round(4).tolist(),
        }
    return record


def _protocol(source: MapSource, config: MatchConfig, masks: tuple[Path | None, Path | None]) -> Settings:
    return {
        "features": source.describe(),
        "matches": "mutual nearest tokens by cosine; xy0 token centres, xy1 with a parabola per axis",
        "points": "best token of picture 1 by cosine, parabola per axis",
        "check_px": config.check_px,
        "refine": config.refine,
        "masks": [None if path is None else str(path) for path in masks],
        "versions": versions(),
    }


def draw_matches(matches: PictureMatches, pictures: tuple[Rgb, Rgb], max_shown: int) -> Rgb:
    """Draw the best matches of every part of picture 0; only those that passed, where they were checked."""
    kept = np.arange(len(matches)) if matches.checked is None else np.flatnonzero(matches.checked)
    chosen = kept[spread_best(matches.xy0[kept], matches.score[kept], pictures[0].shape[:2], max_shown)]
    return match_picture(pictures[0], matches.xy0[chosen], pictures[1], matches.xy1[chosen])


def draw_points(matches: PictureMatches, pictures: tuple[Rgb, Rgb]) -> Rgb:
    """Draw the given points and where they go, numbered."""
    (small0, factor0), (small1, factor1) = (shown(rgb) for rgb in pictures)
    return pair_picture(small0, matches.points_xy0 * factor0, small1, matches.points_xy1 * factor1)


def _bright_mask(path: Path) -> Mask:
    """Read a mask picture.

    Raises:
        EquiviewError: It is missing, broken or black.
    """
    mask = read_mask(path)
    if not mask.any():
        raise bad_input(str(path), "a mask that is bright on the object", "a black picture", "Leave the mask out.")
    return mask
