"""One object under two names is one object: copies, exports, other axes and units, rendered views, copied pictures."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from bad_inputs import ball_ply
from data.test_open import write_rgbd
from equiview.data import identity
from equiview.data.contents import check_apart, content_of, shown_before
from equiview.data.meshes import open_mesh, open_object
from equiview.errors import EquiviewError
from equiview.io import write_image
from equiview.render import RenderConfig, normalize, paper42, render_views
from equiview.render.look import look_of

MADE = ("builtin:mug", "procedural:1", "household:1")


def changed(mesh, change):
    rng = np.random.default_rng(0)
    if change == "turned and scaled":
        turn = Rotation.from_rotvec([1.0, 2.0, 0.5]).as_matrix()
        return replace(mesh, vertices=7 * mesh.vertices @ turn.T + 3, normals=mesh.normals @ turn.T)
    if change == "vertices and faces in another order":
        order = rng.permutation(len(mesh.vertices))
        place = np.argsort(order).astype(np.int32)
        faces = rng.permutation(len(mesh.faces))
        keep = {"uv": mesh.uv[order], "normals": mesh.normals[order], "face_material": mesh.face_material[faces]}
        colours = None if mesh.vertex_colors is None else mesh.vertex_colors[order]
        return replace(
            mesh, vertices=mesh.vertices[order], faces=place[mesh.faces[faces]], vertex_colors=colours, **keep
        )
    if change == "few digits":
        return replace(mesh, vertices=mesh.vertices.round(3))
    if change == "every face its own vertices":
        corners = mesh.faces.ravel()
        colours = None if mesh.vertex_colors is None else mesh.vertex_colors[corners]
        faces = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
        return replace(
            *(mesh,),
            vertices=mesh.vertices[corners],
            faces=faces,
            uv=mesh.uv[corners],
            normals=mesh.normals[corners],
            vertex_colors=colours,
        )
    raise AssertionError(change)


CHANGES = (
    "turned and scaled",
    "vertices and faces in another order",
    "few digits",
    "every face its own vertices",
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("source", MADE)
def test_an_export_is_the_same_object(source, change):
    mesh = open_mesh(source)
    again = normalize(changed(mesh, change))
    assert again.sha256 != mesh.sha256 and look_of(mesh).same_object(look_of(again))


def test_other_objects_and_other_paint_are_other_objects(small_paint):
    sources = ["builtin:mug", *(f"procedural:{i}" for i in range(6))]
    looks = [look_of(open_mesh(source)) for source in sources]
    for i, one in enumerate(looks):
        assert [one.same_object(other) for other in looks] == [j == i for j in range(len(looks))]
    mesh = open_mesh("procedural:1")
    materials = tuple(replace(one, color=(0.5, *one.color[1:])) for one in mesh.materials)
    assert not look_of(mesh).same_object(look_of(replace(mesh, materials=materials)))


def test_a_training_object_is_found_under_another_name(tmp_path):
    train = ball_ply(tmp_path / "ball.ply")
    other = ball_ply(tmp_path / "other.ply", seed=5)
    shutil.copy(train, tmp_path / "copy.ply")
    trimesh.load(train, process=False).export(tmp_path / "exported.ply")
    trimesh.load(train, process=False).export(tmp_path / "exported.glb")
    config = RenderConfig(hw=(32, 32))
    render_views(open_mesh(train), paper42((32, 32))[:2], config, tmp_path / "views")
    shutil.copytree(tmp_path / "views", tmp_path / "copied_views")
    render_views(open_mesh(other), paper42((32, 32))[:2], config, tmp_path / "other_views")
    render_views(open_mesh(tmp_path / "exported.glb"), paper42((32, 32))[:2], config, tmp_path / "exported_views")
    check_apart([str(train)], [str(other), str(tmp_path / "other_views"), "builtin:mug"])
    for name in ("copy.ply", "exported.ply", "exported.glb", "views", "exported_views"):
        for pair in ((str(train), str(tmp_path / name)), (str(tmp_path / name), str(train))):
            with pytest.raises(EquiviewError, match="different objects to train on and to test on, found one object"):
                check_apart([pair[0]], [pair[1]])
    for name in ("copied_views", "exported_views"):
        with pytest.raises(EquiviewError, match="found one object"):
            check_apart([str(tmp_path / "views")], [str(tmp_path / name)])


@pytest.mark.parametrize("change", CHANGES)
def test_views_of_a_mesh_that_was_exported_again_are_of_the_same_object(tmp_path, change):
    mesh, config = open_mesh("procedural:1"), RenderConfig(hw=(32, 32))
    for name, one in (("first", mesh), ("again", normalize(changed(mesh, change)))):
        render_views(one, paper42((32, 32))[:2], config, tmp_path / name)
    sources = [str(tmp_path / name) for name in ("first", "again")]
    hashes = [content_of(one)["mesh_sha256"] for one in sources]
    assert hashes[0] != hashes[1]
    assert shown_before(sources[1:], set(), {"mine": content_of(sources[0])}) == ["again"]
    assert shown_before(["procedural:2"], set(), {"mine": content_of(sources[0])}) == []


def test_views_that_an_older_version_drew_are_known_by_their_hash(tmp_path):
    mesh, cameras, config = open_mesh("procedural:1"), paper42((32, 32))[:2], RenderConfig(hw=(32, 32))
    render_views(mesh, cameras, config, tmp_path)
    meta = json.loads((tmp_path / "meta.json").read_text())
    del meta["shape"], meta["colour"]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    assert len(render_views(mesh, cameras, config, tmp_path)) == 2  # Gone on with, not refused.
    assert content_of(str(tmp_path)) == {"mesh_sha256": mesh.sha256}
    with pytest.raises(EquiviewError, match="found one object"):
        check_apart(["procedural:1"], [str(tmp_path)])


def test_a_made_object_is_found_in_its_rendered_views(tmp_path):
    views = open_object("builtin:mug", n_views=2, config=RenderConfig(hw=(32, 32)), cache_dir=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert len(views) == 2
    with pytest.raises(EquiviewError, match="found one object"):
        check_apart(["builtin:mug"], [str(folder)])
    check_apart(["procedural:1"], [str(folder)])


@pytest.mark.parametrize("seed", ["01", "00", "+1", "-1", "1.0", " 1", "\u0661", "1" * 30, "9" * 5000, ""])
@pytest.mark.parametrize("kind", ["procedural", "household"])
def test_a_seed_has_one_name(kind, seed):
    with pytest.raises(EquiviewError, match=f"{kind}:SEED with a whole number") as caught:
        open_mesh(f"{kind}:{seed}")
    assert len(str(caught.value)) < 300


def test_a_copied_capture_shares_its_pictures(tmp_path):
    folder = write_rgbd(tmp_path / "scan", 6)
    shutil.copytree(folder, tmp_path / "copy")
    for number, path in enumerate(sorted((tmp_path / "copy" / "rgb").iterdir())):
        for part in ("rgb", "depth", "pose"):
            old = tmp_path / "copy" / part / path.name
            old = old.with_suffix(".txt") if part == "pose" else old
            old.rename(old.with_name(f"new{number}{old.suffix}"))
    check_apart([f"{folder}@0::2"], [f"{tmp_path}/copy@1::2"])
    with pytest.raises(EquiviewError, match="no picture on both sides, found 3 shared"):
        check_apart([f"{folder}@0::2"], [f"{tmp_path}/copy"])


def test_copied_photos_and_videos_share_their_pictures(tmp_path):
    for number in range(3):
        write_image(tmp_path / "photos" / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
        write_image(tmp_path / "others" / f"{number}.png", np.full((8, 8, 3), 9 + number, np.uint8))
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"a video")
    (tmp_path / "c.mp4").write_bytes(b"another")
    check_apart(
        [str(tmp_path / "photos"), str(tmp_path / "a.mp4")], [str(tmp_path / "others"), str(tmp_path / "c.mp4")]
    )
    for one, two in (("photos", "copy"), ("a.mp4", "b.mp4")):
        with pytest.raises(EquiviewError, match="no picture on both sides"):
            check_apart([str(tmp_path / one)], [str(tmp_path / two)])


def test_what_a_made_object_looks_like_is_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    identity._made_look.cache_clear()
    first, made = content_of("builtin:mug"), []
    monkeypatch.setattr(identity, "open_mesh", lambda source: made.append(source) or open_mesh(source))
    identity._made_look.cache_clear()
    assert content_of("builtin:mug") == first and made == []
    (kept,) = tmp_path.rglob("*.json")
    for damage in ('{"made_with": {"equiview": "0"}}', "{", '{"made_with": 1}'):
        kept.write_text(damage)
        identity._made_look.cache_clear()
        assert content_of("builtin:mug") == first
    assert len(made) == 3
    kept.unlink()
    kept.mkdir()
    identity._made_look.cache_clear()
    assert content_of("builtin:mug") == first
