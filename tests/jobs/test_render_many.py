"""`equiview render` on a folder of meshes: a folder of views for each, broken ones left out, any engine."""

import json

import pytest
import trimesh

from equiview.render import open_views


@pytest.fixture
def meshes(tmp_path):
    folder = tmp_path / "glbs" / "000-001"
    folder.mkdir(parents=True)
    for name, extents in (("aa", (1, 1, 1)), ("bb", (1, 0.5, 2))):
        trimesh.creation.box(extents).export(folder / f"{name}.glb")
    (folder / "cut.glb").write_bytes((folder / "aa.glb").read_bytes()[:100])
    return tmp_path / "glbs"


def test_every_mesh_of_a_folder_is_rendered(run, meshes, tmp_path, monkeypatch, sent):
    monkeypatch.setattr("equiview.jobs.engine.parse_engine", lambda *_, **__: sent)
    out = tmp_path / "views"
    command = ("render", meshes, "--out", out, "--views", 2, "--size", 32, "--rig", "ring", "--json")
    code, stdout, stderr = run(*command, "--engine", "process:2")
    assert code == 0, stderr
    result = json.loads(stdout)
    assert result["objects"] == ["aa", "bb"] and result["broken"] == ["cut"]
    assert "truncated" in json.loads((out / "broken" / "cut.json").read_text())["problem"]
    assert [len(open_views(out / name)) for name in ("aa", "bb")] == [2, 2]
    stamp = (out / "aa" / "view_0001.npz").stat().st_mtime_ns
    assert run(*command)[0] == 0 and (out / "aa" / "view_0001.npz").stat().st_mtime_ns == stamp


def test_all_broken_is_an_error(run, meshes, tmp_path):
    for name in ("aa", "bb"):
        (meshes / "000-001" / f"{name}.glb").unlink()
    code, _, stderr = run("render", meshes, "--out", tmp_path / "views", "--views", 2, "--size", 32)
    assert code == 2 and "one or more that can be opened, found 1 broken" in " ".join(stderr.split())
