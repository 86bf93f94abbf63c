"""TAP-Vid and DINO-Tracker pickles: every layout, and nothing in a file is ever run."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from equiview.data.clips.dinotracker import open_dinotracker
from equiview.data.clips.tapvid import open_tapvid
from equiview.data.safe_pickle import read_pickle
from equiview.errors import EquiviewError
from equiview.io import write_image
from equiview.tasks.tracking import TrackingConfig, queries_of


def example(t=4, hw=(6, 8), n=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "video": rng.integers(0, 256, (t, *hw, 3), dtype=np.uint8),
        "points": rng.random((n, t, 2)).astype(np.float32),
        "occluded": rng.random((n, t)) < 0.3,
    }


def encoded(rgb):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def dump(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_davis_layout_in_every_pickle_protocol(tmp_path, protocol):
    value = example()
    (clip,) = open_tapvid(dump(tmp_path / "davis.pkl", {"goat": value}, protocol))
    assert clip.name == "goat" and clip.hw == (6, 8) and clip.known.all()
    np.testing.assert_array_equal(np.stack(list(clip.frames)), value["video"])
    np.testing.assert_allclose(clip.xy, value["points"].astype(float) * [8, 6])
    np.testing.assert_array_equal(clip.visible, ~value["occluded"])


def test_list_layout_and_a_folder_of_shards_with_encoded_pictures(tmp_path):
    one, two = example(), example(seed=1)
    two = two | {"video": [encoded(rgb) for rgb in two["video"]]}
    dump(tmp_path / "0000.pkl", [one])
    dump(tmp_path / "0001.pkl", [two])
    clips = list(open_tapvid(tmp_path))
    assert [clip.name for clip in clips] == ["0000-000", "0001-000"]
    np.testing.assert_array_equal(clips[1].frames[2], example(seed=1)["video"][2])


class Attack:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("kind", ["system", "eval", "in an array", "numpy"])
def test_a_hostile_pickle_runs_nothing(tmp_path, kind, protocol):
    marker = tmp_path / "run"
    command = f"touch {marker}"
    attack = {
        "system": Attack(os.system, command),
        "eval": Attack(eval, f"__import__('os').system({command!r})"),
        "in an array": np.array([Attack(os.system, command)], object),
        "numpy": Attack(np.load, str(marker)),
    }[kind]
    path = dump(tmp_path / "davis.pkl", {"goat": example() | {"extra": attack}}, protocol)
    with pytest.raises(EquiviewError, match="plain containers, found a call of"):
        list(open_tapvid(path))
    assert not marker.exists()
    if kind in ("system", "in an array"):
        pickle.loads(path.read_bytes())
        assert marker.exists(), "the payload must be a real one"


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x04cnumpy\ndtype\n(X\x01\x00\x00\x00Ot}b.",
        b"cnumpy.core.multiarray\n_reconstruct\n}b.",
        b"cnumpy\nndarray\n(I1\ntR.",
        b"\x80\x02" + b"]" + b"r" + struct.pack("<I", 2**31 - 1) + b".",
        b"c_codecs\nencode\n(VAA\nVzip\ntR.",
        b"",
        b"no pickle at all",
    ],
)
def test_crafted_code_is_one_message(tmp_path, code):
    path = tmp_path / "x.pkl"
    path.write_bytes(code)
    with pytest.raises(EquiviewError):
        list(open_tapvid(path))


def test_plain_content_comes_back_as_it_was(tmp_path):
    value = {"a": [1, 2.5, None, "text", b"bytes", (True,)], "f": np.arange(6.0).reshape(2, 3).T, "s": np.float32(2)}
    value |= {"o": np.array([[True, False]], object), "big": np.arange(3, dtype=">i4")}
    found = read_pickle(dump(tmp_path / "x.pkl", value))
    assert found["a"] == value["a"] and found["s"] == 2
    for key in ("f", "o", "big"):
        np.testing.assert_array_equal(found[key], value[key].astype(bool) if key == "o" else value[key])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"video": np.zeros((0, 6, 8, 3), np.uint8)}, "at least one frame"),
        ({"video": [np.zeros((6, 8, 3), np.uint8), np.zeros((6, 9, 3), np.uint8)] * 2}, "as the other frames"),
        ({"video": np.zeros((4, 6, 8, 3), np.float32)}, "8-bit video"),
        ({"points": np.zeros((3, 5, 2))}, "points"),
        ({"points": np.full((3, 4, 2), np.nan), "occluded": np.zeros((3, 4), bool)}, "finite points"),
    ],
)
def test_a_bad_example_is_one_message(tmp_path, change, message):
    with pytest.raises(EquiviewError, match=message):
        list(open_tapvid(dump(tmp_path / "davis.pkl", {"goat": example() | change})))


def test_encoded_pictures_that_change_size_or_are_broken(tmp_path):
    pictures = [encoded(np.zeros(shape, np.uint8)) for shape in ((6, 8, 3), (6, 9, 3))]
    value = example(t=3) | {"video": [*pictures, b"no picture"]}
    (clip,) = open_tapvid(dump(tmp_path / "k.pkl", [value]))
    with pytest.raises(EquiviewError, match="8x6 pixels as the other frames, found 9x6"):
        clip.frames[1]
    with pytest.raises(EquiviewError, match="k-000 frame 2: expected an image that opens"):
        clip.frames[2]


def test_other_layouts_and_missing_files(tmp_path):
    for value in ({"goat": {"video": 1}}, [], 5):
        with pytest.raises(EquiviewError, match="video, points and occluded"):
            list(open_tapvid(dump(tmp_path / "x.pkl", value)))
    with pytest.raises(EquiviewError, match="nothing there"):
        list(open_tapvid(tmp_path / "missing.pkl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(EquiviewError, match="shards"):
        list(open_tapvid(tmp_path / "empty"))


def dinotracker(tmp_path, t=11):
    rng = np.random.default_rng(0)
    tracks, hidden = rng.uniform(0, 8, (4, t, 2)), rng.random((4, t)) < 0.3
    hidden[:, 0], hidden[2, 0] = False, True
    seen = {f: np.flatnonzero(~hidden[:, f]) for f in (0, 5, 10)}
    video = {"video_idx": 3, "h": 6, "w": 8, "target_points": {f: tracks[i] for f, i in seen.items()}}
    video |= {"occluded": {f: hidden[i] for f, i in seen.items()}}
    for frame in range(t):
        write_image(tmp_path / "3" / "video" / f"{frame:05d}.png", np.zeros((12, 16, 3), np.uint8))
    return dump(tmp_path / "bench.pkl", {"videos": [video, video | {"video_idx": 4}]}), video


def test_dinotracker_layout(tmp_path):
    path, video = dinotracker(tmp_path)
    (clip,) = open_dinotracker(tmp_path, path)
    assert clip.name == "3" and clip.hw == (12, 16)
    points, queries = queries_of(clip, TrackingConfig("strided"))
    for frame, target in video["target_points"].items():
        own = clip.xy[points[queries.frame == frame]]
        np.testing.assert_allclose(sorted(own.tolist()), sorted((2 * target).tolist()))


def test_dinotracker_with_missing_frames_or_videos(tmp_path):
    path, _ = dinotracker(tmp_path)
    (tmp_path / "3" / "video" / "00004.png").unlink()
    with pytest.raises(EquiviewError, match="tracks of 10 frames"):
        list(open_dinotracker(tmp_path, path))
    with pytest.raises(EquiviewError, match="none of 2 videos"):
        list(open_dinotracker(tmp_path / "elsewhere", path))
    with pytest.raises(EquiviewError, match="target_points"):
        list(open_dinotracker(tmp_path, dump(tmp_path / "x.pkl", {"videos": [1]})))


def test_a_clip_that_cannot_be_used_is_left_out_and_said(tmp_path, caplog):
    dump(
        tmp_path / "a.pkl",
        {"good": example(), "bad": example() | {"points": np.zeros(3)}, "empty": example() | {"video": []}},
    )
    (tmp_path / "b.pkl").write_bytes(b"no pickle")
    (tmp_path / "._a.pkl").write_bytes(b"\0\5\x16\7")
    assert [clip.name for clip in open_tapvid(tmp_path)] == ["good"]
    assert "3 of 4 clips cannot be used" in caplog.text and "b.pkl" in caplog.text


BAD_EXAMPLES = {
    "video: a number": {"video": 3},
    "video: an array of no dimension": {"video": np.array(3)},
    "video: nothing": {"video": None},
    "video: no frames": {"video": []},
    "video: text": {"video": "abc"},
    "points: text": {"points": "abc"},
    "points: nothing": {"points": None},
    "points: one dimension": {"points": np.zeros(3)},
    "points: NaN": {"points": np.full((2, 4, 2), np.nan)},
    "occluded: other shape": {"occluded": np.zeros((5, 5), bool)},
    "occluded: text": {"occluded": "abc"},
}


@pytest.mark.parametrize("change", BAD_EXAMPLES.values(), ids=BAD_EXAMPLES)
def test_broken_examples_are_one_message(tmp_path, change):
    path = dump(tmp_path / "a.pkl", {"one": example() | change})
    with pytest.raises(EquiviewError, match=r"a.pkl: one.*expected"):
        list(open_tapvid(path))
