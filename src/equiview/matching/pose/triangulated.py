"""3D points from posed pictures alone: mutual matches along epipolar lines, triangulated, several views agreeing."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from ...errors import bad_input
from ...geometry import epipolar_lines, project, triangulate, view_angle_deg
from ...sampling import token_centers
from ...types import Camera, FeatureMap
from ..match import subtoken_xy
from ..nearest import mutual_nearest
from .references import Reference, ReferenceMaps, ViewPoints, inside_box, mask_at
from .rolls import upright_roll


@dataclass(frozen=True)
class TriangulationConfig:
    """How points are found from posed pictures.

    Attributes:
        neighbours: Other references each one is matched with: the nearest by viewing direction.
        angle_deg: Only neighbours between these angles away.
        band_tokens: Matches may lie this far (in tokens) from the epipolar line; None matches the whole picture.
        error_tokens: Reprojection error up to which a view agrees with a point, in tokens.
        parallax_deg: Smallest angle between two of a point's rays.
        min_views: Views that must agree, the reference among them.
    """

    neighbours: int = 4
    angle_deg: tuple[float, float] = (4.0, 60.0)
    band_tokens: float | None = 1.0
    error_tokens: float = 1.0
    parallax_deg: float = 5.0
    min_views: int = 2


def triangulated_points(
    index: int,
    references: list[Reference],
    maps: ReferenceMaps,
    config: TriangulationConfig,
    box: Float[np.ndarray, "2 3"] | None,
    margin: float,
) -> ViewPoints:
    """Return the tokens of one reference whose 3D points its neighbours confirm.

    Each token is matched (mutual nearest neighbours near the epipolar line, sub-token) with every neighbour, turned by
    quarters to stand as the reference does. Every such pair proposes a point; the proposal most views agree with is
    triangulated again from all of them.

    Memory: a block of similarities of one pair of pictures at a time, and the cached maps.
    """
    fmap, camera = maps(index), references[index].camera
    xy = token_centers(fmap).double().cpu().numpy()
    limit = config.error_tokens * float(np.mean(fmap.stride_xy))
    cameras, seen_at = [camera], [xy]
    for other in neighbours_of(index, references, config, box):
        roll = upright_roll(camera, references[other].camera)
        cameras.append(maps.camera(other, roll))
        seen_at.append(_matched(fmap, camera, maps(other, roll), cameras[-1], config.band_tokens))
    tokens = fmap.tokens.flatten(1).T
    if len(cameras) == 1:
        return ViewPoints(tokens[:0], np.zeros((0, 3)))
    inside = mask_at(references[index], xy)
    points, views = _agreed(cameras, np.stack(seen_at), inside, limit, config, (box, margin))
    keep = views >= config.min_views
    return ViewPoints(tokens[torch.from_numpy(keep).to(tokens.device)], points[keep])


def neighbours_of(
    index: int, references: list[Reference], config: TriangulationConfig, box: Float[np.ndarray, "2 3"] | None
) -> list[int]:
    """Return the references to match with, nearest viewing direction first."""
    centre = object_centre(references) if box is None else np.mean(box, 0)
    camera = references[index].camera
    angles = {
        other: view_angle_deg(camera, reference.camera, centre)
        for other, reference in enumerate(references)
        if other != index
    }
    low, high = config.angle_deg
    return [other for other in sorted(angles, key=angles.__getitem__) if low < angles[other] < high][
        : config.neighbours
    ]


def object_centre(references: list[Reference]) -> Float[np.ndarray, "3"]:
    """Return the point closest to all optical axes: where the cameras look.

    Raises:
        EquiviewError: The axes are parallel.
    """
    axes = np.stack([reference.camera.cam_from_world[2, :3] for reference in references])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(0)
    if np.linalg.cond(total) > 1e9:
        fix = "Give the object's box, or references that look from different directions."
        raise bad_input("references", "cameras that look at one place", "parallel optical axes", fix)
    centres = np.stack([reference.camera.center_in_world for reference in references])
    return np.linalg.solve(total, np.einsum("nij,nj->i", across, centres))


def _matched(
    fmap: FeatureMap, camera: Camera, other_map: FeatureMap, other: Camera, band: float | None
) -> Float[np.ndarray, "n 2"]:
    """Return where each token of a map is matched in another, pixels; NaN where it is not."""
    tokens, other_tokens = fmap.tokens.flatten(1).T, other_map.tokens.flatten(1).T
    allowed = None
    if band is not None:
        lines = epipolar_lines(camera, other, token_centers(fmap).double().cpu().numpy())
        lines_of = torch.from_numpy(lines).to(tokens)
        at = torch.nn.functional.pad(token_centers(other_map), (0, 1), value=1.0).T
        width = band * float(np.mean(other_map.stride_xy))

        def allowed(rows: slice) -> Bool[torch.Tensor, "k m"]:
            return (lines_of[rows] @ at).abs() <= width

    index, other_index, _ = mutual_nearest(tokens, other_tokens, allowed)
    xy = np.full((len(tokens), 2), np.nan)
    xy[index.cpu().numpy()] = subtoken_xy(other_map, tokens[index], other_index).double().cpu().numpy()
    return xy


def _agreed(
    cameras: list[Camera],
    xy: Float[np.ndarray, "v n 2"],
    inside: Bool[np.ndarray, "n"],
    limit_px: float,
    config: TriangulationConfig,
    region: tuple[Float[np.ndarray, "2 3"] | None, float],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n"]]:
    """Return the point most views agree with for each token of view 0, and how many do (0 where there is none)."""
    count = xy.shape[1]
    points, views, errors = np.full((count, 3), np.nan), np.zeros(count, int), np.full(count, np.inf)
    for number in range(1, len(cameras)):
        pair = triangulate([cameras[0], cameras[number]], xy[[0, number]])
        proposed = pair.accepted(limit_px, config.parallax_deg) & inside & inside_box(pair.points_in_world, *region)
        seen = np.zeros(xy.shape[:2], bool)
        for view, camera in enumerate(cameras):
            at, _ = project(camera, pair.points_in_world)
            with np.errstate(invalid="ignore"):
                seen[view] = proposed & (np.linalg.norm(at - xy[view], axis=1) <= limit_px)
        seen[0] |= proposed
        joint = triangulate(cameras, xy, seen)
        fine = joint.accepted(1.5 * limit_px, config.parallax_deg) & inside_box(joint.points_in_world, *region)
        agree = seen.sum(0)
        better = fine & ((agree > views) | ((agree == views) & (joint.error_px < errors)))
        points[better] = joint.points_in_world[better]
        views[better] = agree[better]
        errors[better] = joint.error_px[better]
    return points, views
