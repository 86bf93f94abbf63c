"""Household objects: the same from a seed, whole, of every kind; and views that vary in everything."""

import itertools

import numpy as np
import pytest

from equiview.data.meshes import open_mesh, open_object
from equiview.data.names import source_name
from equiview.data.synthetic.grid_mesh import grid_faces, grid_normals
from equiview.data.synthetic.household import KINDS, household_mesh, prints
from equiview.data.synthetic.household.paint import paint_pieces
from equiview.data.synthetic.household.pieces import Finish, ellipse, piece, rectangle, swept
from equiview.data.synthetic.household.prints import back, front
from equiview.data.synthetic.procedural_paint import at_texels
from equiview.data.synthetic.varied_views import varied_cameras, varied_views
from equiview.errors import EquiviewError
from equiview.render import RenderConfig
from equiview.render.rigs import paper_subset

PROFILE = [(0, 0.5), (1, 0.5), (1, -0.5), (0, -0.5)]


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.einsum("fc,fc->", a, np.cross(b, c)) / 6


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_a_proper_object(kind, small_paint):
    mesh = household_mesh(list(KINDS).index(kind))
    assert 2_000 <= len(mesh.faces) <= 70_000 and np.isfinite(mesh.vertices).all()
    used = mesh.vertices[np.unique(mesh.faces)]
    assert np.ptp(used, axis=0).max() == pytest.approx(1)
    np.testing.assert_allclose(used.min(0) + used.max(0), 0, atol=1e-9)
    assert mesh.materials[0].texture.shape == (192, 192, 4)
    assert mesh.uv.min() >= 0 and mesh.uv.max() <= 1
    assert volume(mesh.vertices, mesh.faces) > 0
    assert ((mesh.normals[mesh.faces].mean(1) * mesh.face_normals).sum(1) > 0).mean() > 0.95
    _, weld = np.unique(np.round(mesh.vertices, 9), axis=0, return_inverse=True)
    edges = np.sort(np.concatenate([weld[mesh.faces][:, list(p)] for p in itertools.combinations(range(3), 2)]), axis=1)
    count = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0, return_counts=True)[1]
    assert (count % 2 == 0).all()  # no holes


def test_the_same_object_every_time_and_another_for_every_seed():
    mesh = open_mesh("household:3")
    assert mesh.materials[0].texture.shape == (768, 768, 4)
    first = mesh.sha256
    household_mesh.cache_clear()
    assert household_mesh(3).sha256 == first
    assert first != household_mesh(3 + len(KINDS)).sha256


def test_it_is_a_source_by_name():
    views = open_object("household:4", n_views=2, config=RenderConfig(hw=(64, 64), supersample=1))
    assert views.name == "household-4" == source_name("household:4")
    assert all(view.mask.mean() > 0.005 for view in views)


def test_negative_seed_is_an_error():
    with pytest.raises(EquiviewError, match="seed"):
        household_mesh(-1)


def test_sections_are_swept_outside_out():
    box = piece(swept(PROFILE, rectangle(0.6, 0.4, 0.02)), Finish((1, 1, 1)), (1, 2, 3), "x", 30)
    faces = grid_faces(*box.grid.shape[:2])
    assert volume(box.placed.reshape(-1, 3), faces) == pytest.approx(0.24, rel=0.02)
    np.testing.assert_allclose(box.placed.reshape(-1, 3).mean(0), (1, 2, 3), atol=0.05)
    lid = swept(PROFILE, ellipse(0.5, 0.5), lambda z: np.where(z > 0, 0.5, 1.0))
    assert np.ptp(lid[1, :, 1]) == pytest.approx(0.5 * np.ptp(lid[-2, :, 1]), rel=0.01)


def test_prints_have_much_ink_where_they_should_and_can_be_read_on_their_ground():
    rng = np.random.default_rng(0)
    for draw, ground in itertools.product((front, back), ((0.9, 0.9, 0.9), (0.1, 0.1, 0.3))):
        picture = draw(rng, (300, 200), ground)
        assert picture.shape == (300, 200, 3)
        ink = np.abs(picture / 255.0 - np.array(ground)).max(-1) > 0.3
        assert 0.02 < ink.mean() < 0.95


def _left_to_right(rng, hw, ground):
    """A print that is black on its left and white on its right."""
    return np.broadcast_to(np.linspace(0, 255, hw[1]).astype(np.uint8)[None, :, None], (*hw, 3))


@pytest.mark.parametrize("mapping", ["faces", "wrap"])
def test_prints_are_not_mirrored(monkeypatch, mapping):
    """Seen from outside, upright, the right of a print is on the right."""
    for name in ("front", "back", "side", "around"):
        monkeypatch.setattr(prints, name, _left_to_right)
    box = piece(swept(PROFILE, rectangle(0.6, 0.4, 0.02)), Finish((0.5, 0.5, 0.5), mapping, mottled=0))
    rect = (0, 0, 256, 256)
    painted = paint_pieces(np.random.default_rng(1), [box], [rect], 256)[..., 0].reshape(-1) / 255
    points, normals = (at_texels(of, rect).reshape(-1, 3) for of in (box.grid, grid_normals(box.grid)))
    for normal in np.concatenate([np.eye(3)[:2], -np.eye(3)[:2]]):
        face = normals @ normal > 0.99
        right = points @ np.cross([0, 0, 1], normal)
        if mapping == "wrap" and normal[0] == 1:  # A wrapper begins and ends in the middle of +x.
            face &= right < 0
        assert np.corrcoef(right[face], painted[face])[0, 1] > 0.9


def test_varied_views_differ_in_light_background_roll_and_distance():
    mesh = open_mesh("household:2")
    views = varied_views(mesh, 3, seed=5)
    again = varied_views(mesh, 3, seed=5)
    assert all((a.rgb == b.rgb).all() for a, b in zip(views, again, strict=True))
    corners = [view.rgb[0, 0].tolist() for view in views]
    assert len({tuple(corner) for corner in corners}) == 3
    plain, varied = paper_subset(42, (64, 64), 5), varied_cameras(42, (64, 64), 5)
    distance = [np.linalg.norm(camera.center_in_world) for camera in varied]
    assert 1.5 <= min(distance) < 1.7 and 2.3 < max(distance) <= 2.5
    towards = [camera.center_in_world / np.linalg.norm(camera.center_in_world) for camera in varied]
    np.testing.assert_allclose(towards, [camera.center_in_world / 2 for camera in plain], atol=1e-9)
    ups = [a.cam_from_world[1, :3] @ b.cam_from_world[1, :3] for a, b in zip(plain, varied, strict=True)]
    assert min(ups) < 0.8 and max(ups) > 0.95
