"""Laws of the ray caster, on scenes with known answers."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers, project, rays_through
from equiview.render import RenderConfig, load_mesh, normalize, paper42, render_view
from equiview.render.mesh import Material, Mesh, Part
from equiview.render.scene import Scene, scene_of
from equiview.render.shading import WORLD_LIGHT
from equiview.types import View
from render.makers import QUARTERS, WHITE, box, mesh_of, quad, rgba, sphere

FLAT = RenderConfig(ambient=1.0, supersample=1)  # colours as they are in the texture


def top(hw=(64, 64)):
    """The camera on +z, whose up is +y: x of the object is to the right."""
    return paper42(hw)[41]


def check_laws(view: View) -> None:
    """What holds for every view of everything."""
    mask = view.mask
    assert mask.any()
    xy, depth = project(view.camera, view.points_in_world[mask])
    np.testing.assert_allclose(xy, pixel_centers(view.camera.hw)[mask], atol=1e-3)
    assert (depth > 0).all()
    normals = view.normals_in_world[mask]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    to_camera = view.camera.center_in_world - view.points_in_world[mask]
    assert ((normals * to_camera).sum(1) > -1e-6).all()
    assert (view.triangle_id[mask] >= 0).all() and (view.triangle_id[~mask] == -1).all()
    assert np.isnan(view.points_in_world[~mask]).all() and np.isnan(view.normals_in_world[~mask]).all()


def check_on_triangles(view: View, mesh: Mesh) -> None:
    """Every point lies inside the triangle it names."""
    corners = mesh.vertices[mesh.faces[view.triangle_id[view.mask]]]
    points = view.points_in_world[view.mask]
    areas = [
        np.linalg.norm(np.cross(corners[:, i] - points, corners[:, (i + 1) % 3] - points), axis=1) for i in range(3)
    ]
    whole = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    size = np.abs(corners - corners.mean(1, keepdims=True)).max()
    np.testing.assert_allclose(sum(areas), whole, atol=1e-5 * size)


@pytest.mark.parametrize("index", [0, 7, 20, 41])
def test_laws_on_a_box(index):
    mesh = mesh_of(box())
    view = render_view(mesh, paper42((96, 128))[index])
    check_laws(view)
    check_on_triangles(view, mesh)
    points = view.points_in_world[view.mask]
    np.testing.assert_allclose(np.abs(points).max(1), 0.5, atol=1e-9)


def test_plane_has_the_exact_depth_and_size():
    view = render_view(mesh_of(quad(0.25)), top((512, 512)))
    check_laws(view)
    np.testing.assert_allclose(view.points_in_world[view.mask][:, 2], 0.25, atol=1e-12)
    side = 560 / 1.75  # f / distance, for side 1
    rows, columns = np.nonzero(view.mask)
    assert np.ptp(columns) + 1 == pytest.approx(side, abs=1) and np.ptp(rows) + 1 == pytest.approx(side, abs=1)
    np.testing.assert_allclose(view.normals_in_world[view.mask], [[0, 0, 1]] * view.mask.sum(), atol=1e-7)


def test_sphere_is_where_the_formula_says():
    camera = paper42((128, 128))[5]
    view = render_view(mesh_of(sphere(180, 240)), camera)
    check_laws(view)
    points = view.points_in_world[view.mask]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.5, atol=3e-4)
    rays = rays_through(camera, pixel_centers(camera.hw)) @ camera.cam_from_world[:3, :3]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    miss = np.linalg.norm(np.cross(rays, camera.center_in_world), axis=-1)
    wrong = view.mask != (miss < 0.5)
    assert (np.abs(miss[wrong] - 0.5) < 1e-3).all()
    normals = view.normals_in_world[view.mask]
    assert ((normals * points).sum(1) > 0.5 * 0.999).all()


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e4)])
def test_units_and_place_do_not_matter(scale, shift):
    """The same picture from a tiny, a huge and a far-away object: float32 stays inside the normalised frame."""
    camera = paper42((64, 64))[9]
    plain = render_view(mesh_of(box()), camera)
    part = box()
    moved = mesh_of(dataclasses.replace(part, vertices=part.vertices * scale + shift))
    pose = camera.cam_from_world.copy()
    pose[:3, 3] = camera.cam_from_world[:3, 3] * scale - pose[:3, :3] @ np.full(3, shift)
    view = render_view(moved, dataclasses.replace(camera, cam_from_world=pose))
    np.testing.assert_array_equal(view.mask, plain.mask)
    back = (view.points_in_world[view.mask] - shift) / scale
    np.testing.assert_allclose(back, plain.points_in_world[plain.mask], atol=1e-7)


def test_a_far_camera_stays_exact():
    mesh = mesh_of(sphere())
    camera = paper42((64, 64))[3]
    pose, intrinsics = camera.cam_from_world.copy(), camera.intrinsics.copy()
    pose[2, 3], intrinsics[0, 0], intrinsics[1, 1] = 2e4, 7e5, 7e5
    far = dataclasses.replace(camera, cam_from_world=pose, intrinsics=intrinsics)
    view = render_view(mesh, far)
    check_laws(view)
    check_on_triangles(view, mesh)


def test_camera_inside_the_object_sees_it_all_around():
    camera = top((32, 32))
    pose = camera.cam_from_world.copy()
    pose[2, 3] = 0.1
    part = dataclasses.replace(box(), material=Material(color=WHITE, double_sided=True))
    view = render_view(mesh_of(part), dataclasses.replace(camera, cam_from_world=pose))
    assert view.mask.all()
    check_laws(view)


def test_object_out_of_sight_gives_an_empty_view():
    view = render_view(mesh_of(dataclasses.replace(box(), vertices=box().vertices + [50, 0, 0])), top())
    assert not view.mask.any() and not view.rgb.any()


def test_texture_has_the_right_way_up():
    material = Material(texture=rgba(QUARTERS), color=WHITE)
    view = render_view(mesh_of(quad(material=material)), top(), FLAT)
    inside = np.argwhere(view.mask)
    (y0, x0), (y1, x1) = inside.min(0) + 3, inside.max(0) - 3
    corners = [view.rgb[y0, x0], view.rgb[y0, x1], view.rgb[y1, x0], view.rgb[y1, x1]]
    np.testing.assert_array_equal(corners, [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])


def test_nearer_surface_hides_the_farther():
    near = quad(0.3, Material(color=(1, 0, 0, 1)), scale=0.4)
    far = quad(-0.3, Material(color=(0, 0, 1, 1)))
    view = render_view(mesh_of(far, near), top(), FLAT)
    np.testing.assert_array_equal(view.rgb[32, 32], [255, 0, 0])
    np.testing.assert_array_equal(view.rgb[32, 20], [0, 0, 255])
    assert view.triangle_id[32, 32] >= 2 > view.triangle_id[32, 20] >= 0


def cut_out(cutoff):
    """Left half of the near square has alpha 51 of 255; a blue square lies behind."""
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:, :8] = 51
    material = Material(
        texture=rgba(np.full((16, 16, 3), (255, 0, 0), np.uint8), alpha), color=WHITE, alpha_cutoff=cutoff
    )
    return mesh_of(quad(0.3, material, scale=0.5), quad(-0.3, Material(color=(0, 0, 1, 1))))


def test_alpha_cut_out_lets_the_ray_through():
    view = render_view(cut_out(0.5), top(), FLAT)
    check_laws(view)
    np.testing.assert_array_equal(view.rgb[32, 28], [0, 0, 255])
    np.testing.assert_array_equal(view.rgb[32, 36], [255, 0, 0])
    np.testing.assert_allclose(view.points_in_world[32, [28, 36], 2], [-0.3, 0.3], atol=1e-9)
    for cutoff in (0.1, None):
        np.testing.assert_array_equal(render_view(cut_out(cutoff), top(), FLAT).rgb[32, 28], [255, 0, 0])


def test_many_layers_of_cut_out_are_all_passed():
    clear = Material(color=(1, 1, 1, 0), alpha_cutoff=0.5)
    layers = [quad(0.4 - 0.01 * i, clear) for i in range(40)]
    view = render_view(mesh_of(*layers, quad(-0.1, Material(color=(0, 1, 0, 1)))), top(), FLAT)
    np.testing.assert_array_equal(view.rgb[32, 32], [0, 255, 0])
    np.testing.assert_allclose(view.points_in_world[32, 32, 2], -0.1, atol=1e-9)


@pytest.mark.parametrize(("double_sided", "z"), [(False, -0.2), (True, 0.2)])
def test_the_back_of_a_single_sided_surface_is_not_there(double_sided, z):
    turned = quad(0.2, Material(color=WHITE, double_sided=double_sided), flip=True)
    view = render_view(mesh_of(turned, quad(-0.2)), top())
    np.testing.assert_allclose(view.points_in_world[32, 32, 2], z, atol=1e-9)
    check_laws(view)


def test_vertex_colors_are_interpolated():
    part = quad(material=Material(color=WHITE))
    colors = np.array([[0, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1]], float)
    view = render_view(mesh_of(dataclasses.replace(part, colors=colors)), top(), FLAT)
    expected = (view.points_in_world[32][view.mask[32], 0] + 0.5) * 255
    np.testing.assert_allclose(view.rgb[32][view.mask[32], 0], expected, atol=1)


def test_supersampling_fills_edge_pixels_by_their_share():
    sharp = render_view(mesh_of(sphere()), top((128, 128)), dataclasses.replace(FLAT, supersample=1))
    soft = render_view(mesh_of(sphere()), top((128, 128)), dataclasses.replace(FLAT, supersample=4))
    assert set(np.unique(sharp.rgb)) == {0, 255}
    # The disc's area in pixels, from the cone that touches the sphere.
    area = np.pi * (140 * 0.5 / np.sqrt(4 - 0.25)) ** 2
    assert soft.rgb[..., 0].sum() / 255 == pytest.approx(area, rel=2e-3)
    for name in ("mask", "points_in_world", "triangle_id"):
        np.testing.assert_array_equal(getattr(sharp, name), getattr(soft, name))


def test_fine_texture_far_away_is_averaged():
    """A 1-texel chessboard seen at 10 texels per pixel is grey, not noise."""
    board = np.indices((1024, 1024)).sum(0)[..., None] % 2 * np.full(3, 255)
    view = render_view(mesh_of(quad(material=Material(texture=rgba(board.astype(np.uint8)), color=WHITE))), top(), FLAT)
    inner = view.rgb[24:40, 24:40].astype(float)
    assert abs(inner.mean() - 127.5) < 2 and inner.std() < 3


def test_camera_light_moves_and_world_light_stays():
    mesh = mesh_of(sphere())
    by_camera = [render_view(mesh, c, RenderConfig(hw=(64, 64))).rgb for c in paper42((64, 64))[::10]]
    for rgb in by_camera[1:]:
        assert abs(rgb.mean() - by_camera[0].mean()) < 1
    brightness = [render_view(mesh, c, RenderConfig(light="world")).rgb.mean() for c in paper42((64, 64))]
    assert max(brightness) > 1.5 * min(brightness) > 0
    middle = by_camera[0][32, 32]
    np.testing.assert_allclose(middle, 255, atol=2)


def test_a_light_may_come_from_any_direction():
    mesh, camera = mesh_of(sphere()), paper42((64, 64))[8]
    world = render_view(mesh, camera, RenderConfig(light="world")).rgb
    same = render_view(mesh, camera, RenderConfig(light=tuple(3 * WORLD_LIGHT))).rgb
    np.testing.assert_array_equal(same, world)
    towards = camera.center_in_world
    front, back = (render_view(mesh, camera, RenderConfig(light=tuple(s * towards))).rgb.mean() for s in (1, -1))
    assert front > 1.3 * back > 0


def test_backgrounds(tmp_path):
    mesh, camera = mesh_of(sphere()), top()
    assert render_view(mesh, camera, RenderConfig(background="white")).rgb[0, 0].tolist() == [255] * 3
    noise = RenderConfig(background="random", seed=5)
    first, again, second = (render_view(mesh, camera, noise, index=i).rgb for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != second[0]).any()
    Image.fromarray(np.full((8, 8, 3), (10, 20, 30), np.uint8)).save(tmp_path / "b.png")
    rgb = render_view(mesh, camera, RenderConfig(background=str(tmp_path / "b.png"))).rgb
    np.testing.assert_array_equal(rgb[0, 0], [10, 20, 30])


@pytest.mark.parametrize(
    "wrong",
    [
        {"light": "sun"},
        {"light": (0.0, 0.0, 0.0)},
        {"background": "nowhere.png"},
        {"supersample": 0},
        {"ambient": 2.0},
        {"hw": (0, 4)},
    ],
)
def test_bad_settings(wrong):
    with pytest.raises(EquiviewError, match=next(iter(wrong))):
        RenderConfig(**wrong)


def test_scene_is_built_once_per_mesh():
    mesh = mesh_of(box())
    assert scene_of(mesh) is scene_of(mesh)
    assert scene_of(mesh) is not scene_of(mesh_of(box()))


def plain_cast(mesh: Mesh, camera):
    """The plain twin of the geometry: every ray against every triangle in float64, nearest accepted hit wins."""
    corners = mesh.vertices[mesh.faces]
    rays = (rays_through(camera, pixel_centers(camera.hw)) @ camera.cam_from_world[:3, :3]).reshape(-1, 1, 3)
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(rays, e2)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / (p * e1).sum(-1)
        s = camera.center_in_world - corners[:, 0]
        u = (p * s).sum(-1) * inverse
        q = np.cross(s, e1)
        v = (rays * q).sum(-1) * inverse
        t = (q * e2).sum(-1) * inverse
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    single = np.array([not m.double_sided for m in mesh.materials])[mesh.face_material]
    hit &= ~(single & ((rays * mesh.face_normals).sum(-1) > 0))
    t = np.where(hit, t, np.inf)
    nearest = t.argmin(1)
    depth = t[np.arange(len(t)), nearest]
    return np.where(np.isfinite(depth), nearest, -1).reshape(camera.hw), depth.reshape(camera.hw)


def test_agrees_with_testing_every_triangle():
    rng = np.random.default_rng(0)
    soup = Part(
        rng.uniform(-0.5, 0.5, (180, 3)), np.arange(180).reshape(-1, 3), Material(color=WHITE, double_sided=False)
    )
    for mesh in (mesh_of(soup), mesh_of(sphere(12, 16))):
        for camera in paper42((40, 48))[::13]:
            view = render_view(mesh, camera)
            ids, depth = plain_cast(mesh, camera)
            different = ids != view.triangle_id
            assert different.mean() < 2e-3  # a pixel centre exactly on an edge may go either way
            same = view.mask & ~different
            _, ours = project(camera, view.points_in_world[same])
            np.testing.assert_allclose(ours, depth[same], atol=1e-9)


def test_picture_agrees_with_a_full_frame():
    """Rays only near the mask give the picture that rays everywhere give."""
    mesh = mesh_of(sphere())
    camera = paper42((96, 96))[2]
    config = RenderConfig(supersample=2)
    view = render_view(mesh, camera, config)
    everywhere = Scene(mesh)
    covered = np.zeros(camera.hw)
    for dx in (0.25, 0.75):
        for dy in (0.25, 0.75):
            xy = pixel_centers(camera.hw) - 0.5 + (dx, dy)
            rays = rays_through(camera, xy).reshape(-1, 3) @ camera.cam_from_world[:3, :3]
            covered += (everywhere.cast(camera.center_in_world, rays) >= 0).reshape(camera.hw) / 4
    np.testing.assert_array_equal(view.rgb.any(-1), covered > 0)


@pytest.mark.shared
@pytest.mark.parametrize(
    "file",
    ["classic/Fox.glb", "classic/FlightHelmet/FlightHelmet.gltf", "scanned/green_cup.glb", "classic/spot/spot.obj"],
)
def test_laws_on_real_objects(shared, file):
    mesh = normalize(load_mesh(shared / "data" / "objects" / file))
    for index in (1, 26):
        view = render_view(mesh, paper42((128, 128))[index])
        check_laws(view)
        check_on_triangles(view, mesh)
        assert view.rgb[view.mask].std() > 5


@pytest.mark.shared
def test_scans_have_no_holes_from_one_sided_surfaces(shared):
    """The scanned objects say nothing about sides; leaving backs out must not eat into them."""
    for name in ("green_cup", "large_clamp", "stapler_2"):
        mesh = normalize(load_mesh(shared / "data" / "objects" / "scanned" / f"{name}.glb"))
        both = dataclasses.replace(mesh, materials=(dataclasses.replace(mesh.materials[0], double_sided=True),))
        camera = paper42((256, 256))[30]
        one_sided, two_sided = render_view(mesh, camera, FLAT), render_view(both, camera, FLAT)
        assert (one_sided.triangle_id != two_sided.triangle_id).mean() < 1e-3
