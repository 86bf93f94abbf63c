"""glTF extensions: each is read, or said; emission, instances, hidden nodes, compression, references."""

import base64
import json
import struct
import sys
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from equiview.errors import EquiviewError
from equiview.render import load_mesh
from equiview.render.gltf_buffers import _data_bytes
from equiview.render.gltf_extensions import DRACO
from render.makers import QUAD, QUAD_FACES, QUAD_UV, QUARTERS, GltfMaker, rgba


def made(maker, path):
    return load_mesh(maker.glb(path), up="z")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.glb"


def textured(maker, **material):
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": maker.texture(QUARTERS)}}, **material}


@pytest.mark.parametrize("required", [False, True])
def test_instances_are_drawn(path, required):
    maker = GltfMaker()
    half = np.sqrt(0.5)
    attributes = {
        "TRANSLATION": maker.accessor(np.array([[0, 0, 0], [2, 0, 0], [4, 0, 1]], np.float32)),
        "ROTATION": maker.accessor(np.array([[0, 0, 0, 1], [0, 0, half, half], [0, 0, 0, 1]], np.float32)),
        "SCALE": maker.accessor(np.array([[1, 1, 1], [1, 1, 1], [3, 3, 3]], np.float32)),
    }
    extension = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    maker.node(mesh=maker.quad_mesh(textured(maker)), translation=[0, 10, 0], extensions=extension)
    maker.json["extensionsUsed"] = ["EXT_mesh_gpu_instancing"]
    if required:
        maker.json["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    mesh = made(maker, path)
    turned = QUAD @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).T
    expected = np.concatenate([QUAD, turned + [2, 0, 0], 3 * QUAD + [4, 0, 1]]) + [0, 10, 0]
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)
    assert len(mesh.faces) == 6 and not mesh.notes


def test_too_many_instances_are_refused(path, monkeypatch):
    maker = GltfMaker()
    shift = maker.accessor(np.zeros((5, 3), np.float32))
    extension = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": shift}}}
    maker.node(mesh=maker.quad_mesh(textured(maker)), extensions=extension)
    for name, limit in (("gltf_nodes.MAX_INSTANCES", 4), ("gltf.MAX_TRIANGLES", 9)):
        with monkeypatch.context() as patch:
            patch.setattr(f"equiview.render.{name}", limit)
            with pytest.raises(EquiviewError, match=f"at most {limit} .*found 5"):
                made(maker, path)


def test_hidden_nodes_and_what_hangs_on_them_are_not_drawn(path):
    maker = GltfMaker()
    square = maker.quad_mesh(textured(maker))
    child = maker.node(mesh=square, translation=[5, 0, 0])
    hidden = {"KHR_node_visibility": {"visible": False}}
    maker.node(mesh=square, translation=[3, 0, 0], children=[child], extensions=hidden)
    maker.node(mesh=square, extensions={"KHR_node_visibility": {"visible": True}})
    mesh = made(maker, path)
    np.testing.assert_allclose(mesh.vertices, QUAD, atol=1e-6)
    assert not mesh.notes


def emitting(maker, base, **more):
    return {
        "name": "lamp",
        "pbrMetallicRoughness": {"baseColorFactor": base},
        "emissiveFactor": [1, 1, 1],
        "emissiveTexture": {"index": maker.texture(QUARTERS), "texCoord": 1},
        **more,
    }


def test_emission_on_black_is_seen(path):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(emitting(maker, [0, 0, 0, 1]), None, TEXCOORD_1=maker.accessor(QUAD_UV)))
    mesh = made(maker, path)
    np.testing.assert_array_equal(mesh.materials[0].texture, rgba(QUARTERS))
    assert mesh.materials[0].color == (1, 1, 1, 1)
    np.testing.assert_allclose(mesh.uv, QUAD_UV)
    (note,) = mesh.notes
    assert "lamp" in note and "emits" in note


def test_emission_strength_and_plain_emission(path):
    maker = GltfMaker()
    strength = {"KHR_materials_emissive_strength": {"emissiveStrength": 0.5}}
    base = {"baseColorFactor": [0, 0, 0, 1]}
    plain = {"pbrMetallicRoughness": base, "emissiveFactor": [1, 0, 0.4280822], "extensions": strength}
    maker.node(mesh=maker.quad_mesh(plain))
    np.testing.assert_allclose(made(maker, path).materials[0].color, (0.735357, 0, 0.5, 1), atol=1e-5)


def test_emission_beside_a_base_color_is_said(path):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(emitting(maker, [0.5, 0.5, 0.5, 1]), TEXCOORD_1=maker.accessor(QUAD_UV)))
    assert any("'lamp': its emission is left out" in note for note in made(maker, path).notes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("KHR_materials_unlit", "drawn with light"),
        ("KHR_materials_transmission", "opaque"),
        ("KHR_materials_volume", "opaque"),
        ("KHR_materials_clearcoat", "shine"),
        ("KHR_materials_variants", "without a variant"),
        ("KHR_materials_of_tomorrow", "not known"),
        ("ACME_tessellation", "not known"),
    ],
)
def test_an_extension_that_is_not_drawn_is_said_once(path, name, words):
    maker = GltfMaker()
    for _ in range(2):
        maker.node(mesh=maker.quad_mesh(textured(maker, extensions={name: {}})))
    maker.json["extensionsUsed"] = [name]
    (note,) = made(maker, path).notes
    assert name in note and words in note


@pytest.mark.parametrize("name", ["KHR_materials_unlit", "KHR_texture_transform", "KHR_lights_punctual", "ACME_extra"])
def test_a_mere_declaration_changes_nothing(path, name):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(textured(maker)))
    maker.json["extensionsUsed"] = [name]
    assert not made(maker, path).notes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ACME_tessellation", "needs ACME_tessellation"),
        ("EXT_meshopt_compression", "compressed with EXT_meshopt_compression"),
        ("KHR_meshopt_compression", "compressed with KHR_meshopt_compression"),
    ],
)
def test_what_is_required_and_not_supported_is_named(path, name, message):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(textured(maker)))
    maker.json["extensionsRequired"] = [name]
    with pytest.raises(EquiviewError, match=message) as caught:
        made(maker, path)
    assert ("uncompressed" in str(caught.value)) == ("meshopt" in name)


def test_meshopt_without_a_fallback_is_named_though_not_required(path):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh(textured(maker)))
    view = maker.json["bufferViews"][1]
    view["extensions"] = {"EXT_meshopt_compression": {"buffer": 0, "byteLength": 1, "count": 4, "mode": "ATTRIBUTES"}}
    assert len(made(maker, path).faces) == 2  # The buffer itself is the fallback.
    for one in maker.json["bufferViews"]:
        one["buffer"] = 1  # A buffer that only states its size.
    content = maker._content
    maker._content = lambda buffer: content(buffer).replace(b'"buffers": [', b'"buffers": [{"byteLength": 9}, ')
    with pytest.raises(EquiviewError, match="compressed with EXT_meshopt_compression"):
        made(maker, path)


def draco_quad(maker, stored, data=None):
    draco = pytest.importorskip("DracoPy")
    data = data or draco.encode(
        QUAD.astype(np.float32),
        QUAD_FACES.astype(np.uint32),
        quantization_bits=20,
        tex_coord=QUAD_UV,
        preserve_order=True,
    )
    attributes = {"TEXCOORD_0": 0, "POSITION": 1}
    square = maker.quad_mesh(textured(maker))
    (primitive,) = maker.json["meshes"][square]["primitives"]
    primitive["extensions"] = {DRACO: {"bufferView": maker.view(data), "attributes": attributes}}
    if not stored:
        for number in (*primitive["attributes"].values(), primitive["indices"]):
            del maker.json["accessors"][number]["bufferView"]
    maker.node(mesh=square)
    maker.json["extensionsUsed"] = [DRACO]


def test_draco_is_unpacked(path):
    maker = GltfMaker()
    draco_quad(maker, stored=False)
    maker.json["extensionsRequired"] = [DRACO]
    mesh = made(maker, path)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], QUAD[QUAD_FACES], atol=1e-5)
    np.testing.assert_allclose(mesh.uv[mesh.faces], QUAD_UV[QUAD_FACES], atol=1e-5)
    assert not mesh.notes


@pytest.mark.parametrize("required", [False, True])
def test_draco_that_does_not_decode_is_named(path, required):
    maker = GltfMaker()
    draco_quad(maker, stored=False, data=b"nothing of Draco's")
    if required:
        maker.json["extensionsRequired"] = [DRACO]
    with pytest.raises(EquiviewError, match="compressed with KHR_draco_mesh_compression whose data does not decode"):
        made(maker, path)


def test_without_the_extra_the_plain_arrays_are_read_or_the_extra_named(path, monkeypatch):
    for stored in (True, False):
        maker = GltfMaker()
        draco_quad(maker, stored)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "DracoPy", None)
            if stored:
                assert len(made(maker, path).faces) == 2
                continue
            with pytest.raises(EquiviewError, match=r"compressed with KHR_draco_mesh_compression.*equiview\[mesh\]"):
                made(maker, path)


@pytest.mark.parametrize("factor", [[float("nan"), 0, 0, 1], [1, 1, float("inf"), 1], [1, 1, 1]])
def test_a_base_color_that_is_none_is_white_and_said(path, factor):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh({"name": "odd", "pbrMetallicRoughness": {"baseColorFactor": factor}}))
    mesh = made(maker, path)
    assert mesh.materials[0].color == (1, 1, 1, 1)
    assert any("'odd': its base colour" in note for note in mesh.notes)


@pytest.mark.parametrize(
    ("uri", "file"),
    [("textures%20of%20it/a.png", "textures of it/a.png"), ("textures\\a.png", "textures/a.png"), ("A.PNG", "a.png"),
     ("C:\\scan\\a.png", "a.png"), ("100%.png", "100%.png"), ("./a.png", "a.png")],
)  # fmt: skip
def test_pictures_are_found_as_other_systems_name_them(tmp_path, uri, file):
    maker = GltfMaker()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    Image.fromarray(QUARTERS).save(tmp_path / file)
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": maker.texture(QUARTERS, uri=uri)}}}
    maker.node(mesh=maker.quad_mesh(material))
    np.testing.assert_array_equal(load_mesh(maker.gltf(tmp_path / "m.gltf")).materials[0].texture, rgba(QUARTERS))


def test_links_to_a_store_elsewhere_are_followed(tmp_path):
    """As the cache of Hugging Face and DVC have them: the folder holds links, the content lies outside."""
    (tmp_path / "store").mkdir()
    (tmp_path / "model").mkdir()
    Image.fromarray(QUARTERS).save(tmp_path / "store" / "1a2b.png")
    maker = GltfMaker()
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": maker.texture(QUARTERS, uri="a.png")}}}
    maker.node(mesh=maker.quad_mesh(material))
    maker.gltf(tmp_path / "store" / "m.gltf")
    (tmp_path / "model" / "m data.bin").symlink_to(tmp_path / "store" / "m data.bin")
    (tmp_path / "model" / "m.gltf").symlink_to(tmp_path / "store" / "m.gltf")
    (tmp_path / "model" / "a.png").symlink_to(tmp_path / "store" / "1a2b.png")
    np.testing.assert_array_equal(load_mesh(tmp_path / "model" / "m.gltf").materials[0].texture, rgba(QUARTERS))


@pytest.mark.parametrize("extension", ["KHR_texture_basisu", "EXT_texture_avif"])
def test_a_texture_in_a_format_that_is_not_read_is_said(path, extension):
    maker = GltfMaker()
    material = textured(maker, name="bark")
    maker.json["textures"][0] = {"extensions": {extension: {"source": 0}}}
    maker.node(mesh=maker.quad_mesh(material))
    notes = made(maker, path).notes
    assert sum("'bark'" in note and extension in note for note in notes) == 1


BROKEN = {
    "deep": b"[" * 200_000,
    "long": b'{"asset": ' + b"9" * 5000 + b"}",
    "latin": b'{"asset": {"version": "2.0", "generator": "M\xfcnchen"}}',
    "list": b"[]",
    "odd": b'{"asset": [2]}',
}


@pytest.mark.parametrize("kind", ["gltf", "glb"])
@pytest.mark.parametrize(("name", "text"), BROKEN.items(), ids=BROKEN)
def test_broken_json_is_one_message(tmp_path, name, text, kind):
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") if kind == "glb" else b""
    (tmp_path / f"{name}.{kind}").write_bytes(head + text)
    expected = "glTF JSON" if name in ("deep", "long", "latin") else "an object"
    with pytest.raises(EquiviewError, match=rf"{name}\.{kind}( asset)?: expected {expected}") as caught:
        load_mesh(tmp_path / f"{name}.{kind}")
    assert len(str(caught.value)) < 300


def test_a_byte_order_mark_is_passed_over(path):
    maker = GltfMaker()
    maker.node(mesh=maker.quad_mesh())
    data = maker.glb(path).read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    text = b"\xef\xbb\xbf" + data[20 : 20 + size]
    head = struct.pack("<4sIII4s", b"glTF", 2, len(data) + 3, size + 3, b"JSON")
    path.write_bytes(head + text + data[20 + size :])
    assert len(load_mesh(path).faces) == 2


@pytest.mark.parametrize("form", ["charset", "no padding", "for addresses", "percent", "upper case", "line breaks"])
def test_every_form_of_a_data_uri_is_read(form):
    content = bytes(range(256)) + b"\xff\xfe"
    plain = base64.b64encode(content).decode()
    uri = {
        "charset": f"data:application/octet-stream;charset=utf-8;base64,{plain}",
        "no padding": f"data:;base64,{plain.rstrip('=')}",
        "for addresses": f"data:;base64,{base64.urlsafe_b64encode(content).decode()}",
        "percent": f"data:application/octet-stream,{quote(content)}",
        "upper case": f"data:application/octet-stream;BASE64,{plain}",
        "line breaks": f"data:;base64,{plain[:20]}\n {plain[20:]}",
    }[form]
    assert _data_bytes(uri) == content


@pytest.mark.parametrize("changed", [{"scene": -1}, {"nodes": [{"children": [0, -1]}]}, {"meshes": [{"indices": -1}]}])
def test_a_place_before_the_first_is_none(tmp_path, changed):
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps({"asset": {"version": "2.0"}, "extras": {"scene": -1}, **changed}))
    with pytest.raises(EquiviewError, match="expected a number of at least 0, found -1"):
        load_mesh(path)
