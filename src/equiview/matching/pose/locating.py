"""A query against a template: mutual matches, sub-token places, and RANSAC, at one turn of the picture or several."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ...errors import bad_input
from ...types import FeatureMap
from ..match import subtoken_xy
from ..nearest import mutual_nearest
from .rolls import unrolled_xy
from .solve import MIN_MATCHES, PoseEstimate, check_intrinsics, solve_pnp

# Descriptors and their points.
Known = tuple[Float[torch.Tensor, "n c"], Float[np.ndarray, "n 3"]]


@dataclass(frozen=True)
class LocateConfig:
    """How a query is located.

    Attributes:
        rolls: Quarters by which the picture is turned; each is tried, most inliers win. Features are not the same
            for an upside-down object, so (0, 1, 2, 3) is for cameras whose roll is not known.
        threshold_tokens: Reprojection error up to which a match agrees, in tokens of the query.
        min_inliers: Fewer are no pose.
        iterations: Of RANSAC, at most.
        seed: Of RANSAC's samples.
    """

    rolls: tuple[int, ...] = (0,)
    threshold_tokens: float = 0.5
    min_inliers: int = 6
    iterations: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.rolls or self.threshold_tokens <= 0 or self.min_inliers < MIN_MATCHES:
            found = f"rolls {self.rolls}, threshold {self.threshold_tokens}, min_inliers {self.min_inliers}"
            expected = f"at least one roll, a positive threshold and {MIN_MATCHES} inliers or more"
            raise bad_input("locate settings", expected, found, "The defaults are (0,), 0.5 and 6.")


@dataclass(frozen=True)
class Attempt:
    """What came of a query.

    Attributes:
        estimate: The pose, or None.
        reason: Why there is none, else empty.
        n_matches: Matches of the best turn.
        roll: The turn that won.
    """

    estimate: PoseEstimate | None
    reason: str
    n_matches: int
    roll: int


@dataclass(frozen=True)
class _Turned:
    """A query at one turn: its map and how its pixels become those of the picture."""

    fmap: FeatureMap
    roll: int
    hw: tuple[int, int]

    @property
    def token_px(self) -> float:
        return float(np.mean(self.fmap.stride_xy))


def attempt_pose(
    map_at: Callable[[int], FeatureMap], known: Known, intrinsics: Float[np.ndarray, "3 3"], config: LocateConfig
) -> Attempt:
    """Locate a query.

    Args:
        map_at: Unit-length tokens of the picture turned by some quarters.
        known: The template.
        intrinsics: Of the picture as it is.
        config: The settings.

    Raises:
        EquiviewError: The intrinsics are no camera matrix.
    """
    intrinsics = check_intrinsics(intrinsics)
    best = Attempt(None, f"fewer than {MIN_MATCHES} matches", 0, config.rolls[0])
    for roll in config.rolls:
        fmap = map_at(roll)
        turned = _Turned(fmap, roll, fmap.image_hw if roll % 2 == 0 else fmap.image_hw[::-1])
        found = _matched_pose(turned, known, intrinsics, config)
        if _better(found, best):
            best = found
    return best


def _better(new: Attempt, old: Attempt) -> bool:
    """Say whether a turn beats another: by its inliers, or without any pose by its matches."""
    if new.estimate is None or old.estimate is None:
        return new.estimate is not None or (old.estimate is None and new.n_matches > old.n_matches)
    return new.estimate.n_inliers > old.estimate.n_inliers


def _matched_pose(turned: _Turned, known: Known, intrinsics: np.ndarray, config: LocateConfig) -> Attempt:
    """Match one turn of the picture and solve for its pose."""
    tokens = turned.fmap.tokens.flatten(1).T
    descriptors, points = known[0].to(tokens), known[1]
    index, token, _ = mutual_nearest(descriptors, tokens)
    if len(index) < MIN_MATCHES:
        return Attempt(None, f"fewer than {MIN_MATCHES} matches", len(index), turned.roll)
    xy = subtoken_xy(turned.fmap, descriptors[index], token).double().cpu().numpy()
    estimate = solve_pnp(
        unrolled_xy(xy, turned.hw, turned.roll),
        points[index.cpu().numpy()],
        intrinsics,
        threshold_px=config.threshold_tokens * turned.token_px,
        min_inliers=config.min_inliers,
        iterations=config.iterations,
        seed=config.seed,
    )
    reason = "" if estimate is not None else f"fewer than {config.min_inliers} inliers"
    return Attempt(estimate, reason, len(index), turned.roll)
