"""A query against a template: matches, RANSAC at several turns of the picture, and matching again near the pose."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from ..geometry import project, transform
from ..matching import mutual_nearest, subtoken_xy
from ..sampling import token_centers
from ..types import Camera, FeatureMap
from .rolls import rolled_camera, unrolled_xy
from .solve import MIN_MATCHES, PoseEstimate, check_intrinsics, solve_pnp

# Descriptors, their points, and the directions the points were seen from.
Known = tuple[Float[torch.Tensor, "n c"], Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]


@dataclass(frozen=True)
class LocateConfig:
    """How a query is located.

    Attributes:
        rolls: Quarters by which the picture is turned; each is tried, most inliers win. Features are not the same
            for an upside-down object, so (0, 1, 2, 3) is for cameras whose roll is not known.
        threshold_tokens: Reprojection error up to which a match agrees, in tokens of the query.
        min_inliers: Fewer are no pose.
        iterations: Of RANSAC, at most.
        guided_rounds: How often the query is matched again near where the found pose puts the points.
        guided_radius_tokens: How near, in tokens.
        guided_angle_deg: Only points whose reference looked from within this angle are matched again.
        seed: Of RANSAC's samples.
    """

    rolls: tuple[int, ...] = (0,)
    threshold_tokens: float = 0.5
    min_inliers: int = 6
    iterations: int = 10_000
    guided_rounds: int = 0
    guided_radius_tokens: float = 2.0
    guided_angle_deg: float = 60.0
    seed: int = 0


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
    def limit_unit_px(self) -> float:
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
    kept: _Turned | None = None
    for roll in config.rolls:
        fmap = map_at(roll)
        turned = _Turned(fmap, roll, fmap.image_hw if roll % 2 == 0 else fmap.image_hw[::-1])
        found = _matched_pose(turned, known, intrinsics, config)
        if _better(found, best):
            best, kept = found, turned
    if best.estimate is None or kept is None:
        return best
    for _ in range(config.guided_rounds):
        again = _guided_pose(kept, known, intrinsics, best.estimate, config)
        if again.estimate is None:
            break
        best = again
    return best


def _better(new: Attempt, old: Attempt) -> bool:
    """Say whether a turn beats another: by its inliers, or without any pose by its matches."""
    if new.estimate is None or old.estimate is None:
        return new.estimate is not None or (old.estimate is None and new.n_matches > old.n_matches)
    return new.estimate.n_inliers > old.estimate.n_inliers


def _matched_pose(turned: _Turned, known: Known, intrinsics: np.ndarray, config: LocateConfig) -> Attempt:
    descriptors, points, _ = known
    tokens = turned.fmap.tokens.flatten(1).T
    index, token, _ = mutual_nearest(descriptors.to(tokens), tokens)
    return _solved(turned, descriptors.to(tokens)[index], token, points[index.cpu().numpy()], intrinsics, config)


def _guided_pose(
    turned: _Turned, known: Known, intrinsics: np.ndarray, estimate: PoseEstimate, config: LocateConfig
) -> Attempt:
    """Match again: each point the camera can see, within a radius of where the pose puts it."""
    descriptors, points, directions = known
    camera = rolled_camera(Camera(intrinsics, estimate.cam_from_world, turned.hw), turned.roll)
    seen = np.flatnonzero(_facing(camera, points, directions, config.guided_angle_deg))
    tokens = turned.fmap.tokens.flatten(1).T
    rows_of = torch.from_numpy(seen).to(tokens.device)
    at = torch.from_numpy(project(camera, points[seen])[0]).to(tokens)
    centres = token_centers(turned.fmap)
    radius = config.guided_radius_tokens * turned.limit_unit_px

    def allowed(rows: slice) -> Bool[torch.Tensor, "k m"]:
        return torch.cdist(at[rows], centres) <= radius

    chosen = descriptors.to(tokens)[rows_of]
    index, token, _ = mutual_nearest(chosen, tokens, allowed)
    return _solved(turned, chosen[index], token, points[seen][index.cpu().numpy()], intrinsics, config)


def _facing(
    camera: Camera, points: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"], angle_deg: float
) -> Bool[np.ndarray, "n"]:
    to_camera = camera.center_in_world - points
    cosine = (to_camera * directions).sum(1) / np.linalg.norm(to_camera, axis=1)
    in_front = transform(camera.cam_from_world, points)[:, 2] > 0
    return in_front & (cosine > np.cos(np.deg2rad(angle_deg)))


def _solved(
    turned: _Turned,
    descriptors: Float[torch.Tensor, "m c"],
    token: torch.Tensor,
    points: Float[np.ndarray, "m 3"],
    intrinsics: np.ndarray,
    config: LocateConfig,
) -> Attempt:
    count = len(points)
    if count < MIN_MATCHES:
        return Attempt(None, f"fewer than {MIN_MATCHES} matches", count, turned.roll)
    xy = subtoken_xy(turned.fmap, descriptors, token).double().cpu().numpy()
    estimate = solve_pnp(
        unrolled_xy(xy, turned.hw, turned.roll),
        points,
        intrinsics,
        threshold_px=config.threshold_tokens * turned.limit_unit_px,
        min_inliers=config.min_inliers,
        iterations=config.iterations,
        seed=config.seed,
    )
    reason = "" if estimate is not None else f"fewer than {config.min_inliers} inliers"
    return Attempt(estimate, reason, count, turned.roll)
