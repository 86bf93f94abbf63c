"""Which way is up: turned once, at loading, exactly."""

import json

import numpy as np
import pytest

from equiview.data.meshes import axis_up, open_mesh, open_object
from equiview.data.names import source_name
from equiview.data.open import check_source
from equiview.errors import EquiviewError
from equiview.jobs.run_folder import check_names
from equiview.render import RenderConfig, load_mesh, paper42, render_views, ring
from render.makers import GltfMaker

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
SMALL = RenderConfig(hw=(64, 64), supersample=1)


def tower(maker: GltfMaker) -> int:
    """A box of 1 x 3 x 1 that stands on its blue end where +y is up; its other end is red."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-1.5, 0, 1.5) for z in (-0.5, 0.5)])
    quads = []
    for low in (0, 2):  # Each storey has four walls of its own.
        a, b, c, d = low, low + 1, low + 7, low + 6
        quads += [[p, q, q + 2, p + 2] for p, q in ((a, b), (b, c), (c, d), (d, a))]
    position = corners[np.array([[q[0], q[i], q[i + 1]] for q in quads for i in (1, 2)]).ravel()]
    paint = np.repeat([BLUE, RED], len(position) // 2, 0)
    primitive = {"attributes": {"POSITION": maker.accessor(position), "COLOR_0": maker.accessor(paint)}, "material": 0}
    maker.json["materials"].append({"doubleSided": True})
    maker.json["meshes"].append({"primitives": [primitive]})
    return len(maker.json["meshes"]) - 1


def write_obj(path, vertices):
    text = "".join(f"v {x} {y} {z}\n" for x, y, z in vertices)
    path.write_text(text + "f 1 2 3\nf 1 3 4\n")
    return path


@pytest.fixture
def glb(tmp_path):
    maker = GltfMaker()
    maker.node(mesh=tower(maker))
    return maker.glb(tmp_path / "tower.glb")


def rows_of(view):
    """Return the mean rows of red and blue pixels, and height over width of the object."""
    r = view.rgb.astype(int)
    red, blue = view.mask & (r[..., 0] > r[..., 2] + 30), view.mask & (r[..., 2] > r[..., 0] + 30)
    ys, xs = np.nonzero(view.mask)
    return np.nonzero(red)[0].mean(), np.nonzero(blue)[0].mean(), np.ptp(ys) / np.ptp(xs)


@pytest.mark.parametrize("cameras", [ring(4, hw=(64, 64)), paper42((64, 64))[11:21]], ids=["ring", "equator"])
def test_a_gltf_tower_stands(glb, cameras):
    for view in render_views(open_mesh(glb), cameras, SMALL):
        red, blue, ratio = rows_of(view)
        assert red < blue - 10 and ratio > 1.5


def test_the_turn_is_exact_for_positions_and_normals(tmp_path):
    maker = GltfMaker()
    normals = maker.accessor(np.tile([0.0, 1.0, 0.0], (4, 1)))
    maker.node(mesh=maker.quad_mesh({}, NORMAL=normals), translation=[1 / 3, 0.1, 7.7])
    stored, turned = (load_mesh(maker.glb(tmp_path / "a.glb"), up=up) for up in ("z", "y"))
    x, y, z = stored.vertices.T
    np.testing.assert_array_equal(turned.vertices, np.stack([x, -z, y], 1))
    np.testing.assert_array_equal(turned.normals, np.tile([0.0, 0.0, 1.0], (4, 1)))
    np.testing.assert_array_equal(load_mesh(tmp_path / "a.glb").vertices, turned.vertices)
    np.testing.assert_array_equal(turned.face_normals[:, 1], [-1.0, -1.0])  # +z of the file


def test_a_root_matrix_that_made_z_up_geometry_y_up_is_undone(tmp_path):
    """What a converter of z-up scans writes: the views are those of the bare geometry."""
    maker, bare = GltfMaker(), GltfMaker()
    root = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    maker.node(mesh=tower(maker), matrix=root.T.ravel().tolist())
    bare.node(mesh=tower(bare))
    with_root, without = load_mesh(maker.glb(tmp_path / "a.glb")), load_mesh(bare.glb(tmp_path / "b.glb"), up="z")
    np.testing.assert_array_equal(with_root.vertices, without.vertices)


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_obj_and_ply_are_z_up_unless_told(tmp_path, suffix):
    flat = [(0, 0, 0), (1, 0, 0), (1, 2, 0), (0, 2, 0)]
    path = write_obj(tmp_path / "flat.obj", flat)
    if suffix == "ply":
        head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        rows = "".join(f"{x} {y} {z}\n" for x, y, z in flat)
        path = tmp_path / "flat.ply"
        path.write_text(
            head + "element face 1\nproperty list uchar int vertex_indices\nend_header\n" + rows + "4 0 1 2 3\n"
        )
    np.testing.assert_array_equal(np.ptp(load_mesh(path).vertices, axis=0), [1, 2, 0])
    np.testing.assert_array_equal(np.ptp(open_mesh(path).vertices, axis=0), [0.5, 1, 0])
    np.testing.assert_array_equal(np.ptp(open_mesh(f"{path}@up=y").vertices, axis=0), [0.5, 0, 1])
    np.testing.assert_array_equal(open_mesh(f"{path}@up=z").vertices, open_mesh(path).vertices)


def test_the_choice_changes_the_cache_and_not_the_name(glb, tmp_path):
    cache = tmp_path / "cache"
    stored = {up: open_object(f"{glb}{up}", n_views=1, config=SMALL, cache_dir=cache) for up in ("", "@up=y", "@up=z")}
    assert {views.name for views in stored.values()} == {"tower"} and len(list(cache.iterdir())) == 2
    np.testing.assert_array_equal(stored[""][0].rgb, stored["@up=y"][0].rgb)
    assert source_name(f"{glb}@up=z") == "tower"
    with pytest.raises(EquiviewError, match="tower twice"):
        check_names([str(glb), f"{glb}@up=z"], "objects")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}@up=x", "expected @up=y or @up=z, found 'x'"),
        ("{}@up=", "expected @up=y or @up=z, found ''"),
        ("{}@up=y@up=z", "a mesh file before @up"),
        ("builtin:mug@up=y", "found 'mug@up=y'"),
        ("some/folder@up=y", "mesh file before @up"),
    ],
)
def test_other_axes_are_refused(glb, source, message):
    with pytest.raises(EquiviewError, match=message):
        check_source(source.format(glb))


def test_a_file_whose_name_holds_the_words(tmp_path):
    path = write_obj(tmp_path / "a@up=y", [(0, 0, 0), (1, 0, 0), (1, 2, 0), (0, 2, 0)])
    assert axis_up(path) == "z"


def test_records_say_which_axis(glb, tmp_path, run):
    words = ("render", glb, "--views", 1, "--size", 32, "--quiet", "--json")
    for more, expected in (((), "y"), (("--up", "z"), "z")):
        code, out, _ = run(*words, *more, "--out", tmp_path / f"views{expected}")
        assert code == 0 and json.loads(out)["up"] == expected
    code, _, err = run(*words, "--up", "x", "--out", tmp_path / "views")
    assert code == 2 and "--up" in err
    code, _, err = run(*words, "--up", "z", "--out", tmp_path / "viewsy")
    assert code == 2 and "viewsy" in err  # Another mesh now: its folder is not taken over.
