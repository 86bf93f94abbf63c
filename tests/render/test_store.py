"""Stored views: round trip, resume, and files that broke."""

import json

import numpy as np
import pytest

from equiview.cache import Cache
from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers, project
from equiview.render import RenderConfig, ViewStore, open_views, paper42, render_view, render_views
from render.makers import box, mesh_of, quad, sphere

CAMERAS = paper42((48, 64))[:4]
CONFIG = RenderConfig(supersample=1)


@pytest.fixture(scope="module")
def mesh():
    return mesh_of(sphere(), name="ball")


def counting(calls):
    def draw(mesh, camera, config, *, index):
        calls.append(index)
        return render_view(mesh, camera, config, index=index)

    return draw


def test_round_trip_keeps_the_view(mesh, tmp_path):
    store = render_views(mesh, CAMERAS, CONFIG, tmp_path)
    assert (store.name, len(store)) == ("ball", 4)
    for index, camera in enumerate(CAMERAS):
        fresh, stored = render_view(mesh, camera, CONFIG, index=index), store[index]
        for name in ("rgb", "mask", "triangle_id"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(fresh, name))
        np.testing.assert_allclose(stored.points_in_world, fresh.points_in_world, atol=5e-7)
        np.testing.assert_allclose(stored.normals_in_world, fresh.normals_in_world, atol=1e-4)
        xy, _ = project(camera, stored.points_in_world[stored.mask])
        np.testing.assert_allclose(xy, pixel_centers(camera.hw)[stored.mask], atol=1e-9)
        np.testing.assert_array_equal(stored.camera.cam_from_world, camera.cam_from_world)
        assert stored.name == fresh.name


def test_memory_and_disk_give_the_same(mesh, tmp_path):
    on_disk, in_memory = render_views(mesh, CAMERAS, CONFIG, tmp_path), render_views(mesh, CAMERAS, CONFIG)
    for a, b in zip(on_disk, in_memory, strict=True):
        np.testing.assert_array_equal(a.points_in_world, b.points_in_world)
        np.testing.assert_array_equal(a.rgb, b.rgb)


def test_store_is_a_sequence(mesh):
    store = render_views(mesh, CAMERAS, CONFIG)
    assert isinstance(store, ViewStore)
    assert store[-1] is store[3] and [v.name for v in store[1:3]] == ["ball/001", "ball/002"]
    with pytest.raises(IndexError):
        store[4]
    assert len(store.first(2)) == 2 and store.first(2)[1].name == "ball/001"


def test_decoded_views_stay_within_the_memory_limit(mesh):
    store = render_views(mesh, CAMERAS, CONFIG)
    one_view = 48 * 64 * (3 + 1 + 24 + 12 + 4)
    cache = Cache(2 * one_view)
    small, other = (ViewStore(n, store.cameras, store._encoded, store.meta, cache) for n in ("small", "other"))
    first = small[0]
    _ = other[0]
    assert small[0] is first and cache.used_bytes == 2 * one_view
    _ = other[1]  # drops other[0], used longer ago
    assert small[0] is first and cache.used_bytes == 2 * one_view
    _ = other[2], other[3]
    assert small[0] is not first
    del small, other
    assert cache.used_bytes == 0


def test_empty_view_round_trips():
    away = mesh_of(quad(scale=0.001))
    camera = paper42((8, 8))[20]  # sees the square from its edge: nothing
    view = render_views(away, [camera], CONFIG)[0]
    assert not view.mask.any() and np.isnan(view.points_in_world).all()


def test_resume_draws_only_what_is_missing(mesh, tmp_path):
    calls, progress = [], []
    draw = counting(calls)
    render_views(mesh, CAMERAS, CONFIG, tmp_path, lambda *p: progress.append(p), draw)
    assert calls == [0, 1, 2, 3] and progress[-1] == (4, 4)
    (tmp_path / "view_0002.npz").unlink()
    (tmp_path / "view_0001.npz").write_bytes(b"half")
    calls.clear()
    store = render_views(mesh, CAMERAS, CONFIG, tmp_path, draw=draw)
    assert calls == [1, 2]
    np.testing.assert_array_equal(store[1].rgb, render_view(mesh, CAMERAS[1], CONFIG).rgb)


def test_interruption_leaves_no_half_written_view(mesh, tmp_path):
    def interrupted(mesh, camera, config, *, index):
        if index == 2:
            raise KeyboardInterrupt
        return render_view(mesh, camera, config, index=index)

    interrupted.__module__ = render_view.__module__
    with pytest.raises(KeyboardInterrupt):
        render_views(mesh, CAMERAS, CONFIG, tmp_path, draw=interrupted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["meta.json", "view_0000.npz", "view_0001.npz"]
    with pytest.raises(EquiviewError, match=r"view_0002\.npz.*2 missing"):
        open_views(tmp_path)
    assert len(render_views(mesh, CAMERAS, CONFIG, tmp_path)) == 4


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (dict(mesh=mesh_of(box(), name="ball")), "mesh_sha256"),
        (dict(cameras=CAMERAS[:3]), "cameras"),
        (dict(config=RenderConfig(supersample=2)), "config"),
    ],
)
def test_another_setting_in_the_same_folder_is_refused(mesh, tmp_path, other, named):
    render_views(mesh, CAMERAS, CONFIG, tmp_path)
    with pytest.raises(EquiviewError, match=named):
        render_views(**{"mesh": mesh, "cameras": CAMERAS, "config": CONFIG, **other}, out_dir=tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 0.5, -1])
def test_truncated_view_is_named(mesh, tmp_path, keep):
    render_views(mesh, CAMERAS, CONFIG, tmp_path)
    path = tmp_path / "view_0001.npz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    store = open_views(tmp_path)
    assert store[0].mask.any()
    with pytest.raises(EquiviewError, match=r"view_0001\.npz"):
        store[1]


def test_flipped_bytes_are_found(mesh, tmp_path):
    render_views(mesh, CAMERAS, CONFIG, tmp_path)
    path = tmp_path / "view_0000.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(EquiviewError, match=r"view_0000\.npz"):
        open_views(tmp_path)[0]


def test_view_of_another_size_is_found(mesh, tmp_path):
    render_views(mesh, CAMERAS, CONFIG, tmp_path / "a")
    render_views(mesh, paper42((32, 32))[:4], CONFIG, tmp_path / "b")
    (tmp_path / "b" / "view_0003.npz").replace(tmp_path / "a" / "view_0003.npz")
    with pytest.raises(EquiviewError, match=r"view_0003\.npz"):
        open_views(tmp_path / "a")[3]


def test_bad_folders(mesh, tmp_path):
    with pytest.raises(EquiviewError, match="meta.json, found none"):
        open_views(tmp_path)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(EquiviewError, match="meta.json"):
        open_views(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(EquiviewError, match="meta.json"):
        open_views(tmp_path)
    with pytest.raises(EquiviewError, match="cameras: expected at least one"):
        render_views(mesh, [], CONFIG)
