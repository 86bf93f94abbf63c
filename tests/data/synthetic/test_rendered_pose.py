"""Pose scenes: the same from a seed, exact in geometry, and each condition changes only what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

from equiview.data.synthetic.pose import CONDITIONS, PoseWorld, pose_scenes, posed_view, surface_points
from equiview.data.synthetic.procedural import procedural_mesh
from equiview.errors import EquiviewError
from equiview.geometry import project, view_angle_deg
from equiview.matching.match import match
from equiview.models.oracle import NoiseExtractor, OracleExtractor
from equiview.render.visibility import points_seen
from equiview.sampling import descriptors
from equiview.types import PoseScene

SMALL = PoseWorld(references=6, queries=2, hw=(128, 128))
SEED = 3


@pytest.fixture(scope="module")
def scene() -> PoseScene:
    return pose_scenes([SEED], SMALL)[0]


def scene_with(**changes) -> PoseScene:
    return pose_scenes([SEED], replace(SMALL, **changes))[0]


def angle_deg(a, b) -> float:
    rotation = a.cam_from_world[:3, :3] @ b.cam_from_world[:3, :3].T
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def test_the_same_seed_gives_the_same_scene(scene):
    again = scene_with()
    for a, b in zip([*scene.references, *scene.queries], [*again.references, *again.queries], strict=True):
        assert (a.image == b.image).all() and (a.camera.cam_from_world == b.camera.cam_from_world).all()
    assert (scene.model_points == again.model_points).all()


def test_sizes_names_and_scale(scene):
    assert (len(scene.references), len(scene.queries), scene.world_unit_cm) == (6, 2, 15.0)
    assert len({p.name for p in [*scene.references, *scene.queries]}) == 8
    assert np.abs(scene.model_points).max() <= 0.5
    assert 0.8 < np.ptp(scene.model_points, axis=0).max() <= 1.0


def test_every_query_is_another_viewpoint(scene):
    for query in scene.queries:
        angles = [view_angle_deg(query.camera, r.camera, np.zeros(3)) for r in scene.references]
        assert min(angles) > 0.5
        distance = np.linalg.norm(query.camera.center_in_world)
        assert 1.6 <= distance <= 2.6


def test_depth_of_one_picture_is_the_surface_of_the_others(scene):
    """Points from a query's depth that the mesh does not hide lie at the depth that the reference has there."""
    query, gaps = posed_view(scene.queries[0]), []
    points = query.points_in_world[query.mask]
    for reference in scene.references:
        xy, seen = points_seen(procedural_mesh(SEED), reference.camera, points)
        depth = project(reference.camera, points[seen])[1]
        cols, rows = xy[seen].astype(int).T
        gaps += np.abs(reference.depth[rows, cols] - depth).tolist()
    # A pixel is 2 / 140 object sizes, more on a slope; beyond the silhouette the reference has no depth.
    assert len(gaps) > 600 and np.isnan(gaps).mean() < 0.15
    assert np.nanmedian(gaps) < 0.012 and np.nanpercentile(gaps, 95) < 0.06


def test_mask_and_depth_agree(scene):
    for posed in [*scene.references, *scene.queries]:
        assert (np.isfinite(posed.depth) == posed.mask).all()
        assert 300 < posed.mask.sum() < 0.7 * posed.mask.size


def test_occluders_hide_the_share_asked_for_and_nothing_else(scene):
    hidden = scene_with(occluded=0.3)
    for plain, covered in zip(scene.queries, hidden.queries, strict=True):
        assert not (covered.mask & ~plain.mask).any()
        assert 1 - covered.mask.sum() / plain.mask.sum() == pytest.approx(0.3, abs=0.02)
        changed = (plain.image != covered.image).any(-1)
        # What is still the object's looks as before, but for the smoothed edge of the occluder.
        assert not (changed & covered.mask & ~binary_dilation(changed & ~covered.mask, np.ones((3, 3)))).any()
    for a, b in zip(scene.references, hidden.references, strict=True):
        assert (a.image == b.image).all()


def test_conditions_share_objects_and_viewpoints(scene):
    dark = scene_with(relit=True)
    plain = scene_with(clutter=False)
    for query, lit, black in zip(scene.queries, dark.queries, plain.queries, strict=True):
        assert (query.camera.cam_from_world == lit.camera.cam_from_world).all()
        assert (query.mask == lit.mask).all() and (query.mask == black.mask).all()
        assert np.abs(query.image[query.mask].astype(int) - lit.image[query.mask]).mean() > 5
        assert (black.image[~binary_dilation(black.mask)] == 0).all()
        assert query.image[~query.mask].std() > 20
    assert set(CONDITIONS) == {"plain", "clutter", "occluders", "lighting", "noise"}


def test_pose_noise_moves_the_given_cameras_only(scene):
    noisy = scene_with(noise_deg=2.0, noise_cm=0.3)
    angles = [angle_deg(a.camera, b.camera) for a, b in zip(scene.references, noisy.references, strict=True)]
    shifts = [
        a.camera.cam_from_world[:3, 3] - b.camera.cam_from_world[:3, 3]
        for a, b in zip(scene.references, noisy.references, strict=True)
    ]
    assert 0.02 < max(angles) < 8
    assert 0.001 < np.abs(shifts).max() < 0.1
    assert all((a.image == b.image).all() for a, b in zip(scene.references, noisy.references, strict=True))
    for a, b in zip(scene.queries, noisy.queries, strict=True):
        assert (a.camera.cam_from_world == b.camera.cam_from_world).all()


@pytest.mark.parametrize(
    ("extractor", "perfect"), [(OracleExtractor(4), True), (NoiseExtractor(32, stride_px=4), False)]
)
def test_bounds_of_matching(scene, extractor, perfect):
    """Perfect features find each point in the reference, away from depth edges; noise finds nothing."""
    query, mesh, errors = posed_view(scene.queries[0]), procedural_mesh(SEED), []
    rows, cols = np.nonzero(query.mask & far_from_edges(query, 4))
    points, xy0 = query.points_in_world[rows, cols], np.stack([cols, rows], 1) + 0.5
    (fmap,) = extractor.maps([query])
    for reference in map(posed_view, scene.references):
        xy, seen = points_seen(mesh, reference.camera, points)
        at = xy[seen].astype(int)
        safe = far_from_edges(reference, 4)[at[:, 1], at[:, 0]]
        (target,) = extractor.maps([reference])
        inside = np.flatnonzero(seen)[safe]
        found = match(descriptors(fmap, torch.from_numpy(xy0[inside]).float()), target).xy1.numpy()
        errors += np.linalg.norm(found - xy[inside], axis=1).tolist()
    assert len(errors) > 30
    assert np.mean(errors) < 1.5 and max(errors) < 8 if perfect else np.mean(errors) > 30


def far_from_edges(view, margin: int) -> np.ndarray:
    """True where the surface within `margin` pixels has no edge: no background, no jump of the points."""
    size = 2 * margin + 1
    smooth = minimum_filter(view.mask.astype(np.uint8), size) > 0
    points = np.where(view.mask[..., None], view.points_in_world, 0)
    jump = np.zeros(view.mask.shape)
    for axis in (0, 1):
        step = np.linalg.norm(np.diff(points, axis=axis, prepend=np.take(points, [0], axis)), axis=-1)
        jump = np.maximum(jump, maximum_filter(step, size))
    return smooth & (jump < 0.06)


def test_surface_points_are_on_the_surface():
    mesh = procedural_mesh(SEED)
    points = surface_points(mesh, 200, 1)
    corners = mesh.vertices[mesh.faces]
    nearest = np.array([np.linalg.norm(corners.mean(1) - p, axis=1).argmin() for p in points])
    off_plane = np.einsum("nk,nk->n", points - corners[nearest, 0], mesh.face_normals[nearest])
    assert np.abs(off_plane).max() < 0.02 and np.median(np.abs(off_plane)) < 1e-3


@pytest.mark.parametrize(
    "wrong", [{"occluded": 1.0}, {"noise_deg": -1.0}, {"noise_cm": float("nan")}, {"size_cm": 0.0}, {"queries": 0}]
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(EquiviewError, match="expected"):
        PoseWorld(**wrong)


def test_too_many_references_and_a_negative_seed_are_refused():
    with pytest.raises(EquiviewError, match="1 to 42"):
        pose_scenes([SEED], replace(SMALL, references=43))
    with pytest.raises(EquiviewError, match="seed"):
        pose_scenes([-1], SMALL)


def test_a_picture_without_depth_is_no_view(scene):
    with pytest.raises(EquiviewError, match="mask and depth"):
        posed_view(replace(scene.queries[0], depth=None))
