"""Readers: every format round trips, every bad file has one clear message."""

import dataclasses
import logging

import numpy as np
import pytest
from PIL import Image

from equiview.errors import EquiviewError
from equiview.render import load_mesh, normalize
from equiview.render.gltf_buffers import open_gltf
from equiview.render.mesh import Material, Part, linear_from_srgb, srgb_from_linear
from render.makers import QUAD, QUAD_FACES, QUAD_UV, QUARTERS, WHITE, GltfMaker, box, mesh_of, quad, rgba

OBJ = """mtllib m.mtl
v -0.5 -0.5 0\nv 0.5 -0.5 0\nv 0.5 0.5 0\nv -0.5 0.5 0
vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1
usemtl one\nf 1/1 2/2 3/3\nusemtl two\nf 1/1 3/3 4/4
"""


def write_obj(folder, mtl="newmtl one\nKd 1 0.5 0\nnewmtl two\nmap_Kd t.png\n", text=OBJ):
    (folder / "m.mtl").write_text(mtl)
    Image.fromarray(QUARTERS).save(folder / "t.png")
    (folder / "m.obj").write_text(text)
    return folder / "m.obj"


def textured(maker: GltfMaker, uri: str | None = None, **info) -> dict:
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": maker.texture(QUARTERS, uri=uri), **info}}}


def test_obj_with_two_materials(tmp_path):
    mesh = load_mesh(write_obj(tmp_path))
    assert mesh.name == "m" and len(mesh.faces) == 2
    colors = {m.name: (m.color[:3], m.texture is not None) for m in mesh.materials}
    assert colors["two"] == ((1.0, 1.0, 1.0), True)
    np.testing.assert_allclose(colors["one"][0], (1, 0.5, 0), atol=2 / 255)
    assert all(m.double_sided for m in mesh.materials)
    # v is turned over: the corner at (-0.5, 0.5) is the picture's top left.
    corner = np.flatnonzero((mesh.vertices == [-0.5, 0.5, 0]).all(1))
    np.testing.assert_allclose(mesh.uv[corner], [[0, 0]] * len(corner))


def test_obj_keeps_uv_seams(tmp_path):
    """Two triangles share corners but not their texture coordinates."""
    text = OBJ.replace("f 1/1 3/3 4/4", "f 1/3 3/1 4/2").replace("usemtl two\n", "")
    mesh = load_mesh(write_obj(tmp_path, text=text.replace("usemtl one", "usemtl two")))
    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    uv = mesh.uv[mesh.faces].reshape(-1, 2)
    assert sorted(map(tuple, uv[(corners == QUAD[0]).all(1)])) == [(0.0, 1.0), (1.0, 0.0)]


def test_obj_in_another_encoding(tmp_path):
    path = write_obj(tmp_path)
    path.write_bytes("# K\u00f6rper, gr\u00fcn\n".encode("latin-1") + path.read_bytes())
    mtl = tmp_path / "m.mtl"
    mtl.write_bytes("# \u00e9toile\n".encode("latin-1") + mtl.read_bytes())
    assert {m.name for m in load_mesh(path).materials} == {"one", "two"}


def test_obj_with_a_missing_texture_has_a_note(tmp_path, caplog):
    path = write_obj(tmp_path, mtl="newmtl one\nKd 1 0 0\nnewmtl two\nmap_Kd gone.png\n")
    with caplog.at_level(logging.WARNING):
        mesh = load_mesh(path)
    assert any("gone.png" in note for note in mesh.notes)
    assert "gone.png" in caplog.text


def test_ply_with_vertex_colors(tmp_path):
    header = (
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = [f"{x} {y} {z} {r} 0 255" for (x, y, z), r in zip(QUAD, (0, 51, 102, 255), strict=True)]
    (tmp_path / "c.ply").write_text(header + "\n".join(rows) + "\n3 0 1 2\n3 0 2 3\n")
    mesh = load_mesh(tmp_path / "c.ply")
    np.testing.assert_allclose(mesh.vertex_colors[:, 0] * 255, (0, 51, 102, 255), atol=1e-6)
    np.testing.assert_allclose(mesh.vertex_colors[:, 2], 1)
    np.testing.assert_allclose(mesh.vertices, QUAD)
    assert not mesh.notes


@pytest.mark.parametrize("kind", ["glb", "gltf", "embedded"])
def test_gltf_containers_agree(tmp_path, kind):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(textured(maker)), translation=[1, 2, 3])
    path = tmp_path / ("a.glb" if kind == "glb" else "a.gltf")
    _ = maker.glb(path) if kind == "glb" else maker.gltf(path, embedded=kind == "embedded")
    mesh = load_mesh(path, up="z")
    np.testing.assert_allclose(mesh.vertices, QUAD + [1, 2, 3])
    np.testing.assert_array_equal(mesh.faces, QUAD_FACES)
    np.testing.assert_array_equal(mesh.materials[0].texture, rgba(QUARTERS))


def test_gltf_picture_in_its_own_file(tmp_path):
    maker = GltfMaker()
    Image.fromarray(QUARTERS).save(tmp_path / "the picture.png")
    maker.node(mesh=maker.quad_mesh(textured(maker, uri="the%20picture.png")))
    np.testing.assert_array_equal(load_mesh(maker.gltf(tmp_path / "a.gltf")).materials[0].texture, rgba(QUARTERS))


def test_node_transforms_compose_and_a_mirror_turns_the_winding(tmp_path):
    maker = GltfMaker()
    square = maker.quad_mesh({})
    turn = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]  # 90 degrees about z
    child = maker.node(mesh=square, translation=[1, 0, 0])
    maker.node(rotation=turn, scale=[2, 2, 2], children=[child])
    maker.node(mesh=square, matrix=np.diag([-1.0, 1, 1, 1]).T.ravel().tolist())
    mesh = load_mesh(maker.glb(tmp_path / "a.glb"), up="z")
    # Breadth first: the mirrored root comes before the child of the other.
    np.testing.assert_allclose(mesh.vertices[:4], QUAD * [-1, 1, 1], atol=1e-6)
    expected = (QUAD + [1, 0, 0]) @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).T * 2
    np.testing.assert_allclose(mesh.vertices[4:], expected, atol=1e-6)
    np.testing.assert_allclose(mesh.face_normals, [[0, 0, 1]] * 4, atol=1e-6)


def test_texture_transform_and_second_uv_set(tmp_path):
    maker = GltfMaker()
    transform = {"offset": [0.25, 0.5], "rotation": np.pi / 2, "scale": [2, 3], "texCoord": 1}
    material = textured(maker, extensions={"KHR_texture_transform": transform})
    square = maker.quad_mesh(material, uv=np.zeros((4, 2)), TEXCOORD_1=maker.accessor(QUAD_UV))
    maker.node(mesh=square)
    maker.json["extensionsRequired"] = ["KHR_texture_transform"]
    mesh = load_mesh(maker.glb(tmp_path / "a.glb"))
    # Scale first; then a quarter turn counter-clockwise as seen with v down: (u, v) -> (v, -u); then the offset.
    u, v = (QUAD_UV * [2, 3]).T
    np.testing.assert_allclose(mesh.uv, np.stack([v + 0.25, -u + 0.5], 1), atol=1e-6)


def test_material_settings_are_read(tmp_path):
    maker = GltfMaker()
    texture = maker.texture(QUARTERS, sampler={"wrapS": 33071, "wrapT": 33648})
    material = {
        "name": "leaf",
        "doubleSided": True,
        "alphaMode": "MASK",
        "alphaCutoff": 0.3,
        "pbrMetallicRoughness": {"baseColorTexture": {"index": texture}, "baseColorFactor": [0.2140411, 1, 0, 0.7]},
    }
    maker.node(mesh=maker.quad_mesh(material))
    (made,) = load_mesh(maker.glb(tmp_path / "a.glb")).materials
    assert (made.double_sided, made.alpha_cutoff, made.wrap, made.name) == (True, 0.3, ("clamp", "mirror"), "leaf")
    np.testing.assert_allclose(made.color, (0.5, 1, 0, 0.7), atol=1e-5)  # linear 0.214 is sRGB 0.5


def test_skin_takes_the_joints_and_not_the_node(tmp_path):
    maker = GltfMaker()
    joint = maker.node(translation=[0, 0, 5])
    other = maker.node(translation=[4, 0, 0])
    inverse_bind = np.stack([np.eye(4), np.eye(4)])
    inverse_bind[0, 3, 2] = -1.0  # column-major: translation by -1 in z
    joints = np.tile(np.array([0, 1, 0, 0], np.uint8), (4, 1))
    weights = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]])
    square = maker.quad_mesh({}, JOINTS_0=maker.accessor(joints), WEIGHTS_0=maker.accessor(weights))
    maker.json["skins"] = [{"joints": [joint, other], "inverseBindMatrices": maker.accessor(inverse_bind)}]
    maker.node(mesh=square, skin=0, translation=[100, 100, 100])
    mesh = load_mesh(maker.glb(tmp_path / "a.glb"), up="z")
    np.testing.assert_allclose(mesh.vertices - QUAD, [[0, 0, 4], [4, 0, 0], [2, 0, 2], [0, 0, 4]], atol=1e-6)


def test_strips_fans_sparse_and_morph_targets(tmp_path):
    maker = GltfMaker()
    position = maker.accessor(QUAD[[0, 1, 3, 2]])
    where, moved = maker.view(np.array([1], np.uint16).tobytes()), maker.view(np.array([9, 9, 9], np.float32).tobytes())
    maker.json["accessors"].append(
        {
            "componentType": 5126, "count": 4, "type": "VEC3",
            "sparse": {"count": 1, "indices": {"bufferView": where, "componentType": 5123},
                       "values": {"bufferView": moved}},
        }
    )  # fmt: skip
    target = len(maker.json["accessors"]) - 1
    strip = {"attributes": {"POSITION": position}, "mode": 5, "targets": [{"POSITION": target}]}
    fan = {"attributes": {"POSITION": maker.accessor(QUAD)}, "mode": 6}
    maker.json["meshes"].append({"primitives": [strip, fan], "weights": [0.5]})
    maker.node(mesh=0)
    mesh = load_mesh(maker.glb(tmp_path / "a.glb"), up="z")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [2, 1, 3], [4, 5, 6], [4, 6, 7]])
    np.testing.assert_allclose(mesh.vertices[1], QUAD[1] + 4.5)


def test_texture_without_uv_has_a_note(tmp_path):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(textured(maker), uv=None))
    mesh = load_mesh(maker.glb(tmp_path / "a.glb"))
    assert mesh.materials[0].texture is None
    assert any("no UVs" in note for note in mesh.notes) and any("no texture" in note for note in mesh.notes)


def test_normalize_makes_the_longest_side_1():
    mesh = mesh_of(Part(QUAD * [4, 2, 1] + [10, 0, 0], QUAD_FACES, Material()))
    made = normalize(mesh)
    np.testing.assert_allclose([made.vertices.min(0), made.vertices.max(0)], [[-0.5, -0.25, 0], [0.5, 0.25, 0]])


def test_hash_sees_every_change():
    mesh = mesh_of(quad(material=Material(texture=rgba(QUARTERS))))
    other_texture = Material(texture=rgba(QUARTERS[::-1]))
    hashes = {
        mesh.sha256,
        mesh_of(quad(material=other_texture)).sha256,
        mesh_of(quad(z=1e-9, material=mesh.materials[0])).sha256,
        dataclasses.replace(mesh, uv=mesh.uv + 0.1).sha256,
        mesh_of(quad(material=dataclasses.replace(mesh.materials[0], alpha_cutoff=0.5))).sha256,
    }
    assert len(hashes) == 5
    assert mesh_of(quad(material=Material(texture=rgba(QUARTERS), name="other"))).sha256 == mesh.sha256


def test_missing_file(tmp_path):
    with pytest.raises(EquiviewError, match=r"none\.glb: expected a mesh file, found nothing there"):
        load_mesh(tmp_path / "none.glb")


def test_unknown_suffix(tmp_path):
    with pytest.raises(EquiviewError, match=r"suffix '\.fbx'"):
        load_mesh(tmp_path / "a.fbx")


def glb_of(tmp_path, **kwargs):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(textured(maker), **kwargs))
    return maker, tmp_path / "a.glb"


@pytest.mark.parametrize("keep", [0, 10, 19, 200, -50])
def test_truncated_glb(tmp_path, keep):
    maker, path = glb_of(tmp_path)
    maker.glb(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EquiviewError, match=r"a\.glb: expected"):
        load_mesh(path)


@pytest.mark.parametrize("where", range(0, 1500, 97))
def test_garbled_glb_never_leaks_another_exception(tmp_path, where):
    maker, path = glb_of(tmp_path)
    data = bytearray(maker.glb(path).read_bytes())
    data[where : where + 8] = b'\xff{\x00]\xfe,9"'
    path.write_bytes(bytes(data))
    try:
        load_mesh(path)
    except EquiviewError as error:
        assert "a.glb" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".obj", "v 1 2\nf 1 2 3\n"),
        (".ply", "ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nend_header\n"),
        (".ply", ""),
        (".gltf", '{"asset": {"version": "2.0"'),
        (".gltf", '{"asset": {"version": "1.0"}}'),
        (".gltf", '{"asset": {"version": "2.0"}, "nodes": [{"mesh": 3}]}'),
        (".gltf", "[]"),
    ],
)
def test_corrupt_text_files(tmp_path, suffix, text):
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    with pytest.raises(EquiviewError, match=r"bad\.\w+: expected"):
        load_mesh(path)


def test_missing_buffer_and_a_path_out_of_the_folder(tmp_path):
    maker, path = glb_of(tmp_path)
    maker.gltf(tmp_path / "a.gltf")
    (tmp_path / "a data.bin").unlink()
    with pytest.raises(EquiviewError, match="a data.bin|a%20data.bin"):
        load_mesh(tmp_path / "a.gltf")
    text = (tmp_path / "a.gltf").read_text()
    (tmp_path / "a.gltf").write_text(text.replace("a%20data.bin", "../../secret"))
    with pytest.raises(EquiviewError, match="outside its folder"):
        load_mesh(tmp_path / "a.gltf")


def test_compressed_geometry_names_the_extension(tmp_path):
    maker, path = glb_of(tmp_path)
    entry = {"bufferView": maker.view(b"not Draco's"), "attributes": {"POSITION": 0}}
    (primitive,) = maker.json["meshes"][0]["primitives"]
    primitive["extensions"] = {"KHR_draco_mesh_compression": entry}
    maker.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    with pytest.raises(EquiviewError, match="KHR_draco_mesh_compression"):
        load_mesh(maker.glb(path))


def test_empty_geometry(tmp_path):
    (tmp_path / "e.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(EquiviewError, match=r"e\.obj: expected"):
        load_mesh(tmp_path / "e.obj")
    maker = GltfMaker()
    maker.node(translation=[1, 0, 0])
    with pytest.raises(EquiviewError, match="mesh with triangles, found none"):
        load_mesh(maker.glb(tmp_path / "e.glb"))


def test_degenerate_geometry():
    flat = QUAD * [1, 0, 0]
    with pytest.raises(EquiviewError, match="2 degenerate triangles"):
        mesh_of(Part(flat, QUAD_FACES, Material()))
    both = np.concatenate([QUAD_FACES, [[0, 0, 1]]])
    mesh = mesh_of(Part(QUAD, both, Material()))
    assert len(mesh.faces) == 2 and any("1 of 3 triangles have no area" in note for note in mesh.notes)


def test_nan_vertices_and_bad_indices():
    broken = QUAD.copy()
    broken[2, 1] = np.nan
    with pytest.raises(EquiviewError, match="1 vertices with NaN"):
        mesh_of(Part(broken, QUAD_FACES, Material()))
    with pytest.raises(EquiviewError, match="index 7"):
        mesh_of(Part(QUAD, QUAD_FACES + 4, Material(color=WHITE)))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "faces", "materials"),
    [
        ("classic/Duck.glb", 4212, 1),
        ("classic/Fox.glb", 576, 1),
        ("classic/FlightHelmet/FlightHelmet.gltf", 94722, 6),
        ("classic/spot/spot.obj", 5856, 1),
        ("classic/bob/bob_tri.obj", 10688, 1),
        ("classic/cow_mesh/cow.obj", 5856, 1),
        ("classic/fuze/fuze.obj", 1000, 1),
    ],
)
def test_classic_objects(shared, file, faces, materials):
    mesh = load_mesh(shared / "data" / "objects" / file)
    assert len(mesh.faces) == faces and len(mesh.materials) == materials
    assert all(m.texture is not None for m in mesh.materials)
    assert mesh.uv.min() > -0.1 and mesh.uv.max() < 1.1


@pytest.mark.shared
def test_fox_in_its_rest_pose(shared):
    """Its joints rest where the skin was bound, so the box is the one that the file states for the bare positions."""
    path = shared / "data" / "objects" / "classic" / "Fox.glb"
    mesh = load_mesh(path, up="z")
    content = open_gltf(path).json
    stated = content["accessors"][content["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    np.testing.assert_allclose(mesh.vertices.min(0), stated["min"], atol=1e-3)
    np.testing.assert_allclose(mesh.vertices.max(0), stated["max"], atol=1e-3)


@pytest.mark.shared
def test_every_scanned_object_loads(shared):
    files = sorted((shared / "data" / "objects" / "scanned").glob("*.glb"))
    assert len(files) == 24
    for file in files:
        mesh = load_mesh(file)
        assert mesh.materials[0].texture.shape == (1024, 1024, 4)
        assert 9_000 < len(mesh.faces) <= 20_000


def test_box_maker_faces_outside():
    mesh = mesh_of(box())
    centers = mesh.vertices[mesh.faces].mean(1)
    assert ((mesh.face_normals * centers).sum(1) > 0.4).all()


def test_srgb_and_linear_light_are_inverses():
    encoded = np.linspace(0, 1, 101)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(encoded)), encoded, atol=1e-6)
    assert linear_from_srgb(np.array([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)
