"""The OpenGL renderer gives the ray caster's views."""

import dataclasses

import numpy as np
import pytest

from equiview.data.synthetic.procedural import procedural_mesh
from equiview.errors import EquiviewError
from equiview.render import RenderConfig, gl, load_mesh, normalize, paper42, render_view, render_views
from equiview.render.mesh import Material
from render.makers import QUARTERS, WHITE, box, mesh_of, quad, rgba, sphere


@pytest.fixture(scope="module", autouse=True)
def context():
    pytest.importorskip("moderngl", reason="the gl extra is not installed")
    try:
        gl._context()
    except EquiviewError as error:
        pytest.skip(str(error))


def cut_out():
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[:, :16] = 0
    front = Material(texture=rgba(QUARTERS.repeat(2, 0).repeat(2, 1), alpha), color=WHITE, alpha_cutoff=0.5)
    back = Material(color=(0, 0, 1, 1), double_sided=False)
    return mesh_of(quad(0.3, front, scale=0.5), quad(-0.3, back), quad(0.1, back, flip=True))


def mirrored():
    part = quad(material=Material(texture=rgba(QUARTERS), color=WHITE, wrap=("mirror", "repeat")))
    return mesh_of(dataclasses.replace(part, uv=part.uv * 3 - 1.2))


SCENES = {
    "box": lambda: mesh_of(box()),
    "sphere": lambda: mesh_of(sphere()),
    "cut_out": cut_out,
    "mirrored": mirrored,
    "procedural": lambda: procedural_mesh(1),
}


def check_agreement(mesh, camera, config):
    ours, theirs = gl.render_view(mesh, camera, config), render_view(mesh, camera, config)
    outline = ours.mask != theirs.mask
    assert outline.sum() <= 0.02 * theirs.mask.sum()
    both = ours.mask & theirs.mask
    same = both & (ours.triangle_id == theirs.triangle_id)
    assert same.sum() >= 0.97 * both.sum()
    np.testing.assert_allclose(ours.points_in_world[same], theirs.points_in_world[same], atol=1e-9)
    np.testing.assert_allclose(ours.normals_in_world[same], theirs.normals_in_world[same], atol=1e-6)
    distance = np.linalg.norm(ours.points_in_world[both] - theirs.points_in_world[both], axis=1)
    assert (distance < 1e-3).mean() > 0.995  # else a centre on an occlusion edge
    difference = np.abs(ours.rgb.astype(int) - theirs.rgb)
    assert difference.mean() < 2 and np.percentile(difference[both], 95) <= 25


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("index", [3, 41])
def test_agrees_with_the_ray_caster(scene, index):
    check_agreement(SCENES[scene](), paper42((128, 160))[index], RenderConfig(background="white"))


def test_world_light_agrees():
    check_agreement(mesh_of(sphere()), paper42((128, 128))[8], RenderConfig(light="world", supersample=1))


def test_store_takes_this_renderer_and_keeps_it_apart(tmp_path):
    mesh, cameras = mesh_of(box()), paper42((32, 32))[:2]
    store = render_views(mesh, cameras, RenderConfig(), tmp_path, draw=gl.render_view)
    assert store.meta["renderer"] == "gl" and store[1].mask.any()
    with pytest.raises(EquiviewError, match="renderer"):
        render_views(mesh, cameras, RenderConfig(), tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("file", ["classic/FlightHelmet/FlightHelmet.gltf", "scanned/stapler_2.glb"])
def test_real_objects_agree(shared, file):
    mesh = normalize(load_mesh(shared / "data" / "objects" / file))
    check_agreement(mesh, paper42((256, 256))[20], RenderConfig())
