"""OBJ with its material files, and PLY: the looks that are there are drawn, and what is lost is said."""

import numpy as np
import pytest
from PIL import Image

from equiview.errors import EquiviewError
from equiview.render import RenderConfig, load_mesh, normalize, render_view, ring
from equiview.render.references import find_file

FIRST = (230, 30, 30)
PICTURE = np.array([[FIRST, (30, 200, 30)], [(30, 30, 230), (240, 240, 240)]], np.uint8).repeat(4, 0).repeat(4, 1)
CORNERS = np.array([[x, y, z] for z in (-0.5, 0.5) for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
QUADS = [[4, 5, 6, 7], [1, 0, 3, 2], [0, 4, 7, 3], [5, 1, 2, 6], [7, 6, 2, 3], [0, 1, 5, 4]]
PAINT = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]], float)
NO_TEXTURE = "There is no texture"


def cube_obj(folder, *head, name="cube.obj", uv=True, colors=False, use="usemtl M"):
    lines = [*head]
    for corner, color in zip(CORNERS, PAINT, strict=True):
        lines.append("v " + " ".join(f"{x:g}" for x in (*corner, *(color if colors else ()))))
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"] if uv else []
    lines.append(use)
    for quad in QUADS:
        lines.append("f " + " ".join(f"{v + 1}/{i + 1}" if uv else f"{v + 1}" for i, v in enumerate(quad)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def with_material(folder, text, picture="tex.png", head="mtllib m.mtl", **kwargs):
    path = cube_obj(folder, head, **kwargs)
    (folder / "m.mtl").write_text(f"newmtl M\nKd 1 1 1\n{text}\n")
    if picture:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PICTURE).save(folder / picture)
    return path


def is_textured(mesh):
    texture = mesh.materials[0].texture
    return texture is not None and tuple(texture[0, 0, :3]) == FIRST and texture.shape == (8, 8, 4)


@pytest.mark.parametrize(
    ("reference", "picture"),
    [
        ("tex.png", "tex.png"),
        ("./tex.png", "tex.png"),
        (".\\tex.png", "tex.png"),
        ("textures\\tex.png", "textures/tex.png"),
        ("textures//deep/tex.png", "textures/deep/tex.png"),
        ("../images/tex.png", "../images/tex.png"),
        ("..\\images\\tex.png", "../images/tex.png"),
        ('"my tex.png"', "my tex.png"),
        ("my tex.png", "my tex.png"),
        ("TEX.PNG", "tex.png"),
        ("Textures/Tex.png", "textures/tex.png"),
        ("/scans/someone/tex.png", "tex.png"),
        ("C:\\Users\\someone\\scan\\tex.png", "tex.png"),
        ("C:/scan/textures/tex.png", "textures/tex.png"),
        ("file:///scan/tex.png", "tex.png"),
        ("textures/tex.png", "tex.png"),
        ("-tex.png", "-tex.png"),
        ("a#1.png", "a#1.png"),
        ("tex.png # baked", "tex.png"),
    ],
)
def test_a_texture_is_found_as_other_programs_name_it(tmp_path, reference, picture):
    mesh = load_mesh(with_material(tmp_path / "model", f"map_Kd {reference}", picture))
    assert is_textured(mesh) and not mesh.notes


def test_the_nearest_spelling_wins(tmp_path):
    for name in ("Tex.png", "tex.png", "textures/tex.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_file("tex.png", tmp_path) == tmp_path / "tex.png"
    assert find_file("Tex.png", tmp_path) == tmp_path / "Tex.png"
    assert find_file("textures\\tex.png", tmp_path) == tmp_path / "textures" / "tex.png"
    for nothing in ("", "  ", "textures", "gone.png", "a\0b", "x" * 5000, ".", ".."):
        assert find_file(nothing, tmp_path) is None


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ("-s 1 1 1", None),
        ("-o 0 0", None),
        ("-clamp off", None),
        ("-blendu on -mm 0 1", "-mm 0 1"),
        ("-bm 0.5", "-bm 0.5"),
        ("-colorspace sRGB", "-colorspace sRGB"),
        ("-someday on 3", "-someday on 3"),
    ],
)
def test_options_before_the_name_are_read_or_said(tmp_path, options, note):
    mesh = load_mesh(with_material(tmp_path, f"map_Kd {options} tex.png"))
    assert is_textured(mesh)
    assert any(note in said for said in mesh.notes) if note else not mesh.notes


def test_scale_shift_and_clamp_move_the_texture(tmp_path):
    plain = load_mesh(with_material(tmp_path / "a", "map_Kd tex.png"))
    moved = load_mesh(with_material(tmp_path / "b", "map_Kd -o 0.25 0.5 0 -s 2 3 1 -clamp on tex.png"))
    u, v = plain.uv[..., 0], 1 - plain.uv[..., 1]  # v of the file grows upwards
    np.testing.assert_allclose(moved.uv, np.stack([2 * u + 0.25, 1 - (3 * v + 0.5)], 1))
    assert moved.materials[0].wrap == ("clamp", "clamp") and plain.materials[0].wrap == ("repeat", "repeat")


def test_several_libraries_and_a_missing_one(tmp_path):
    for words in ("other.mtl m.mtl", "m.mtl other.mtl", '"other.mtl" m.mtl'):
        mesh = load_mesh(with_material(tmp_path, "map_Kd tex.png", head=f"mtllib {words}"))
        (note,) = mesh.notes
        assert is_textured(mesh) and "other.mtl" in note and "m.mtl was" not in note.replace("other.mtl was", "")


def test_a_library_with_spaces_a_byte_order_mark_and_other_line_ends(tmp_path):
    path = with_material(tmp_path, "map_Kd tex.png", head="mtllib my own m.mtl")
    text = (tmp_path / "m.mtl").read_text().replace("\n", "\r\n")
    (tmp_path / "my own m.mtl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "m.mtl").unlink()
    assert is_textured(load_mesh(path)) and not load_mesh(path).notes


def test_textures_lie_beside_the_library_or_beside_the_mesh(tmp_path):
    for picture in ("mats/tex.png", "tex.png"):
        path = with_material(tmp_path / picture[:3], "map_Kd tex.png", picture, head="mtllib mats/m.mtl")
        (path.parent / "mats").mkdir(exist_ok=True)
        (path.parent / "m.mtl").rename(path.parent / "mats" / "m.mtl")
        assert is_textured(load_mesh(path))


@pytest.mark.parametrize(
    ("text", "picture", "head", "named"),
    [
        ("map_Kd gone.png", None, "mtllib m.mtl", "gone.png"),
        ("map_Kd -s 2 2 2 gone.png", None, "mtllib m.mtl", "The texture gone.png"),
        ("map_Kd tex.png", "tex.png", "mtllib gone.mtl", "gone.mtl"),
        ("map_Kd tex.png\nd 0.4", "tex.png", "mtllib m.mtl", "see-through"),
        ("map_Kd tex.png\nmap_d tex.png", "tex.png", "mtllib m.mtl", "opacity map"),
        ("map_Ke tex.png", "tex.png", "mtllib m.mtl", "emission"),
        ("Kd red", None, "mtllib m.mtl", "Kd red"),
        ("Kd nan 0 0", None, "mtllib m.mtl", "Kd nan 0 0"),
        ("", None, "mtllib m.mtl\nusemtl N\nf 1 2 3", "'N'"),
    ],
)
def test_whatever_is_lost_of_an_obj_is_said_once(tmp_path, text, picture, head, named):
    head = head if "\nf" not in head else "\n".join([f"v {x} {y} 9" for x, y in ((0, 0), (1, 0), (0, 1))] + [head])
    mesh = load_mesh(with_material(tmp_path, text, picture, head=head))
    assert sum(named in note for note in mesh.notes) == 1
    assert any(NO_TEXTURE in note for note in mesh.notes) == (mesh.materials[-1].texture is None)


def test_a_texture_that_is_there_and_broken_is_an_error(tmp_path):
    path = with_material(tmp_path, "map_Kd tex.jpg", "tex.jpg")
    data = (tmp_path / "tex.jpg").read_bytes()
    (tmp_path / "tex.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(EquiviewError, match=r"tex\.jpg: expected"):
        load_mesh(path)


def corner_colors(mesh):
    """Return {position: colour}, which has one entry a corner of the cube when the corners agree."""
    pairs = {(*p, *c[:3]) for p, c in zip(mesh.vertices.tolist(), mesh.vertex_colors.tolist(), strict=True)}
    return {key[:3]: key[3:] for key in pairs}


CUBE_PAINT = {tuple(corner): tuple(color) for corner, color in zip(CORNERS.tolist(), PAINT.tolist(), strict=True)}


@pytest.mark.parametrize("case", ["bare", "uv", "material", "material and uv"])
def test_vertex_colors_of_an_obj(tmp_path, case):
    uv = "uv" in case
    if "material" in case:
        path = with_material(tmp_path, "Kd 0.5 0.5 0.5", None, uv=uv, colors=True)
    else:
        path = cube_obj(tmp_path, uv=uv, colors=True, use="s off")
    mesh = load_mesh(path)
    assert corner_colors(mesh) == CUBE_PAINT and mesh.materials[0].color == (1, 1, 1, 1) and not mesh.notes


def test_vertex_colors_to_255_and_some_without(tmp_path):
    path = cube_obj(tmp_path, uv=False, colors=True, use="s off")
    text = path.read_text().replace(" 1 0 0\n", " 255 0 0\n", 1).replace(" 0 1 0\n", "\n", 1)
    path.write_text(text)
    mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.vertex_colors[:2, :3], [[1, 0, 0], [1, 1, 1]])
    assert any("1 of 8 vertices have no colour" in note for note in mesh.notes)


def test_a_texture_goes_before_vertex_colors_and_says_so(tmp_path):
    mesh = load_mesh(with_material(tmp_path, "map_Kd tex.png", colors=True))
    assert is_textured(mesh) and mesh.vertex_colors is None
    assert any("colours of its vertices are left out" in note for note in mesh.notes)


@pytest.mark.parametrize(
    ("line", "message"),
    [("f 1 2 99", "number 99"), ("f 0 1 2", "count from 1"), ("f 1 2", "3 corners"), ("f 1 2 x", "does not parse"),
     ("f -99 1 2", "back from -1"), ("f 1/77 2/1 3/1", "number 77"), ("v 1 2", "does not parse"), ("v a b c", "parse")],
)  # fmt: skip
def test_a_broken_obj_is_one_message(tmp_path, line, message):
    path = cube_obj(tmp_path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EquiviewError, match=message):
        load_mesh(path)


def test_negative_numbers_continued_lines_and_polygons(tmp_path):
    corners = "".join(f"v {x} {y} 0\n" for x, y in ((0, 0), (2, 0), (3, 1), (1, 3), (-1, 1)))
    (tmp_path / "p.obj").write_text(corners + "f -5 -4 \\\n-3 -2 5  # all\n")
    mesh = load_mesh(tmp_path / "p.obj")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 3, 4]])


# PLY


def ply(path, kind, vertex, face, comments=(), faces="face", corner_kind="uchar"):
    """Write a PLY: properties of vertices and faces as (declaration, rows); a list is a row's list."""
    types = {"float": "f4", "uchar": "u1", "int": "i4", "double": "f8", "ushort": "u2", "char": "i1"}
    head = ["ply", f"format {kind} 1.0", *(f"comment {c}" for c in comments)]
    body = b""
    for name, columns in (("vertex", vertex), (faces, face)):
        head.append(f"element {name} {len(columns[0][1])}")
        head += [f"property {declaration}" for declaration, _ in columns]
        order = ">" if "big" in kind else "<"
        for row in zip(*(rows for _, rows in columns), strict=True):
            for (declaration, _), value in zip(columns, row, strict=True):
                words = declaration.split()
                values = list(value) if words[0] == "list" else [value]
                if kind == "ascii":
                    body += (
                        " ".join(map(str, [len(values), *values] if words[0] == "list" else values)) + " "
                    ).encode()
                    continue
                if words[0] == "list":
                    body += np.array([len(values)], order + types[words[1]]).tobytes()
                body += np.array(values, order + types[words[2] if words[0] == "list" else words[0]]).tobytes()
            body += b"\n" if kind == "ascii" else b""
    path.write_bytes("\n".join([*head, "end_header", ""]).encode() + body)
    return path


KINDS = ("ascii", "binary_little_endian", "binary_big_endian")
XYZ = [(f"float {name}", CORNERS[:, i]) for i, name in enumerate("xyz")]
MIXED = [*QUADS[:3], *([q[0], q[i], q[i + 1]] for q in QUADS[3:] for i in (1, 2))]
INDICES = "list uchar int vertex_indices"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("polygons", [MIXED, QUADS, MIXED[::-1], [[0, 1, 2, 3, 4], [0, 1], [5, 6, 7]]])
def test_polygons_of_any_number_of_corners(tmp_path, kind, polygons):
    mesh = load_mesh(ply(tmp_path / "a.ply", kind, XYZ, [(INDICES, polygons)]))
    np.testing.assert_array_equal(mesh.vertices, CORNERS)
    fans = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    np.testing.assert_array_equal(mesh.faces, fans)


@pytest.mark.parametrize("kind", KINDS)
def test_scalars_around_the_list_and_other_types(tmp_path, kind):
    vertex = [("double x", CORNERS[:, 0]), ("char flag", [-1] * 8), *XYZ[1:]]
    face = [("uchar red", range(9)), ("list int ushort vertex_index", MIXED), ("float quality", [0.5] * 9)]
    mesh = load_mesh(ply(tmp_path / "a.ply", kind, vertex, face))
    assert len(mesh.faces) == 12
    np.testing.assert_array_equal(mesh.vertices, CORNERS)


@pytest.mark.parametrize("kind", KINDS)
def test_colors_of_faces_split_the_vertices(tmp_path, kind):
    triangles = [[q[0], q[i], q[i + 1]] for q in QUADS for i in (1, 2)]
    paint = np.repeat(PAINT[:6], 2, 0)
    columns = [(f"uchar {name}", (paint[:, i] * 255).astype(int)) for i, name in enumerate(("red", "green", "blue"))]
    mesh = load_mesh(ply(tmp_path / "a.ply", kind, XYZ, [(INDICES, triangles), *columns]))
    np.testing.assert_array_equal(mesh.vertex_colors[mesh.faces][..., :3], np.repeat(paint[:, None], 3, 1))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], CORNERS[triangles])
    view = render_view(normalize(mesh), ring(1, 30.0, hw=(32, 32))[0], RenderConfig(hw=(32, 32), supersample=1))
    assert (np.ptp(view.rgb[view.mask].astype(int), axis=1) > 100).any()


@pytest.mark.parametrize(("kind", "top"), [("uchar", 255), ("ushort", 65535), ("float", 1.0), ("float", 255.0)])
def test_vertex_colors_of_every_type_beside_texture_coordinates(tmp_path, kind, top):
    paint = [(f"{kind} {name}", (PAINT[:, i] * top).tolist()) for i, name in enumerate(("red", "green", "blue"))]
    if kind != "float":
        paint = [(name, [int(v) for v in values]) for name, values in paint]
    uv = [(f"float {name}", CORNERS[:, i] + 0.5) for i, name in enumerate("st")]
    mesh = load_mesh(ply(tmp_path / "a.ply", "ascii", [*XYZ, *uv, *paint], [(INDICES, QUADS)]))
    np.testing.assert_allclose(mesh.vertex_colors[:, :3], PAINT)
    assert not mesh.notes


@pytest.mark.parametrize("kind", KINDS)
def test_several_textures_with_coordinates_of_the_faces(tmp_path, kind):
    uv = [0, 0, 1, 0, 1, 1, 0, 1]
    for name in ("one.png", "two.png"):
        Image.fromarray(PICTURE if name == "one.png" else PICTURE[::-1]).save(tmp_path / name)
    face = [(INDICES, QUADS), ("list uchar float texcoord", [uv] * 6), ("int texnumber", [0, 1, 1, 1, 0, 7])]
    comments = ("TextureFile one.png", "TextureFile sub\\two.png")
    mesh = load_mesh(ply(tmp_path / "a.ply", kind, XYZ, face, comments))
    assert {m.name: m.texture is not None for m in mesh.materials} == {
        "one.png": True,
        "sub\\two.png": True,
        "a": False,
    }
    assert np.bincount(mesh.face_material).tolist() == [4, 6, 2]
    (note,) = mesh.notes
    assert "1 of 6 faces have no texture" in note
    first = mesh.faces[mesh.face_material == 0][0]
    np.testing.assert_array_equal(mesh.uv[first], [[0, 1], [1, 1], [1, 0]])


def test_a_texture_that_is_not_there_is_said(tmp_path):
    uv = [(f"float {name}", CORNERS[:, i] + 0.5) for i, name in enumerate("st")]
    path = ply(tmp_path / "a.ply", "ascii", [*XYZ, *uv], [(INDICES, QUADS)], ["TextureFile my tex.png"])
    mesh = load_mesh(path)
    assert any("my tex.png was not found" in note for note in mesh.notes)
    assert any(NO_TEXTURE in note for note in mesh.notes) and mesh.materials[0].texture is None
    Image.fromarray(PICTURE).save(tmp_path / "my tex.png")
    assert is_textured(load_mesh(path)) and not load_mesh(path).notes
    (tmp_path / "my tex.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(EquiviewError, match=r"my tex\.png: expected"):
        load_mesh(path)


@pytest.mark.parametrize("kind", KINDS)
def test_triangle_strips(tmp_path, kind):
    rows = [[0, 1, 3, 2, -1, 4, 5, 7, 6]]
    path = ply(tmp_path / "a.ply", kind, XYZ, [("list int int vertex_indices", rows)], faces="tristrips")
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 3], [3, 1, 2], [4, 5, 7], [7, 5, 6]])


def ply_text(header, body=""):
    return f"ply\nformat ascii 1.0\n{header}end_header\n{body}"


POINTS = "element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
FACES = "element face 1\nproperty list uchar int vertex_indices\n"
THREE = "0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ply_text(POINTS.replace("float z", "float w") + FACES, THREE + "3 0 1 2\n"), "vertices with x, y and z"),
        (ply_text(FACES, "3 0 1 2\n"), "vertices with x, y and z"),
        (ply_text(POINTS, THREE), "a mesh with triangles"),
        (ply_text(POINTS + FACES, THREE + "3 0 1 9\n"), "corners from 0 to 2"),
        (ply_text(POINTS + FACES, THREE + "3 0 1 -1\n"), "corners from 0 to 2"),
        (ply_text(POINTS + FACES, THREE + "3 0 1\n"), "a complete PLY"),
        (ply_text(POINTS + FACES, THREE), "a complete PLY"),
        (ply_text(POINTS + FACES, THREE + "-3 0 1 2\n"), "a complete PLY"),
        (ply_text(POINTS + FACES, THREE.replace("1 0 0", "one 0 0") + "3 0 1 2\n"), "a complete PLY"),
        (ply_text(POINTS.replace("3", "999999999999") + FACES, THREE), "a complete PLY"),
        (ply_text(POINTS.replace("float x", "half x") + FACES, THREE), "a complete PLY"),
        (ply_text(POINTS + FACES, THREE + "3 0 1 2\n").replace("ascii", "binary_little_endian"), "a complete PLY"),
        (ply_text(POINTS + FACES, THREE).replace("format ascii 1.0", "format"), "a complete PLY"),
        (ply_text("property float x\n"), "a complete PLY"),
        ("plyformat", "a PLY header"),
    ],
)
def test_a_broken_ply_is_one_message(tmp_path, text, message):
    path = tmp_path / "bad.ply"
    path.write_text(text)
    with pytest.raises(EquiviewError, match=rf"bad\.ply: expected {message}"):
        load_mesh(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ply_that_ends_early(tmp_path, kind):
    whole = ply(tmp_path / "a.ply", kind, XYZ, [(INDICES, MIXED)]).read_bytes()
    for length in range(3, len(whole) - 2, 7):
        (tmp_path / "a.ply").write_bytes(whole[:length])
        with pytest.raises(EquiviewError, match=r"a\.ply: expected"):
            load_mesh(tmp_path / "a.ply")
