"""A test object that was trained on, in disguise: copied, exported again, rendered, written another way."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bad_inputs import ball_ply
from data.test_open import write_rgbd
from equiview.data.apart import check_apart
from equiview.data.meshes import open_mesh
from equiview.data.names import source_name
from equiview.errors import EquiviewError
from equiview.jobs.run_folder import check_names
from equiview.render import RenderConfig, load_mesh, render_views, ring
from equiview.render.surface import same_surface, surface_numbers


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    return ball_ply(tmp_path / "ball.ply")


def drawn(mesh: Path, folder: Path, n: int = 2) -> Path:
    render_views(open_mesh(mesh), ring(n, hw=(16, 16)), RenderConfig(hw=(16, 16)), folder)
    return folder


def exported(path: Path, source: Path) -> Path:
    """Write a mesh as OBJ: triangles and corners in another order, four digits, another frame and scale."""
    mesh, rng = load_mesh(source), np.random.default_rng(3)
    order = rng.permutation(len(mesh.vertices))
    place = np.argsort(order)
    xyz = 7 * mesh.vertices[order][:, [2, 0, 1]] + [5, 6, 7]
    rgb = mesh.vertex_colors[order, :3]
    lines = [
        f"v {x:.4f} {y:.4f} {z:.4f} {r:.3f} {g:.3f} {b:.3f}" for (x, y, z), (r, g, b) in zip(xyz, rgb, strict=True)
    ]
    lines += ["f " + " ".join(str(place[i] + 1) for i in np.roll(face, 1)) for face in rng.permutation(mesh.faces)]
    path.write_text("\n".join(lines) + "\n")
    return path


def copied(path: Path, source: Path) -> Path:
    return Path(shutil.copy(source, path))


DISGUISES = {
    "copied": lambda d, ball: (ball, copied(d / "mug.ply", ball)),
    "exported again": lambda d, ball: (ball, exported(d / "mug.obj", ball)),
    "turned": lambda d, ball: (ball, f"{copied(d / 'mug.ply', ball)}@up=y"),
    "rendered": lambda d, ball: (ball, drawn(ball, d / "mug")),
    "rendered from an export": lambda d, ball: (ball, drawn(exported(d / "mug.obj", ball), d / "views")),
    "rendered twice": lambda d, ball: (drawn(ball, d / "a", 2), drawn(ball, d / "b", 3)),
    "views copied": lambda d, ball: (drawn(ball, d / "a"), shutil.copytree(d / "a", d / "b")),
    "views trained on": lambda d, ball: (drawn(ball, d / "a"), ball),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_one_object_is_found_behind_two_names(ball: Path, tmp_path: Path, name: str) -> None:
    train, test = (str(one) for one in DISGUISES[name](tmp_path, ball))
    with pytest.raises(EquiviewError, match="expected two objects, found one and the same surface"):
        check_apart([train], [test])


def test_a_capture_is_found_in_its_copy(tmp_path: Path) -> None:
    one = write_rgbd(tmp_path / "one", 4)
    two = shutil.copytree(one, tmp_path / "two")
    for number, path in enumerate(sorted((two / "rgb").iterdir())):
        path.rename(path.with_name(f"1{number:02d}.png"))
    for name in ("depth", "pose"):
        for number, path in enumerate(sorted((two / name).iterdir())):
            path.rename(path.with_name(f"1{number:02d}{path.suffix}"))
    with pytest.raises(EquiviewError, match="no picture on both sides, found 4 shared"):
        check_apart([str(one)], [str(two)])
    check_apart([f"{one}@0::2"], [f"{two}@1::2"])
    with pytest.raises(EquiviewError, match="found 2 shared"):
        check_apart([f"{one}@0::2"], [f"{two}@0::2"])


def test_other_objects_are_apart(ball: Path, tmp_path: Path) -> None:
    repainted = ball_ply(tmp_path / "painted.ply", seed=1)
    vertices = load_mesh(ball).vertices
    assert np.ptp(vertices, axis=0).max() > 0
    check_apart([str(ball)], [str(repainted), str(drawn(repainted, tmp_path / "views")), "builtin:mug"])
    check_apart(["builtin:mug", "procedural:1"], ["builtin:duck", "procedural:10", "procedural:2"])


def test_the_numbers_of_a_square_are_those_of_the_formula(tmp_path: Path) -> None:
    """Moments of the unit square about its centre: 1/12, 1/12, 0; mean fourth power of the distance: 7/180."""
    (tmp_path / "square.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3\nf 1 3 4\n")
    (tmp_path / "other.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 4\nf 2 3 4\n")
    one, other = (surface_numbers(load_mesh(tmp_path / f"{name}.obj")) for name in ("square", "other"))
    np.testing.assert_allclose(one[:4], [0, 1 / 12, 1 / 12, 7 / 180], atol=1e-12)
    np.testing.assert_allclose(one, other, atol=1e-12)
    assert same_surface(one, other)


def test_a_seed_has_one_name() -> None:
    with pytest.raises(EquiviewError, match="procedural-1 twice"):
        check_names(["procedural:1", "procedural:01"], "objects")
    assert source_name("procedural:007") == source_name("procedural:7") == "procedural-7"
